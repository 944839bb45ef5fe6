"""What people do with a batch, for the command line and the Dagster UI alike: each is one transaction or nothing.

    redrive     what failed and may be tried again goes back into the queue
    pause       no further call begins, those in flight come home; waits until a person continues it
    continue    a paused batch goes on, past the guard that stopped it; so does one whose run was terminated
    cancel      what was never sent is cancelled; what is in doubt is looked up, what is paid gets its mail
    approve     a second person allows an amount above the limit

Killed before the commit, nothing was changed; killed after it, the batch is unfinished and is taken up by whoever looks
next (the sensor, ``continue``, an import of the same file). A refusal changes nothing and says why with a code.
Reviews are in ``orchestration/reviews.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from assets.effects.work import paused_by_person
from assets.payments.planning import plan_missing
from domain import guards
from domain.decisions import Decision
from domain.errors import BatchBusy, BulkOrdersError, OperationRefused
from domain.guards import GuardLimits
from domain.states import FINISHED_BATCH, BatchState, EffectKind
from resources.database import batches, decisions, interventions
from resources.database.batches import Batch
from resources.database.database import Database
from resources.database.interventions import Counted


@dataclass(frozen=True, slots=True)
class Redriven:
    """What was put back into the queue, or would be."""

    payments: Counted
    notifications: Counted

    @property
    def effects(self) -> int:
        """Payments and mails together."""
        return self.payments.effects + self.notifications.effects


def redrive(database: Database, batch_id: str, *, dry_run: bool = False) -> Redriven:
    """Try again what failed and may be tried again.

    Raises:
        OperationRefused: the batch has not finished, is done, or has nothing of the kind.
        BatchBusy: it is being worked on.
    """
    with database.begin() as tx:
        batch = batches.lock(tx, batch_id)
        if batch.state in (BatchState.DONE, BatchState.REFUSED):
            raise OperationRefused("BATCH-FINISHED", batch=batch_id)
        if batch.state not in FINISHED_BATCH:
            _refuse_if_worked_on(tx, batch_id)
            raise OperationRefused("BATCH-NOT-FINISHED", batch=batch_id)
        _refuse_if_worked_on(tx, batch_id)
        found = _redrivable(tx, batch)
        if found.effects == 0:
            raise OperationRefused("BATCH-NOTHING-TO-REDRIVE", batch=batch_id)
        if not dry_run:
            _redrive(tx, batch, found)
        return found


def _redrivable(tx: Connection, batch: Batch) -> Redriven:
    """Of a cancelled batch mails only: nothing of it is paid any more."""
    mails = interventions.redrivable(tx, EffectKind.NOTIFICATION, batch.batch_id)
    if batch.cancel_requested:
        return Redriven(Counted(), mails)
    return Redriven(interventions.redrivable(tx, EffectKind.PAYMENT, batch.batch_id), mails)


def _redrive(tx: Connection, batch: Batch, found: Redriven) -> None:
    # The effects first: whoever else is after them takes the locks in this order too.
    if found.payments.effects:
        interventions.redrive(tx, EffectKind.PAYMENT, batch.batch_id)
    interventions.redrive(tx, EffectKind.NOTIFICATION, batch.batch_id)
    decisions.record(tx, batch.batch_id, Decision.REDRIVE, amount_jpy=found.payments.amount_jpy)
    batches.go_on(tx, batch.batch_id, _cancelling(batch) if batch.cancel_requested else None)


def pause(database: Database, batch_id: str) -> Batch:
    """Ask for a pause; where nobody works on the batch, it is paused at once.

    Raises:
        OperationRefused: it has finished, or is paused by a person or a guard already.
    """
    with database.begin() as tx:
        batch = _unfinished(tx, batch_id)
        if batch.waits_for_person or batch.pause_requested_by is not None:
            raise OperationRefused("BATCH-ALREADY-PAUSED", batch=batch_id)
        decisions.record(tx, batch_id, Decision.PAUSE)
        batches.request_pause(tx, batch_id, database.actor.name)
        if batch.state in (BatchState.ORDERED, BatchState.PAUSED) and batches.nobody_works_on(tx, batch_id):
            batches.fence(tx, batch_id)
            requested = paused_by_person(batches.get(tx, batch_id))
            assert requested is not None
            batches.pause(tx, batch_id, requested.why, None)
        return batches.get(tx, batch_id)


def continue_(database: Database, batch_id: str) -> Batch:
    """Let a batch go on: one that is paused, whatever the reason, or one that nobody works on any more.

    Raises:
        OperationRefused: it has finished, is being worked on, or waits for an approval.
    """
    with database.begin() as tx:
        batch = _unfinished(tx, batch_id)
        if batch.reason == guards.APPROVAL_STOP and batch.waits_for_person:
            raise OperationRefused(guards.APPROVAL_STOP, **batch.reason_facts)
        stopped = batch.state is BatchState.PAUSED or batch.pause_requested_by is not None
        if not stopped and not batches.nobody_works_on(tx, batch_id):
            raise OperationRefused("BATCH-NOT-PAUSED", batch=batch_id)
        decisions.record(tx, batch_id, Decision.CONTINUE, code=batch.reason if stopped else None)
        batches.go_on(tx, batch_id)
        return batches.get(tx, batch_id)


def cancel(database: Database, batch_id: str) -> Counted:
    """End a batch: the payments that were cancelled now. What is in doubt is settled by whoever takes it up next.

    Raises:
        OperationRefused: it has finished, is being worked on, or is cancelled already.
    """
    with database.begin() as tx:
        batch = _unfinished(tx, batch_id)
        if batch.cancel_requested:
            raise OperationRefused("BATCH-CANCELLING", batch=batch_id)
        if not batches.nobody_works_on(tx, batch_id):
            raise OperationRefused("BATCH-CANCEL-WHILE-PAYING", batch=batch_id)
        batches.fence(tx, batch_id)
        return _cancel(tx, batch)


def _cancel(tx: Connection, batch: Batch) -> Counted:
    batch_id = batch.batch_id
    if batch.state in (BatchState.RECEIVED, BatchState.VALIDATED):
        decisions.record(tx, batch_id, Decision.CANCEL)
        batches.request_cancel(tx, batch_id)
        batches.move(tx, batch_id, BatchState.CANCELLED, OperationRefused("BATCH-CANCELLED", batch=batch_id))
        return Counted()
    plan_missing(tx, batch_id)  # every order has its payment, also one that is never made: the books agree
    cancelled = interventions.cancel_unsent(tx, batch_id)
    decisions.record(tx, batch_id, Decision.CANCEL, amount_jpy=cancelled.amount_jpy)
    batches.request_cancel(tx, batch_id)
    batches.go_on(tx, batch_id, _cancelling(batch))
    return cancelled


def _cancelling(batch: Batch) -> BulkOrdersError:
    return OperationRefused("BATCH-CANCELLING", batch=batch.batch_id)


def approve(database: Database, batch_id: str, limits: GuardLimits) -> Batch:
    """Allow a batch above the limit to be paid.

    Raises:
        OperationRefused: it is not known who approves, it is who started the batch, or there is nothing to approve.
    """
    person = guards.person_of(database.actor.name)
    if person is None:
        raise OperationRefused("BATCH-PERSON-UNKNOWN")
    with database.begin() as tx:
        batch = _unfinished(tx, batch_id)
        needed = guards.approval_reason(limits, batch_id, batch.accepted_jpy or 0, decisions.is_approved(tx, batch_id))
        if needed is None:
            raise OperationRefused("BATCH-NOTHING-TO-APPROVE", batch=batch_id)
        if person in {guards.person_of(giver) for giver in decisions.givers(tx, batch_id)}:
            raise OperationRefused("BATCH-APPROVAL-OWN", batch=batch_id)
        decisions.record(tx, batch_id, Decision.APPROVE, code=needed.code, amount_jpy=batch.accepted_jpy)
        if batch.reason == guards.APPROVAL_STOP:
            batches.go_on(tx, batch_id)
        return batches.get(tx, batch_id)


def take_up(database: Database, batch_id: str) -> None:
    """A person works on an unfinished batch again (imports its file): what waits for a person goes on waiting.

    A pause that was asked for holds too, although nobody has seen it yet.
    """
    with database.begin() as tx:
        batch = batches.lock(tx, batch_id)
        waits = batch.state in FINISHED_BATCH or batch.waits_for_person or batch.pause_requested_by is not None
        if not waits and batch.run_id is not None and batches.nobody_works_on(tx, batch_id):
            decisions.record(tx, batch_id, Decision.CONTINUE)
            batches.go_on(tx, batch_id)


def _unfinished(tx: Connection, batch_id: str) -> Batch:
    batch = batches.lock(tx, batch_id)
    if batch.state in FINISHED_BATCH:
        raise OperationRefused("BATCH-FINISHED", batch=batch_id)
    return batch


def _refuse_if_worked_on(tx: Connection, batch_id: str) -> None:
    if not batches.nobody_works_on(tx, batch_id):
        raise BatchBusy("BATCH-BUSY", batch=batch_id)
