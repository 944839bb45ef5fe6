"""Whether calls of a batch may begin: what people asked for and what the guards on money say, looked at every second.

What closes the gate stands in the database, and the claim of an effect asks there too: a pause holds from its commit
on, and a successor of a killed worker finds the same canary. Here is noticed that a lane has nothing more to do.
"""

from __future__ import annotations

from sqlalchemy import Connection

from domain import guards
from domain.errors import BatchPaused
from domain.guards import EVERY_ROW, GuardLimits, PaymentTally
from domain.states import FAILED_EFFECT, EffectKind, EffectState
from resources.database import batches, decisions, interventions
from resources.database.database import Database


class Gate:
    """The gate of one run. ``look`` is called on some thread, one at a time; everything else on the event loop."""

    def __init__(self, database: Database, batch_id: str, limits: GuardLimits) -> None:
        self._database = database
        self._batch_id = batch_id
        self._limits = limits
        self._passed: frozenset[str] = frozenset()
        self._failed = 0
        self._payments = 0
        self._pause_requested = False
        self._canary = False
        self._looked = False
        self.stop: BatchPaused | None = None  # the guard that stopped the payments

    def look(self) -> bool:
        """Ask the database: the first time everything, later only what may change; whether the canary is just over."""
        canary_before = self._canary
        self._database.run(self._look)
        return canary_before and not self._canary

    def settled(self, kind: EffectKind, state: EffectState) -> None:
        """One more effect came to its end; one failed payment more may be one too many."""
        if kind is EffectKind.PAYMENT and state in FAILED_EFFECT:
            self._failed += 1
            self._judge(PaymentTally(self._batch_id, self._payments, self._failed))

    @property
    def closed(self) -> frozenset[EffectKind]:
        """The kinds of which no further call may begin."""
        if self._pause_requested:
            return frozenset(EffectKind)
        return frozenset({EffectKind.PAYMENT}) if self.stop is not None else frozenset()

    def _look(self, tx: Connection) -> None:
        batch = batches.lock(tx, self._batch_id)
        self._pause_requested = batch.pause_requested_by is not None
        if batch.cancel_requested:
            # What a look-up has just proven not to have happened was never paid, and is not to be.
            interventions.cancel_unsent(tx, self._batch_id)
        else:
            self._look_at_payments(tx)

    def _look_at_payments(self, tx: Connection) -> None:
        if self._looked and not self._canary:
            return
        self._passed = decisions.guards_passed(tx, self._batch_id)
        tally = interventions.payment_tally(tx, self._batch_id, self._limits.canary_payments)
        self._payments, self._failed = tally.payments, tally.failed
        self._judge(tally)
        if self.stop is not None:
            return  # what the canary held back stays so: the lanes are only about to be stopped, and claim until then
        last_row = guards.last_row_allowed(tally, self._passed)
        self._canary, self._looked = last_row != EVERY_ROW, True
        interventions.send_up_to(tx, self._batch_id, last_row if self._canary else None)

    def _judge(self, tally: PaymentTally) -> None:
        self.stop = self.stop or guards.stop_reason(self._limits, tally, self._passed)
