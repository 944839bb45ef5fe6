"""Orders that resemble another of their client wait for a person; all others go on, and nothing stops in silence."""

from __future__ import annotations

from typing import Any

import pytest

from assets.batch_report.work import close_batch
from assets.created_orders.work import create_orders
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from domain.decisions import Decision
from domain.errors import OperationRefused
from domain.guards import GuardLimits
from domain.states import EffectKind
from orchestration import operations, reviews
from orchestration.cli import review_text
from orchestration.forecast import forecast
from orchestration.reviews import RowDecision
from resources.database import near_duplicates
from resources.database.reviews import in_review
from tests.integration.batches import Installation, limits, order_row, services, work_through

WHO = {"customer_name": "見本 花子", "email": "hana@example.jp", "amount": "1500"}
ALIKE = ("review", "PAY-NEAR-DUPLICATE")


@pytest.fixture
def of(payments: Any, notifications: Any) -> Any:
    return services(str(payments.http.base_url), str(notifications.http.base_url))


def paid(installation: Installation, batch: str, of: Any, **within: Any) -> list[tuple[str, str | None]]:
    """State and reason of each payment, in the order of the file, after everything was sent that may be."""
    work_through(installation, batch, of, **within)
    close_batch(installation.database, batch)
    states = installation.states("payments", batch)
    return [states[order] for order in installation.order_ids(batch)]


def accept(installation: Installation, batch: str, *rows: int) -> list[int]:
    return reviews.accept(installation.database, installation.vault, batch, rows, "asked the client")


def test_the_second_order_of_the_same_customer_amount_and_items_waits(installation: Installation, of: Any):
    """Typed another way it is the same person; another amount, item or name is another order."""
    rows = [
        order_row(**WHO),
        order_row(**WHO | {"customer_name": "見本　花子", "email": "HANA@example.jp"}),
        order_row(**WHO | {"amount": "1501"}),
        order_row(**WHO, item_name="みかん"),
        order_row(**WHO | {"customer_name": "見本 次郎"}),
    ]
    batch = installation.ordered(rows)

    assert paid(installation, batch, of) == [("done", None), ALIKE, *[("done", None)] * 3]
    assert installation.batch(batch)[0] == "partial"


def test_an_earlier_batch_of_the_client_counts_and_another_clients_does_not(installation: Installation, of: Any):
    first = installation.ordered([order_row(**WHO)])
    second = installation.ordered([order_row(**WHO)])
    others = installation.ordered([order_row(**WHO)], client="other")

    assert [paid(installation, batch, of) for batch in (first, second, others)] == [
        [("done", None)],
        [ALIKE],
        [("done", None)],
    ]


def test_days_apart_are_those_of_the_orders_and_the_limit_is_a_setting(installation: Installation):
    first = installation.ordered([order_row(**WHO)])
    days_ago = "(now() at time zone 'Asia/Tokyo')::date - 4"
    installation.execute(f"update orders set ordered_on = {days_ago} where batch_id = %s", first)
    within, beyond, off = (installation.validated([order_row(**WHO)]) for _ in range(3))
    for batch, days in ((beyond, 3), (within, 4), (off, 0)):
        create_orders(installation.database, batch, days)
        installation.execute("update orders set cancelled_at = now() where batch_id = %s", batch)
    found = installation.execute("select batch_id, days_apart from near_duplicates")

    assert found == [(within, 4)]


def test_what_was_cancelled_or_never_paid_cannot_be_doubled(installation: Installation, of: Any, payments: Any):
    """A client who corrects a declined order sends it again."""
    first = installation.ordered([order_row(**WHO)])
    payments.behave(fault_orders={"decline": [installation.order_ids(first)[0]]})
    declined = paid(installation, first, of)
    second = installation.ordered([order_row(**WHO)])
    operations.cancel(installation.database, second)
    third = installation.ordered([order_row(**WHO)])

    assert declined[0][0] == "rejected"
    assert paid(installation, third, of) == [("done", None)]


def test_the_list_shows_which_order_it_resembles_and_what_can_be_decided(installation: Installation, of: Any):
    first = installation.ordered([order_row(**WHO, order_number="FIRST-1")])
    batch = installation.ordered([order_row(), order_row(**WHO)])
    paid(installation, batch, of)
    with installation.database.begin() as tx:
        rows = in_review(tx, batch)
    profiles = dict.fromkeys(EffectKind, of.payments.profile)
    texts = [review_text.as_text(rows, profiles, language) for language in ("ja", "en")]
    told = review_text.as_json(rows[0], of.payments.profile)

    assert [(row.alike_batch_id, row.alike_row_number, row.days_apart) for row in rows] == [(first, 1, 0)]
    for text in texts:
        assert first in text
        assert "FIRST-1" in text
        assert f"bulk-orders review accept {batch} --all" in text
        assert "send-again" not in text
        assert "花子" not in text
    assert [command.split(" --as ")[1].split()[0] for command in told["decide"]] == ["accept", "rejected"]


def test_an_accepted_order_is_paid_once_and_the_decision_is_in_the_trail(
    installation: Installation, of: Any, payments: Any
):
    batch = installation.ordered([order_row(**WHO) for _ in range(3)])
    first = paid(installation, batch, of)
    accepted = accept(installation, batch)
    ids = installation.order_ids(batch)
    second = paid(installation, batch, of)
    charged = payments.rows("SELECT order_id FROM charges WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    events = installation.execute(
        "select event, reason, subjects from audit_events where chain = %s and event like 'decision:%%' order by seq",
        batch,
    )
    noted = installation.execute("select decision, code, note from decisions where batch_id = %s", batch)

    assert first == [("done", None), ALIKE, ALIKE]
    assert accepted == [2, 3]
    assert second == [("done", None)] * 3
    assert sorted(charged) == [(order,) for order in ids]
    assert [(event, subjects) for event, _, subjects in events] == [
        ("decision:accept:payments", [order]) for order in ids[1:]
    ]
    assert all(reason.startswith("PAY-NEAR-DUPLICATE decision-") for _, reason, _ in events)
    assert noted == [("accept", "PAY-NEAR-DUPLICATE", "asked the client")] * 2
    assert installation.batch(batch)[0] == "done"


def test_a_rejected_one_is_never_paid(installation: Installation, of: Any):
    batch = installation.ordered([order_row(**WHO) for _ in range(2)])
    paid(installation, batch, of)
    decided = RowDecision(2, EffectKind.PAYMENT, Decision.REJECTED, "sent twice by mistake")
    reviews.decide(installation.database, installation.vault, batch, decided)

    assert paid(installation, batch, of) == [("done", None), ("rejected", "PAY-REJECTED-BY-PERSON")]


@pytest.mark.parametrize("decision", [Decision.DONE, Decision.SEND_AGAIN])
def test_what_was_never_sent_can_neither_be_done_nor_sent_again(
    installation: Installation, of: Any, decision: Decision
):
    batch = installation.ordered([order_row(**WHO) for _ in range(2)])
    paid(installation, batch, of)

    with pytest.raises(OperationRefused, match="BATCH-ROW-NEVER-SENT"):
        reviews.decide(
            installation.database, installation.vault, batch, RowDecision(2, EffectKind.PAYMENT, decision, "looked")
        )
    assert paid(installation, batch, of)[1] == ALIKE


def test_only_what_waits_for_it_can_be_accepted(installation: Installation, of: Any):
    batch = installation.ordered([order_row(), order_row(**WHO), order_row(**WHO)])
    paid(installation, batch, of)

    with pytest.raises(OperationRefused, match="BATCH-ROW-NOT-ALIKE"):
        accept(installation, batch, 3, 1)
    with pytest.raises(OperationRefused, match="BATCH-NOTE-REFUSED"):
        reviews.accept(installation.database, installation.vault, batch, [3], "hana@example.jp said so")
    assert installation.execute("select count(*) from decisions where batch_id = %s", batch) == [(0,)]
    assert accept(installation, batch, 3) == [3]
    with pytest.raises(OperationRefused, match="BATCH-ROW-NOT-ALIKE"):
        accept(installation, batch)


def test_a_cancelled_batch_cancels_them_with_the_rest(installation: Installation):
    batch = installation.ordered([order_row(**WHO) for _ in range(2)])
    cancelled = operations.cancel(installation.database, batch)

    assert cancelled.effects == 2
    assert set(installation.states("payments", batch).values()) == {("cancelled", "PAY-CANCELLED")}


def test_waiting_is_no_failure_for_the_guards_on_money(installation: Installation, of: Any):
    """Else the rest of the file would stop for what only has to be looked at."""
    batch = installation.ordered([order_row(**WHO) for _ in range(3)] + [order_row() for _ in range(3)])
    within = limits()
    strict = type(within)(
        within.payments,
        within.notifications,
        within.cooldown_seconds,
        GuardLimits(canary_payments=2, canary_failed_percent=0, tolerated_failures=0),
    )

    assert paid(installation, batch, of, within=strict) == [("done", None), ALIKE, ALIKE, *[("done", None)] * 3]


def test_the_database_knows_no_customer_by_it(installation: Installation):
    """A keyed number: another key, or another client, gives another, and it holds no customer's name."""
    batch = installation.ordered([order_row(**WHO)])
    other = installation.ordered([order_row(**WHO)], client="other")
    mine, others = (
        installation.execute("select likeness from orders where batch_id = %s", each)[0][0] for each in (batch, other)
    )

    assert mine is not None
    assert mine != others


def test_each_row_of_a_long_file_has_its_own(installation: Installation):
    """Rows are sealed and compared some thousands at a time, with refused ones among them."""
    amounts = [1_000 + row % 7 for row in range(4_500)]
    rows = [
        order_row(**WHO | {"amount": str(jpy)}, phone="x" * 99 * (row % 11 == 5)) for row, jpy in enumerate(amounts)
    ]
    batch = installation.validated(rows)
    found = installation.execute(
        "select state, amount, likeness from import_rows where batch_id = %s order by import_row_number", batch
    )

    rejected = [row for row, (state, _, likeness) in enumerate(found) if state == "rejected" and likeness is None]
    accepted = {(amount, likeness) for state, amount, likeness in found if state == "accepted"}
    assert rejected == list(range(5, 4_500, 11))
    assert len({likeness for _, likeness in accepted}) == len(accepted) == 7


def test_killed_between_orders_and_payments_the_same_ones_wait(installation: Installation, of: Any):
    """What resembles what is written down with the orders; whoever plans the payments finds it."""
    batch = installation.ordered([order_row(**WHO) for _ in range(2)])
    with installation.database.begin() as tx:
        assert near_duplicates.count(tx, batch) == 1
        near_duplicates.find(tx, batch, 3)
        assert near_duplicates.count(tx, batch) == 1

    assert paid(installation, batch, of) == [("done", None), ALIKE]


def test_a_dry_run_counts_those_that_would_wait_and_writes_nothing(installation: Installation, of: Any):
    """In the file and against what is there; an import of it then holds as many."""
    installation.ordered([order_row(**WHO)])
    rows = [order_row(**WHO), order_row(**WHO), order_row(), order_row(**WHO | {"amount": "900"})]
    path = installation.write([*rows, order_row(**WHO | {"amount": "900"})])
    before = installation.execute("select count(*) from import_rows")
    told = {
        days: forecast(
            path,
            "shop",
            ReadingLimits(),
            installation.database,
            installation.vault,
            payments=of.payments.profile,
            notifications=of.notifications.profile,
            guards=GuardLimits(near_duplicate_days=days),
        )
        for days in (3, 0)
    }
    unchanged = installation.execute("select count(*) from import_rows") == before
    batch = installation.admitted(path)
    validate_batch(installation.database, installation.vault, installation.files, batch, ReadingLimits())
    create_orders(installation.database, batch)

    assert unchanged
    assert {days: (found.near_duplicates, found.orders, found.exit_code) for days, found in told.items()} == {
        3: (3, 5, 1),
        0: (0, 5, 0),
    }
    assert installation.execute("select count(*) from near_duplicates where batch_id = %s", batch) == [(3,)]
