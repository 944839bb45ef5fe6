"""Plan the payments of a batch: one per order, its key and the digest of its request fixed before any call."""

from __future__ import annotations

from sqlalchemy import Connection

from domain.errors import InvariantBroken, OperationRefused
from domain.identity import idempotency_key, request_digest
from domain.states import BatchState, EffectKind
from resources.database import batches, books, durability, effects, near_duplicates
from resources.database.books import Books
from resources.database.database import BatchHold
from resources.database.effects import PlannedEffect
from resources.services.payments import payment_body


def plan_payments(hold: BatchHold) -> Books:
    """Plan what is not planned yet and take the batch up again if it was paused; the books before any call.

    The stage reads the truth here before it spends money: a blocking check holds only within its own run.

    Raises:
        SettingRefused: the database may lose commits.
        InvariantBroken: the batch has no orders yet, or its orders and its file differ in count or yen.
        OperationRefused: the batch was cancelled before it had orders.
    """
    return hold.run(lambda tx: _plan(tx, hold.batch_id))


def _plan(tx: Connection, batch_id: str) -> Books:
    durability.refuse_unsafe(tx)
    batch = batches.get(tx, batch_id)
    if batch.state in (BatchState.RECEIVED, BatchState.REFUSED, BatchState.VALIDATED):
        raise InvariantBroken("BATCH-NOT-ORDERED", batch=batch_id)
    if batch.state is BatchState.CANCELLED and batch.paying_since is None:
        raise OperationRefused("BATCH-CANCELLED", batch=batch_id)  # before its orders were made
    if batch.state is BatchState.PAUSED:
        batches.move(tx, batch_id, BatchState.ORDERED)
    before = books.read(tx, batch_id)
    if (before.orders, before.orders_jpy) != (before.orders_expected, before.accepted_jpy):
        raise InvariantBroken("BATCH-BOOKS-DIFFER", batch=batch_id, orders=before.orders, rows=before.orders_expected)
    plan_missing(tx, batch_id)
    return books.read(tx, batch_id)


def plan_missing(tx: Connection, batch_id: str) -> None:
    """Plan the payments of orders that have none yet; one that resembles another order waits for a person at once."""
    effects.plan(tx, EffectKind.PAYMENT, _planned(batch_id, effects.unplanned_payments(tx, batch_id)))
    near_duplicates.hold(tx, batch_id)
    effects.doubt_restored(tx, batch_id)


def _planned(batch_id: str, orders: list[tuple[int, int, int]]) -> list[PlannedEffect]:
    return [
        PlannedEffect(
            order_id,
            idempotency_key(batch_id, row_number, EffectKind.PAYMENT),
            request_digest(payment_body(order_id, amount_jpy)),
        )
        for order_id, row_number, amount_jpy in orders
    ]
