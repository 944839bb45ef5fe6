"""One order per accepted row, whoever asks and however often."""

from __future__ import annotations

import threading
from datetime import date

import pytest

from assets.created_orders.work import create_orders
from domain.errors import BulkOrdersError, FileRefused, InvariantBroken
from domain.states import BatchState
from resources.database import batches
from resources.database.books import Books
from tests.integration.batches import HEADER, Installation, order_row


def test_an_order_carries_its_batch_file_group_and_row(installation: Installation) -> None:
    rows = [
        order_row(amount="1500", order_number="A-1"),
        order_row(email=""),
        order_row(amount="700", order_number="A-3"),
    ]
    batch = installation.admitted(installation.write(rows, "五月 orders.csv"), "Shop A", group="May")
    validate(installation, batch)
    create_orders(installation.database, batch)
    columns = (
        "batch_id, csv_source, bulk_import_group, import_row_number, client, order_number, amount, currency, status"
    )
    found = installation.execute(f"select {columns} from orders order by import_row_number")

    expected = (batch, "五月 orders.csv", "May")
    assert found == [
        (*expected, 1, "shop-a", "A-1", 1500, "JPY", "PENDING"),
        (*expected, 3, "shop-a", "A-3", 700, "JPY", "PENDING"),
    ]


def validate(installation: Installation, batch: str) -> None:
    from assets.validated_csv.limits import ReadingLimits
    from assets.validated_csv.work import validate_batch

    validate_batch(installation.database, installation.vault, installation.files, batch, ReadingLimits())


def test_the_rest_of_a_row_comes_along(installation: Installation) -> None:
    header = [*HEADER, "item_code", "quantity", "unit_price", "ordered_on"]
    row = [*order_row(amount=""), "C-9", "3", "250", "2026-01-31"]
    batch = installation.admitted(installation.write([row], header=header))
    validate(installation, batch)
    create_orders(installation.database, batch)

    found = installation.execute("select item_code, item_name, quantity, amount, ordered_on from orders")
    assert found == [("C-9", "りんご", 3, 750, date(2026, 1, 31))]


@pytest.mark.parametrize("text", ["\\N", "\\.", "\\", "a\\tb", "'; DROP TABLE orders;--", "%s%n", '{"a": 1}', "=1+1"])
def test_what_looks_like_a_command_is_only_text(installation: Installation, text: str) -> None:
    r"""``\N`` is a null and ``\.`` the end to the database's own way of taking rows."""
    row = order_row(order_number=text, customer_name=text)
    row[HEADER.index("item_name")] = text
    installation.ordered([row, order_row(order_number="B-2")])

    found = installation.execute("select order_number, item_name from orders order by import_row_number")
    assert found == [(text, text), ("B-2", "りんご")]


def test_no_person_is_in_an_order_of_a_batch(installation: Installation) -> None:
    """They are in the sealed cells of the row, and nowhere else."""
    row = order_row(customer_name="canary-name", email="canary@example.jp", phone="canary-phone")
    row[HEADER.index("内部メモ")] = "canary-memo"
    batch = installation.ordered([row])

    tables = ("orders", "import_rows", "batches", "payments", "audit_events")
    everything = "".join(str(installation.execute(f"select t::text from {table} t")) for table in tables)
    assert batch in everything
    assert "canary" not in everything
    assert installation.execute("select customer_name, customer_email from orders") == [(None, None)]


def test_created_twice_nothing_is_there_twice(installation: Installation) -> None:
    batch = installation.ordered(5)
    before = installation.execute("select * from orders order by order_id")
    books = create_orders(installation.database, batch)

    assert installation.execute("select * from orders order by order_id") == before
    assert (books.orders, books.rows_accepted) == (5, 5)


def test_two_processes_at_once_make_one_set_of_orders(installation: Installation) -> None:
    batch = installation.validated([order_row() for _ in range(50)])
    results = at_once(installation, [batch, batch])

    assert [books.orders for books in results] == [50, 50]
    assert installation.execute("select count(*) from orders") == [(50,)]


def test_a_number_that_another_batch_took_meanwhile_rejects_the_row(installation: Installation) -> None:
    """Both were validated before either had orders: the second finds its number taken."""
    first = installation.validated([order_row(order_number="A-1"), order_row(order_number="A-2", amount="900")])
    second = installation.validated(
        [order_row(order_number="A-2", amount="500"), order_row(order_number="A-3", amount="700")]
    )
    create_orders(installation.database, first)
    books = create_orders(installation.database, second)

    assert (books.rows_accepted, books.rows_rejected, books.orders) == (1, 1, 1)
    assert (books.accepted_jpy, books.orders_jpy, books.batch.accepted_jpy, books.batch.accepted_rows) == (
        700,
        700,
        700,
        1,
    )
    rejected = installation.execute(
        "select import_row_number, issues from import_rows where batch_id = %s and state = 'rejected'", second
    )
    assert rejected == [(1, [{"column": "order_number", "code": "ORD-NUMBER-EARLIER"}])]
    trail = installation.execute(
        "select event, subjects from audit_events where chain = %s and event like 'row:%%:%%'", second
    )
    assert trail == [("row:accepted:rejected", [1])]


def test_another_client_may_use_the_same_number(installation: Installation) -> None:
    installation.ordered([order_row(order_number="A-1")], "shop-a")
    second = installation.ordered([order_row(order_number="A-1")], "shop-b")

    assert len(installation.order_ids(second)) == 1


def at_once(installation: Installation, of: list[str]) -> list[Books]:
    results: dict[int, Books | BaseException] = {}
    barrier = threading.Barrier(len(of))

    def create(place: int, batch: str) -> None:
        barrier.wait()
        try:
            results[place] = create_orders(installation.database, batch)
        except BaseException as fault:
            results[place] = fault

    threads = [threading.Thread(target=create, args=pair) for pair in enumerate(of)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [fault for fault in results.values() if isinstance(fault, BaseException)] == []
    return [books for _, books in sorted(results.items()) if isinstance(books, Books)]


def test_two_batches_at_once_never_take_a_number_twice(installation: Installation) -> None:
    first = installation.validated([order_row(order_number=f"A-{n}") for n in range(60)])
    second = installation.validated([order_row(order_number=f"A-{n}") for n in range(30, 90)])
    results = at_once(installation, [first, second])

    assert sorted(books.orders for books in results) == [30, 60]
    assert [books.rows_accepted + books.rows_rejected for books in results] == [60, 60]
    assert installation.execute("select count(*), count(distinct order_number) from orders") == [(90, 90)]


def test_a_batch_that_was_not_validated_gets_no_orders(installation: Installation) -> None:
    """Started by hand, a stage reads the truth."""
    batch = installation.admitted(installation.write([order_row()]))

    with pytest.raises(InvariantBroken) as refused:
        create_orders(installation.database, batch)
    assert refused.value.code == "BATCH-NOT-VALIDATED"


def test_a_refused_batch_says_again_why_it_was_refused(installation: Installation) -> None:
    batch = installation.admitted(installation.write([order_row()]))
    why = FileRefused("FILE-TOO-MANY-ROWS", rows=3, limit=2)
    with installation.database.begin() as tx:
        batches.move(tx, batch, BatchState.REFUSED, why)

    with pytest.raises(FileRefused) as refused:
        create_orders(installation.database, batch)
    assert (refused.value.code, refused.value.facts) == (why.code, why.facts)


def test_a_file_without_a_good_row_is_a_batch_without_orders(installation: Installation) -> None:
    batch = installation.validated([order_row(email=""), order_row(amount="1")])
    books = create_orders(installation.database, batch)

    assert (books.orders, books.rows_rejected, books.batch.state) == (0, 2, BatchState.ORDERED)


def test_a_batch_nobody_knows_is_said_so(installation: Installation) -> None:
    with pytest.raises(BulkOrdersError) as refused:
        create_orders(installation.database, "none")
    assert refused.value.code == "BATCH-NOT-FOUND"
