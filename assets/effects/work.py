"""Pay and notify one batch: hold it, plan, stream, and leave it in a state that says what is next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from assets.effects.lane import LaneLimits
from assets.effects.loop_thread import LoopThread
from assets.effects.stream import EffectStream, LaneEnded, LanePlan, StreamReport
from assets.notifications.mail import MailWriter
from assets.payments.planning import plan_payments
from domain.errors import BatchPaused
from domain.states import EffectKind
from resources.database import batches, books
from resources.database.books import Books
from resources.database.database import BatchHold, Database
from resources.database.limits import BreakerState
from resources.encryption import Vault
from resources.services.notifications import NotificationService
from resources.services.payments import PaymentService, payment_body

ALL_KINDS = frozenset(EffectKind)
_PAUSE_CODES = {EffectKind.PAYMENT: "BATCH-PAUSED-PAYMENTS", EffectKind.NOTIFICATION: "BATCH-PAUSED-NOTIFICATIONS"}


@dataclass(frozen=True, slots=True)
class EffectLimits:
    """How much is done at once, per kind; ``cooldown_seconds`` a service that is out of order is left alone."""

    payments: LaneLimits
    notifications: LaneLimits
    cooldown_seconds: float


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
        self._paused: tuple[EffectKind, BreakerState] | None = None

    def books(self) -> Books:
        """The books of the batch now."""
        with self._database.snapshot() as tx:
            return books.read(tx, self._hold.batch_id)

    def reports(self) -> Iterator[StreamReport]:
        """Work until both lanes have ended, giving progress every second and the end of each lane.

        Raises:
            BatchPaused: a service is out of order; the batch is `paused` and will be taken up again.
        """
        before = plan_payments(self._hold)
        settled = {EffectKind.PAYMENT: before.payments.settled, EffectKind.NOTIFICATION: before.notifications.settled}
        totals = {EffectKind.PAYMENT: before.orders, EffectKind.NOTIFICATION: before.mails_expected}
        stream = EffectStream(
            self._database, self._hold, self._plans, self._selected, settled, totals, self._limits.cooldown_seconds
        )
        for report in LoopThread(stream.run, stream.stop):
            if isinstance(report, LaneEnded) and report.out_of_order is not None:
                self._paused = (report.kind, report.out_of_order)
            yield report
        self._pause_if_needed()

    def _pause_if_needed(self) -> None:
        if self._paused is None:
            return
        kind, breaker = self._paused
        paused = BatchPaused(_PAUSE_CODES[kind], batch=self._hold.batch_id, reason=breaker.reason or "-")
        with self._hold.begin() as tx:
            batches.pause(tx, self._hold.batch_id, paused, max(1.0, breaker.seconds_to_probe))
        raise paused


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
