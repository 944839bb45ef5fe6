"""What makes it harmless to repeat a transaction of effects whose commit was never answered."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, text

from domain.states import EffectKind
from resources.database.effects import Attempt


def is_recorded(tx: Connection, kind: EffectKind, epoch: int, attempt: Attempt) -> bool:
    """Whether this call is written down: then so is all that was settled in the same transaction."""
    query = text("""select exists (select from effect_attempts
                                   where kind = :kind and order_id = :order_id and attempt = :attempt
                                     and purpose = :purpose and lease_epoch = :epoch and started_at = :started_at)""")
    values = {
        "kind": kind.value,
        "order_id": attempt.order_id,
        "attempt": attempt.attempt,
        "purpose": attempt.purpose,
        "epoch": epoch,
        "started_at": attempt.started_at,
    }
    return bool(tx.execute(query, values).scalar_one())


def release_unknown_claims(tx: Connection, kind: EffectKind, batch_id: str, epoch: int, known: Collection[int]) -> None:
    """Give back claims of our own epoch that are none of the ``known`` ones: nobody was told of them, so none was sent.

    A claim becomes known when its commit is answered; one whose answer was lost may be committed all the same.
    """
    tx.execute(
        text(f"""update {kind.value} set state = 'retry_wait', attempts = attempts - 1
                 where batch_id = :b and state = 'sending' and lease_epoch = :epoch and order_id <> all(:known)"""),
        {"b": batch_id, "epoch": epoch, "known": list(known)},
    )
