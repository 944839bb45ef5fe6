"""Rows that only a person can settle: the decision about one, with all its consequences in one transaction.

Killed before the commit, the row is still in review; killed after it, the decision, its event, the order's state and
the planned mail are all there, and the batch is unfinished until somebody sends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from assets.effects.following import payments_done
from assets.notifications.mail import MailWriter
from domain.decisions import ROW_DECISIONS, Decision, checked_note, checked_remote_id, choices, rejected_by_person
from domain.errors import OperationRefused
from domain.guards import NEAR_DUPLICATE
from domain.profiles import ServiceProfile
from domain.states import BatchState, EffectKind, EffectState
from resources.database import batches, decisions, effects, erasures, interventions, near_duplicates
from resources.database.batches import Batch
from resources.database.database import Database
from resources.database.interventions import InReview
from resources.encryption import Vault


@dataclass(frozen=True, slots=True)
class RowDecision:
    """What a person decided about one row. ``remote_id``: the service's number of what was done, where it is known."""

    row: int
    kind: EffectKind
    decision: Decision
    note: str
    remote_id: str | None = None


def may_double(profile: ServiceProfile) -> bool:
    """Whether sending again could do it twice: the service neither gets keys that it honours nor can be asked."""
    return not profile.outcome_can_be_known


def decide(database: Database, vault: Vault, batch_id: str, decided: RowDecision) -> Batch:
    """Take one row out of review, as a person decided.

    Raises:
        OperationRefused: the row is not in review (any more), the batch is cancelled and nothing of it is paid again,
            the person was erased and nothing of it is sent again, or the number or the note cannot be taken.
    """
    remote_id = checked_remote_id(decided.remote_id) if decided.remote_id is not None else None
    checked = replace(decided, note=checked_note(decided.note), remote_id=remote_id)
    with database.begin() as tx:
        batch = batches.lock(tx, batch_id)
        found = interventions.take_for_decision(tx, checked.kind, batch_id, checked.row)
        if found is None:
            raise OperationRefused("BATCH-ROW-NOT-IN-REVIEW", batch=batch_id, row=checked.row, kind=checked.kind.value)
        pays = ROW_DECISIONS[checked.decision] is EffectState.RETRY_WAIT and checked.kind is EffectKind.PAYMENT
        if pays and batch.cancel_requested:
            raise OperationRefused("BATCH-CANCELLED", batch=batch_id)
        if checked.decision not in choices(found.reason):
            alike = found.reason == NEAR_DUPLICATE
            raise OperationRefused("BATCH-ROW-NEVER-SENT" if alike else "BATCH-ROW-NOT-ALIKE", row=checked.row)
        _record(tx, batch, found, checked, vault)
        return _gone_on(tx, batch)


def accept(database: Database, vault: Vault, batch_id: str, rows: Sequence[int], note: str) -> list[int]:
    """Accept rows that resemble other orders, or all of them where none is named: the rows that are paid now.

    Raises:
        OperationRefused: none waits, one that is named does not, the batch is cancelled, or the note cannot be taken.
    """
    note = checked_note(note)
    with database.begin() as tx:
        batch = batches.lock(tx, batch_id)
        if batch.cancel_requested:
            raise OperationRefused("BATCH-CANCELLED", batch=batch_id)
        waiting = near_duplicates.waiting(tx, batch_id)
        accepted = sorted(set(rows)) or waiting
        strangers = [row for row in accepted if row not in set(waiting)]
        if strangers or not accepted:
            raise OperationRefused("BATCH-ROW-NOT-ALIKE", row=strangers[0] if strangers else 0)
        for row in accepted:
            found = interventions.take_for_decision(tx, EffectKind.PAYMENT, batch_id, row)
            if found is None:
                raise OperationRefused("BATCH-ROW-NOT-ALIKE", row=row)
            decided = RowDecision(row, EffectKind.PAYMENT, Decision.ACCEPT, note)
            _record(tx, batch, found, decided, vault)
        _gone_on(tx, batch)
        return accepted


def _record(tx: Connection, batch: Batch, found: InReview, decided: RowDecision, vault: Vault) -> None:
    _apply(tx, batch, found, decided, vault)
    decisions.record(
        tx,
        batch.batch_id,
        decided.decision,
        code=found.reason,
        kind=decided.kind,
        order_id=found.order_id,
        note=decided.note,
        amount_jpy=found.amount_jpy,
    )


def _gone_on(tx: Connection, batch: Batch) -> Batch:
    if batch.state in (BatchState.PARTIAL, BatchState.CANCELLED):
        batches.go_on(tx, batch.batch_id)  # its report and, for a paid order, the mail
    return batches.get(tx, batch.batch_id)


def _apply(tx: Connection, batch: Batch, found: InReview, decided: RowDecision, vault: Vault) -> None:
    to, kind = ROW_DECISIONS[decided.decision], decided.kind
    if to is EffectState.RETRY_WAIT and decided.row in erasures.rows_of_batch(tx, batch.batch_id):
        raise OperationRefused("BATCH-ROW-ERASED", batch=batch.batch_id, row=decided.row)
    remote_id = _remote_id(tx, found, decided) if to is EffectState.DONE else None
    reason = rejected_by_person(kind) if to is EffectState.REJECTED else None
    interventions.decide(tx, kind, found.order_id, to, remote_id=remote_id, reason=reason)
    if kind is not EffectKind.PAYMENT:
        return
    if to is EffectState.DONE:
        order = effects.order_facts(tx, found.order_id)
        payments_done(tx, batch.batch_id, [order], MailWriter(batch, vault))
    elif to is EffectState.REJECTED:
        effects.mark_unpaid(tx, [found.order_id], [reason])


def _remote_id(tx: Connection, found: InReview, decided: RowDecision) -> str:
    """The number given; without one, the order's own name for it, as for a service that names nothing."""
    remote_id = decided.remote_id or f"order-{found.order_id}"
    if interventions.remote_id_is_taken(tx, decided.kind, remote_id):
        raise OperationRefused("BATCH-REMOTE-ID-TAKEN")
    return remote_id
