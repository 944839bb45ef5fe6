"""Which services a batch works with: those it began with.

Whether a call in doubt had its effect is known where it was made, and nowhere else: looked up at another service, it
would not be found, and be made again. So does a key keep a call from happening twice only where it was sent before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.states import EffectKind


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The effects of this kind began at the service ``was``, and would go on at ``now``."""

    kind: EffectKind
    was: str
    now: str


def bind(tx: Connection, batch_id: str, services: Mapping[EffectKind, str]) -> Elsewhere | None:
    """Note the services, by name, that the batch works with from now on; or why it may not.

    Others may take over as long as nothing was made and nothing is in doubt. Payments and mails belong together: a real
    mail must not tell of a payment that a test service made.
    """
    bound = tx.execute(
        text("select payment_service, notification_service from batches where batch_id = :b"), {"b": batch_id}
    ).one()
    before = {EffectKind.PAYMENT: bound.payment_service, EffectKind.NOTIFICATION: bound.notification_service}
    changed = [kind for kind in EffectKind if before[kind] != services[kind]]
    others = [Elsewhere(kind, before[kind], services[kind]) for kind in changed if before[kind] is not None]
    if others and _has_effects(tx, batch_id):
        return others[0]
    if changed:
        tx.execute(
            text("update batches set payment_service = :p, notification_service = :n where batch_id = :b"),
            {"b": batch_id, "p": services[EffectKind.PAYMENT], "n": services[EffectKind.NOTIFICATION]},
        )
    return None


def _has_effects(tx: Connection, batch_id: str) -> bool:
    """Whether anything of the batch was made at a service, or may have been."""
    return any(
        tx.execute(text(f"select exists (select from {kind.value} where {_MAY_BE_MADE})"), {"b": batch_id}).scalar_one()
        for kind in EffectKind
    )


# One that was looked at and is to be made again may still be in doubt, where its key is all that can be known.
_MAY_BE_MADE = """batch_id = :b and (state in ('sending', 'unknown', 'review', 'done') or recheck
                                     or state = 'retry_wait' and looks > 0)"""
