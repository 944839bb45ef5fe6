"""Effects that wait to be sent again and may exist all the same: the same key is all that keeps them from being two."""

from __future__ import annotations

from sqlalchemy import Connection, text

from domain.states import EffectKind


def ask_a_person(tx: Connection, kind: EffectKind, batch_id: str, where: str = "true", **values: object) -> None:
    """Put those of a batch into review that would otherwise be called not done; ``where`` may look at order ``o``."""
    word = "PAY" if kind is EffectKind.PAYMENT else "MAIL"
    tx.execute(
        text(f"""update {kind.value} e set state = 'review', reason = :doubt, settled_at = clock_timestamp()
                 from orders o
                 where o.order_id = e.order_id and e.batch_id = :b and e.state = 'retry_wait' and {where}
                       and exists (select from effect_attempts a where a.order_id = e.order_id and a.kind = :kind
                                   and a.outcome = 'send_again')"""),
        {"b": batch_id, "kind": kind.value, "doubt": f"{word}-OUTCOME-UNKNOWN", **values},
    )
