"""Pay and notify one batch: hold it, plan, stream, and leave it in a state that says what is next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Connection

from assets.effects.gate import Gate
from assets.effects.lane import LaneLimits
from assets.effects.loop_thread import LoopThread
from assets.effects.stream import EffectStream, LaneEnded, LanePlan, StreamReport
from assets.notifications.mail import MailWriter
from assets.payments.planning import plan_payments
from domain.errors import BatchPaused
from domain.guards import GuardLimits, approval_reason
from domain.restoring import UNPROVEN
from domain.states import BatchState, EffectKind
from resources.database import batch_services, batches, books, decisions, restorations
from resources.database.batches import Batch
from resources.database.books import Books
from resources.database.database import BatchHold, Database
from resources.database.limits import BreakerState
from resources.encryption import Vault
from resources.services.notifications import NotificationService
from resources.services.payments import PaymentService, payment_body

ALL_KINDS = frozenset(EffectKind)
PERSON_PAUSE = "BATCH-PAUSED-BY-PERSON"
PAUSE_CODES = {EffectKind.PAYMENT: "BATCH-PAUSED-PAYMENTS", EffectKind.NOTIFICATION: "BATCH-PAUSED-NOTIFICATIONS"}

ELSEWHERE_CODES = {
    EffectKind.PAYMENT: "BATCH-PAYMENTS-ELSEWHERE",
    EffectKind.NOTIFICATION: "BATCH-NOTIFICATIONS-ELSEWHERE",
}


@dataclass(frozen=True, slots=True)
class EffectLimits:
    """How much is done at once, per kind; ``cooldown_seconds`` a service that is out of order is left alone."""

    payments: LaneLimits
    notifications: LaneLimits
    cooldown_seconds: float
    guards: GuardLimits = field(default_factory=GuardLimits)


@dataclass(frozen=True, slots=True)
class Services:
    """The two services of an installation."""

    payments: PaymentService
    notifications: NotificationService


class EffectWork:
    """The payments and notifications of one held batch. Iterating ``reports`` does the work."""

    def __init__(
        self,
        database: Database,
        hold: BatchHold,
        vault: Vault,
        services: Services,
        limits: EffectLimits,
        selected: frozenset[EffectKind] = ALL_KINDS,
    ) -> None:
        self._database = database
        self._hold = hold
        self._limits = limits
        self._selected = selected
        self._plans = {
            EffectKind.PAYMENT: LanePlan(
                services.payments, limits.payments, lambda o: payment_body(o.order_id, o.amount_jpy)
            ),
            EffectKind.NOTIFICATION: LanePlan(
                services.notifications, limits.notifications, MailWriter(self.books().batch, vault)
            ),
        }
        self._names = {kind: plan.service.name for kind, plan in self._plans.items()}
        self._gate = Gate(database, hold.batch_id, limits.guards)
        self._out_of_order: tuple[EffectKind, BreakerState] | None = None
        self._stopped = False

    def books(self) -> Books:
        """The books of the batch now."""
        return self._database.read(lambda tx: books.read(tx, self._hold.batch_id))

    def reports(self) -> Iterator[StreamReport]:
        """Work until both lanes have ended, giving progress every second and the end of each lane.

        Raises:
            BatchPaused: a person or a guard on money stopped the batch, or it began with another service, and it waits
                for a person; or a service is out of order, and the batch is taken up again. It is `paused` then.
        """
        self._stop_if(self._stopped_before)
        before = plan_payments(self._hold)
        settled = {EffectKind.PAYMENT: before.payments.settled, EffectKind.NOTIFICATION: before.notifications.settled}
        totals = {EffectKind.PAYMENT: before.orders, EffectKind.NOTIFICATION: before.mails_expected}
        stream = EffectStream(
            self._database,
            self._hold,
            self._gate,
            self._plans,
            self._selected,
            settled,
            totals,
            self._limits.cooldown_seconds,
        )
        for report in LoopThread(stream.run, stream.stop):
            if isinstance(report, LaneEnded) and report.out_of_order is not None:
                self._out_of_order = (report.kind, report.out_of_order)
            if isinstance(report, LaneEnded) and report.stopped:
                self._stopped = True
            yield report
        if self._stopped or self._out_of_order is not None:
            self._stop_if(self._stopped_meanwhile)

    def _stop_if(self, reason: Callable[[Connection, Batch], Pause | None]) -> None:
        """Pause the batch when there is a reason, and say it; what a person asked for comes before everything else."""

        def pause(tx: Connection) -> BatchPaused | None:
            batch = batches.lock(tx, self._hold.batch_id)
            if batch.waits_for_person and batch.reason is not None:
                return BatchPaused(batch.reason, **batch.reason_facts)
            if batch.state not in (BatchState.ORDERED, BatchState.PAUSED):
                return None
            found = paused_by_person(batch) or reason(tx, batch)
            if found is not None:
                batches.pause(tx, batch.batch_id, found.why, found.resume_in_seconds)
            return found.why if found is not None else None

        stopped = self._hold.run(pause)
        if stopped is not None:
            raise stopped

    def _stopped_before(self, tx: Connection, batch: Batch) -> Pause | None:
        elsewhere = batch_services.bind(tx, batch.batch_id, self._names)
        if elsewhere is not None:
            code = ELSEWHERE_CODES[elsewhere.kind]
            return Pause(BatchPaused(code, batch=batch.batch_id, was=elsewhere.was, now=elsewhere.now))
        if EffectKind.PAYMENT not in self._selected or batch.cancel_requested:
            return None
        restored_at = restorations.waits_for(tx, batch.batch_id)
        if restored_at is not None:
            told = f"{restored_at:%Y-%m-%d %H:%M} UTC"
            return Pause(BatchPaused(UNPROVEN, batch=batch.batch_id, restored_at=told))
        approved = decisions.is_approved(tx, batch.batch_id)
        why = approval_reason(self._limits.guards, batch.batch_id, batch.accepted_jpy or 0, approved)
        return Pause(why) if why is not None else None

    def _stopped_meanwhile(self, _: Connection, batch: Batch) -> Pause | None:
        if self._gate.stop is not None:
            return Pause(self._gate.stop)
        if self._out_of_order is None:
            return None
        kind, breaker = self._out_of_order
        why = BatchPaused(PAUSE_CODES[kind], batch=batch.batch_id, reason=breaker.reason or "-")
        return Pause(why, max(1.0, breaker.seconds_to_probe))


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a batch stops, and when it goes on by itself; None: when a person says so."""

    why: BatchPaused
    resume_in_seconds: float | None = None


def paused_by_person(batch: Batch) -> Pause | None:
    """The pause that a person asked for."""
    person = batch.pause_requested_by
    return None if person is None else Pause(BatchPaused(PERSON_PAUSE, batch=batch.batch_id, person=person))


@contextmanager
def effect_work(
    database: Database,
    vault: Vault,
    services: Services,
    limits: EffectLimits,
    batch_id: str,
    selected: frozenset[EffectKind] = ALL_KINDS,
) -> Iterator[EffectWork]:
    """Hold the batch while its effects are made.

    Raises:
        BatchBusy: another process works on it.
    """
    with database.hold_batch(batch_id) as hold:
        yield EffectWork(database, hold, vault, services, limits, selected)
