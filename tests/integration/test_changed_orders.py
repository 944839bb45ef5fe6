"""Orders that somebody changed between plan and send are not charged, and nobody is told that they are paid.

The order system works on the same tables; nobody asks us before it cancels an order (3.24, 5.10 of the fault list).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from assets.batch_report.work import close_batch
from assets.payments.planning import plan_payments
from checks import reconciliation
from domain.errors import InvariantBroken
from domain.states import BatchState, EffectKind
from orchestration import operations
from resources.database import effects, interventions
from tests.integration.batches import Installation, services, work_through

PAYMENTS_ONLY = frozenset({EffectKind.PAYMENT})


def planned(installation: Installation, rows: int) -> tuple[str, list[int]]:
    """A batch whose payments are planned: its own check of the books has been passed."""
    batch = installation.ordered(rows)
    planned_of(installation, batch)
    return batch, installation.order_ids(batch)


def planned_of(installation: Installation, batch: str) -> None:
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)


def claimed(installation: Installation, batch: str, kind: EffectKind, limit: int = 100) -> list[int]:
    with installation.database.hold_batch(batch) as hold:
        claims = hold.run(lambda tx: effects.claim(tx, kind, batch, hold.epoch, limit))
    return [claim.order.order_id for claim in claims]


@pytest.mark.parametrize(
    "change", ["status = 'CANCELLED'", "status = 'PAID'", "amount = amount + 1", "paid_at = now()", "currency = 'USD'"]
)
def test_a_payment_whose_order_was_changed_is_never_claimed(installation: Installation, change: str) -> None:
    batch, ids = planned(installation, 4)
    if "currency" in change:
        installation.execute("alter table orders drop constraint orders_batch_is_complete")
    installation.execute(f"update orders set {change} where order_id = %s", ids[1])

    assert claimed(installation, batch, EffectKind.PAYMENT) == [ids[0], *ids[2:]]
    assert installation.states("payments", batch)[ids[1]] == ("cancelled", "PAY-ORDER-CHANGED")


def test_a_changed_order_keeps_no_other_waiting(installation: Installation) -> None:
    """Claims are made in small groups; the first of them are all changed here."""
    batch, ids = planned(installation, 6)
    installation.execute("update orders set status = 'CANCELLED' where order_id = any(%s)", ids[:4])

    assert claimed(installation, batch, EffectKind.PAYMENT, limit=2) == ids[4:]


def test_a_batch_with_cancelled_orders_comes_to_its_end(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    batch, ids = planned(installation, 8)
    gone, left = ids[:3], ids[3:]
    installation.execute("update orders set status = 'CANCELLED' where order_id = any(%s)", gone)

    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    _, books = work_through(installation, batch, of)

    asked = payments.rows("SELECT order_id FROM requests WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    assert Counter(order_id for (order_id,) in asked) == Counter(left)
    assert sorted(installation.states("notifications", batch)) == left
    assert books.everything_settled
    assert not books.everything_succeeded
    status = installation.execute("select distinct status from orders where order_id = any(%s)", gone)
    assert status == [("CANCELLED",)], "it is left as the order system has it"


@pytest.mark.parametrize(
    ("change", "changed", "elsewhere"),
    [
        ("amount = amount + 1", 1, 0),
        ("paid_at = now()", 0, 1),
        ("status = 'PAID', paid_at = now(), amount = amount + 1", 1, 1),
    ],
)
def test_a_batch_closes_whatever_the_order_system_did_before_a_payment(
    installation: Installation, payments: Any, notifications: Any, change: str, changed: int, elsewhere: int
) -> None:
    batch, ids = planned(installation, 4)
    installation.execute(f"update orders set {change} where order_id = %s", ids[1])

    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    books = close_batch(installation.database, batch)

    assert reconciliation.three_books_agree(books).passed
    assert (books.batch.state, books.paid_orders) == (BatchState.PARTIAL, 3)
    assert (books.orders_changed, books.paid_elsewhere) == (changed, elsewhere)


@pytest.mark.parametrize(
    "change", ["amount = amount + 1", "status = 'REFUNDED', paid_at = null", "status = 'SHIPPED', amount = 100"]
)
def test_a_batch_goes_on_and_closes_whatever_the_order_system_did_after_a_payment(
    installation: Installation, payments: Any, notifications: Any, change: str
) -> None:
    """Its mails were waiting meanwhile; they tell of what was charged."""
    batch = installation.ordered(4)
    ids = installation.order_ids(batch)
    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    _, before = work_through(installation, batch, of, selected=PAYMENTS_ONLY)
    installation.execute(f"update orders set {change} where order_id = %s", ids[1])

    _, books = work_through(installation, batch, of)

    assert reconciliation.three_books_agree(books).passed
    assert books.paid_jpy == before.paid_jpy
    refunded = "REFUNDED" in change
    assert installation.states("notifications", batch)[ids[1]][0] == ("cancelled" if refunded else "done")
    assert close_batch(installation.database, batch).batch.state is (
        BatchState.PARTIAL if refunded else BatchState.DONE
    )


def test_the_amount_that_was_planned_is_looked_up_although_the_order_has_another_now(
    installation: Installation,
) -> None:
    """What was charged is found so; with the other it would be a contradiction."""
    batch, ids = planned(installation, 1)
    asked = claimed(installation, batch, EffectKind.PAYMENT)
    installation.execute("update orders set amount = amount + 1 where order_id = %s", asked[0])

    with installation.database.begin() as tx:
        amount = effects.order_facts(tx, asked[0]).amount_jpy

    assert installation.execute("select amount from payments where order_id = %s", ids[0]) == [(amount,)]


def test_a_batch_that_is_cancelled_closes_although_an_order_was_changed_before_it_had_payments(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    installation.execute("update orders set amount = amount + 1 where order_id = %s", ids[1])
    with pytest.raises(InvariantBroken, match="BATCH-BOOKS-DIFFER"):
        planned_of(installation, batch)

    operations.cancel(installation.database, batch)
    _, books = work_through(
        installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url))
    )

    assert reconciliation.three_books_agree(books).passed
    assert close_batch(installation.database, batch).batch.state is BatchState.CANCELLED


@pytest.mark.parametrize("status", ["REFUNDED", "CANCELLED", "PENDING"])
def test_nobody_is_told_that_an_order_is_paid_which_is_not_any_more(
    installation: Installation, payments: Any, notifications: Any, status: str
) -> None:
    batch = installation.ordered(4)
    ids = installation.order_ids(batch)
    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    work_through(installation, batch, of, selected=PAYMENTS_ONLY)
    installation.execute("update orders set status = %s where order_id = %s", status, ids[2])
    installation.execute("update orders set status = 'SHIPPED' where order_id = %s", ids[3])

    _, books = work_through(installation, batch, of)

    mailed = notifications.rows("SELECT order_id FROM mails WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    assert sorted(order_id for (order_id,) in mailed) == [ids[0], ids[1], ids[3]]
    assert installation.states("notifications", batch)[ids[2]] == ("cancelled", "MAIL-NOT-PAID")
    assert books.everything_settled


@pytest.mark.parametrize("status", ["CANCELLED", "REFUNDED", "SHIPPED"])
def test_the_outcome_of_a_call_does_not_undo_what_the_order_system_did_meanwhile(
    installation: Installation, status: str
) -> None:
    """Neither paid nor declined: an order that was cancelled during its call would be charged again by a redrive."""
    _, ids = planned(installation, 3)
    installation.execute("update orders set status = %s where order_id = any(%s)", status, ids)

    with installation.database.begin() as tx:
        effects.mark_paid(tx, ids[:1])
        effects.mark_unpaid(tx, ids[1:2], ["PAY-DECLINED"])

    assert orders(installation, ids, "status, paid_at is not null") == [
        (status, True),
        (status, False),
        (status, False),
    ]


def test_cancelling_a_batch_leaves_alone_what_was_paid_elsewhere(installation: Installation) -> None:
    batch, ids = planned(installation, 3)
    installation.execute("update orders set status = 'PAID', paid_at = now() where order_id = %s", ids[1])

    with installation.database.begin() as tx:
        counted = interventions.cancel_unsent(tx, batch)

    assert counted.effects == 3
    assert orders(installation, ids, "status, cancelled_at is null") == [
        ("CANCELLED", False), ("PAID", True), ("CANCELLED", False)]  # fmt: skip


@pytest.mark.parametrize("number_is_used_again", [False, True])
def test_a_cancelled_order_that_was_paid_after_all_has_its_number_again(
    installation: Installation, number_is_used_again: bool
) -> None:
    """Free, it could be charged a second time by the corrected file; taken, the books stand with two of that number."""
    batch, ids = planned(installation, 1)
    with installation.database.begin() as tx:
        interventions.cancel_unsent(tx, batch)
    if number_is_used_again:
        _, others = planned(installation, 1)
        installation.execute(
            """update orders set (client, order_number) = (select client, order_number from orders where order_id = %s)
               where order_id = %s""",
            *(ids + others),
        )

    with installation.database.begin() as tx:
        effects.mark_paid(tx, ids)

    assert orders(installation, ids, "status, cancelled_at is null") == [("PAID", not number_is_used_again)]


def orders(installation: Installation, ids: list[int], columns: str) -> list[tuple[Any, ...]]:
    return installation.execute(f"select {columns} from orders where order_id = any(%s) order by order_id", ids)
