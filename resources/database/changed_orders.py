"""Orders that somebody changed between plan and send: cancelled, charged elsewhere, another amount, refunded.

Looked at in the transaction that claims an effect, the last moment at which nothing has been sent. Such an effect is
not asked for any more; it ends as `cancelled`, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from domain.states import EffectKind
from resources.database import doubt

AS_PLANNED: Mapping[EffectKind, str] = {
    EffectKind.PAYMENT: "(o.status = 'PENDING' and o.paid_at is null and o.amount = e.amount"
    " and o.currency = e.currency)",
    # The order system may have moved a paid order on, but not back.
    EffectKind.NOTIFICATION: "(o.paid_at is not null"
    " and o.status not in ('PENDING', 'CANCELLED', 'CANCELED', 'REFUNDED', 'FAILED'))",
}
"""What must still hold of order ``o`` when its effect ``e`` is claimed."""

_REASON = {EffectKind.PAYMENT: "PAY-ORDER-CHANGED", EffectKind.NOTIFICATION: "MAIL-NOT-PAID"}


def give_up(tx: Connection, kind: EffectKind, batch_id: str, last_row: int) -> None:
    """End the effects of a batch that would be due, up to a row, but for their orders.

    One that may exist all the same, perhaps it is why its order was changed, is for a person.
    """
    changed = f"""e.not_before <= clock_timestamp() and e.import_row_number <= :last_row
                  and {AS_PLANNED[kind]} is not true"""
    doubt.ask_a_person(tx, kind, batch_id, changed, last_row=last_row)
    tx.execute(
        text(f"""update {kind.value} e set state = 'cancelled', reason = :reason, settled_at = clock_timestamp()
                 from orders o
                 where o.order_id = e.order_id and e.batch_id = :b and e.state in ('planned', 'retry_wait')
                       and {changed}"""),
        {"b": batch_id, "reason": _REASON[kind], "last_row": last_row},
    )
