"""Several lines that make one order, from the file to the mail: one payment, and every line accounted for."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from assets.batch_report.work import close_batch, write_report
from assets.created_orders.work import create_orders
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from checks import reconciliation, row_accounting
from domain.errors import FileRefused
from resources.client_profiles import ClientProfiles
from tests.integration.batches import Installation, services, work_through
from tests.integration.repairing import read_text, repair_text, write_text

HEADER = ["order_number", "customer_name", "email", "item_code", "item_name", "quantity", "unit_price", "amount"]
TARO = ["見本 太郎", "taro@example.jp"]
LINES = [
    ["A", *TARO, "I-1", "りんご", "2", "30", "60"],
    ["B", "見本 花子", "hana@example.jp", "I-2", "緑茶", "1", "500", "500"],
    ["A", "", "", "I-3", "みかん", "1", "440", "440"],
    ["A", *TARO, "", "おまけ", "1", "0", "0"],
]


def validated(
    installation: Installation, rows: list[list[str]] | Path, amount_is: str = "line_total", **more: str
) -> str:
    profiles = installation.folder / "profiles"
    profiles.mkdir(exist_ok=True)
    stated = {"lines": "many", "amount_is": amount_is, **more}
    (profiles / "shop.yaml").write_text("\n".join(f"{key}: {value}" for key, value in stated.items()))
    batch = installation.admitted(rows if isinstance(rows, Path) else installation.write(rows, header=HEADER))
    validate_batch(
        installation.database,
        installation.vault,
        installation.files,
        batch,
        ReadingLimits(),
        ClientProfiles(profiles),
    )
    return batch


def rows_of(installation: Installation, batch: str) -> list[tuple[Any, ...]]:
    query = """select import_row_number, state, order_number, amount, order_row, order_amount from import_rows
               where batch_id = %s order by 1"""
    return installation.execute(query, batch)


def written(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / f"{name}.csv").read_text(encoding="utf-8-sig").splitlines()))


def test_lines_of_one_number_are_one_order_with_the_number_of_the_first(installation: Installation):
    """The identity of an order stays (batch, import row number); the other lines point at it."""
    batch = validated(installation, LINES)
    books = create_orders(installation.database, batch)
    orders = installation.execute(
        """select import_row_number, order_number, amount, item_code, item_name, quantity, items from orders
           where batch_id = %s order by 1""",
        batch,
    )
    items = [
        {"code": "I-1", "name": "りんご", "quantity": 2, "jpy": 60},
        {"code": "I-3", "name": "みかん", "quantity": 1, "jpy": 440},
        {"name": "おまけ", "quantity": 1, "jpy": 0},
    ]

    assert rows_of(installation, batch) == [
        (1, "accepted", "A", 60, None, 500),
        (2, "accepted", "B", 500, None, None),
        (3, "accepted", "A", 440, 1, None),
        (4, "accepted", "A", 0, 1, None),
    ]
    assert orders == [
        (1, "A", 500, None, "りんご ほか2点", None, items),
        (2, "B", 500, "I-2", "緑茶", 1, None),
    ]
    assert (books.rows_accepted, books.orders_expected, books.orders, books.accepted_jpy) == (4, 2, 2, 1_000)
    assert reconciliation.orders_match_file(books).passed
    assert row_accounting.every_row_stored(books).passed


def test_run_twice_the_same_orders_are_found(installation: Installation):
    batch = validated(installation, LINES)
    create_orders(installation.database, batch)
    before = installation.order_ids(batch)
    installation.execute("update batches set state = 'ordered' where batch_id = %s", batch)
    books = create_orders(installation.database, batch)

    assert installation.order_ids(batch) == before
    assert books.orders == 2


def test_the_database_makes_an_order_of_the_first_line_alone(installation: Installation):
    """Also should our own code be wrong: a further line never becomes an order."""
    batch = validated(installation, LINES)
    with pytest.raises(Exception, match="an order of no accepted row"):
        installation.execute(
            """insert into orders (batch_id, csv_source, import_row_number, client, order_number, amount, currency,
                                   status)
               values (%s, 'x', 3, 'shop', 'X', 440, 'JPY', 'PENDING')""",
            batch,
        )


def test_an_order_is_paid_once_and_its_mail_lists_every_item(
    installation: Installation, payments: Any, notifications: Any
):
    batch = validated(installation, LINES)
    create_orders(installation.database, batch)
    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    _, books = work_through(installation, batch, of)
    ids = installation.order_ids(batch)
    charged = payments.rows("SELECT order_id, amount_jpy FROM charges WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    mails = dict(notifications.rows("SELECT order_id, body FROM mails WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1]))
    report = write_report(installation.database, installation.vault, batch, installation.folder / "report")
    closed = close_batch(installation.database, batch)

    assert sorted(charged) == [(ids[0], 500), (ids[1], 500)]
    assert len(mails) == 2
    assert "  りんご × 2  ¥60\n  みかん × 1  ¥440\n  おまけ × 1  ¥0\n" in mails[ids[0]]
    assert "商品: 緑茶\n" in mails[ids[1]]
    assert books.everything_succeeded
    assert closed.batch.state.value == "done"
    assert report.rows_per_file == {"succeeded": 4, "failed": 0, "not_processed": 0}
    assert {row["order_id"] for row in written(report.folder, "succeeded") if row["order_number"] == "A"} == {
        str(ids[0])
    }
    assert row_accounting.every_row_reported(books, report.rows_per_file).passed


def test_one_bad_line_rejects_the_whole_order_and_every_line_says_why(installation: Installation):
    bad = [LINES[0], LINES[1], ["A", "見本 次郎", "", "I-3", "みかん", "1", "440", "440"], LINES[3]]
    batch = validated(installation, bad)
    books = create_orders(installation.database, batch)
    report = write_report(installation.database, installation.vault, batch, installation.folder / "report")
    failed = written(report.folder, "failed")

    assert (books.orders, books.rows_rejected, books.rows_accepted) == (1, 3, 1)
    assert [(row["line"], row["code"]) for row in failed] == [
        ("2", "ORD-LINES-REJECTED"),
        ("4", "ORD-LINES-DIFFER"),
        ("5", "ORD-LINES-REJECTED"),
    ]
    assert "4行目" in failed[0]["message"]
    assert "2行目" in failed[1]["message"]


def test_where_each_line_has_the_total_of_the_order_it_is_charged_once(installation: Installation):
    total = [["A", *TARO, "I-1", "りんご", "2", "30", "700"], ["A", *TARO, "I-3", "みかん", "1", "440", "700"]]
    batch = validated(installation, total, amount_is="order_total")
    books = create_orders(installation.database, batch)
    (items,) = installation.execute("select items from orders where batch_id = %s", batch)[0]

    assert rows_of(installation, batch) == [
        (1, "accepted", "A", 700, None, 700),
        (2, "accepted", "A", 0, 1, None),
    ]
    assert (books.orders, books.orders_jpy, books.batch.file_jpy) == (1, 700, 700)
    assert items == [{"code": "I-1", "name": "りんご", "quantity": 2}, {"code": "I-3", "name": "みかん", "quantity": 1}]


def test_a_number_of_an_earlier_batch_costs_all_lines(installation: Installation):
    create_orders(installation.database, validated(installation, LINES))
    again = validated(installation, [["A", *TARO, f"I-{n}", "梨", "1", "300", "300"] for n in range(3)])
    create_orders(installation.database, again)
    found = installation.execute("select distinct issues from import_rows where batch_id = %s", again)

    assert [state for _, state, *_ in rows_of(installation, again)] == ["rejected"] * 3
    assert found == [([{"code": "ORD-NUMBER-EARLIER", "column": "order_number"}],)]


def test_what_an_amount_is_must_be_settled_before_a_line_is_read(installation: Installation):
    with pytest.raises(FileRefused, match="FILE-LINES-AMOUNT"):
        validated(installation, LINES, amount_is="")


def test_totals_count_lines_or_orders_as_they_say(installation: Installation):
    """件 is said of both; whoever says rows or orders means it."""
    for said, fits in (("4 rows", True), ("2 orders", True), ("2件", True), ("4件", True), ("2 rows", False)):
        rows = [*LINES, ["", "", "", "", "合計", "", said, "1000"]]
        numbered = [[f"{row[0]}{said}" if row[0] else "", *row[1:]] for row in rows]
        if fits:
            assert validated(installation, numbered)
        else:
            with pytest.raises(FileRefused, match="FILE-TOTAL-ROWS"):
                validated(installation, numbered)


def test_an_order_comes_back_from_repair_with_all_its_lines_or_not_at_all(installation: Installation):
    """Only the bad line needed mending; sent back alone it would be paid alone."""
    bad = [LINES[0], LINES[1], ["A", "", "", "I-3", "みかん", "1", "44O", "440"]]
    parent = validated(installation, bad)
    create_orders(installation.database, parent)
    rows = read_text(repair_text(installation, parent))
    whole = [[cell.replace("44O", "440") for cell in row] for row in rows]
    results: list[tuple[Any, ...]] = []
    for name, table in (("alone", [whole[0], whole[2]]), ("whole", whole)):
        path = installation.folder / f"{name}.csv"
        write_text(path, table)
        child = validated(installation, path)
        results.append((child, *rows_of(installation, child)))

    assert [row[1] for row in results[0][1:]] == ["rejected"]
    assert installation.execute("select issues -> -1 from import_rows where batch_id = %s", results[0][0]) == [
        ({"code": "ORD-REPAIR-LINES", "column": "", "facts": {"line": 2}},)
    ]
    assert results[1][1:] == ((1, "accepted", "A", 60, None, 500), (2, "accepted", "A", 440, 1, None))


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        (("X", None), {"code": "ORD-REPAIR-LINES", "column": "", "facts": {"line": 3}}),
        (("X", "A"), {"code": "ORD-REPAIR-NUMBERS", "column": ""}),
        (("X", "Y"), {"code": "ORD-REPAIR-NUMBERS", "column": ""}),
        (("X", "X"), None),
    ],
)
def test_an_order_whose_number_was_taken_comes_back_as_one_order(
    installation: Installation, numbers: tuple[str | None, ...], code: dict[str, object] | None
):
    """With another number for one of its lines it would be made, and paid, without the other."""
    create_orders(installation.database, validated(installation, LINES))
    again = [["A", *TARO, "I-8", "梨", "1", "300", "300"], ["A", "", "", "I-9", "桃", "1", "400", "400"]]
    parent = validated(installation, again)
    header, *rows = read_text(repair_text(installation, parent))
    at = header.index(HEADER[0])
    back = [[*row[:at], number, *row[at + 1 :]] for row, number in zip(rows, numbers, strict=True) if number]
    path = installation.folder / "back.csv"
    write_text(path, [header, *back])
    child = validated(installation, path)

    states = [(state, number) for _, state, number, *_ in rows_of(installation, child)]
    if code is None:
        assert states == [("accepted", "X"), ("accepted", "X")]
    else:
        assert {state for state, _ in states} == {"rejected"}
        issues = installation.execute("select issues from import_rows where batch_id = %s", child)
        assert all(code in found for (found,) in issues)


def test_a_line_of_another_width_that_does_not_come_back_is_missed_too(installation: Installation):
    ragged = [LINES[0], ["A", "", "", "I-3", "みかん", "1", "440", "440", "beyond"]]
    parent = validated(installation, ragged)
    rows = read_text(repair_text(installation, parent))
    path = installation.folder / "back.csv"
    write_text(path, rows[:2])
    child = validated(installation, path)

    assert [state for _, state, *_ in rows_of(installation, child)] == ["rejected"]
