"""What follows from a payment that is done, in the transaction that settles it, whoever learnt of it first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from domain.identity import idempotency_key, request_digest
from domain.states import EffectKind
from resources.database import effects
from resources.database.effects import OrderFacts, PlannedEffect

MakeMail = Callable[[OrderFacts], bytes]


def payments_done(tx: Connection, batch_id: str, orders: Sequence[OrderFacts], make_mail: MakeMail) -> None:
    """The orders are paid, and their mails are planned: killed before, neither is known; killed after, both are."""
    effects.mark_paid(tx, [order.order_id for order in orders])
    effects.plan(tx, EffectKind.NOTIFICATION, [_mail_of(batch_id, order, make_mail) for order in orders])


def _mail_of(batch_id: str, order: OrderFacts, make_mail: MakeMail) -> PlannedEffect:
    key = idempotency_key(batch_id, order.import_row_number, EffectKind.NOTIFICATION)
    return PlannedEffect(order.order_id, key, request_digest(make_mail(order)))
