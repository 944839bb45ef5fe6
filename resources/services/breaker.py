"""Stop calling a service that is out of order as a whole, and find out with one call when it is back (R-36).

Only systemic trouble counts: no connection, timeouts, 5xx, refused credentials. A declined card is an answer. An open
breaker never turns a row into a failure: rows stay, the batch pauses and is taken up again.
"""

from __future__ import annotations

import asyncio

from domain.outcomes import Outcome
from resources.database import limits
from resources.database.database import Database
from resources.database.limits import BreakerState

_FAILURES_IN_A_ROW = 12
_PROBE_HOLD_SECONDS = 60.0


class Breaker:
    """The breaker of one service; its state is a row that all processes share. Used from one event loop."""

    def __init__(self, database: Database, service: str, cooldown_seconds: float) -> None:
        self._database = database
        self._service = service
        self._cooldown_seconds = cooldown_seconds
        self._failures = 0
        self._probing = False
        self.opened: BreakerState | None = None

    async def enter(self) -> bool:
        """Whether calls may begin: the breaker is closed, or this caller makes the probe (``probing`` is set)."""
        state = await asyncio.to_thread(self._read)
        self.opened = state if state.open else None
        if not state.open:
            return True
        self._probing = state.seconds_to_probe <= 0 and await asyncio.to_thread(self._take_probe)
        return self._probing

    @property
    def probing(self) -> bool:
        """One call is to find out whether the service is back; no second one beside it."""
        return self._probing

    async def observe(self, outcome: Outcome) -> None:
        """Learn from the outcome of a call; may open or close the breaker."""
        if not outcome.systemic:
            self._failures = 0
            if self._probing:
                self._probing, self.opened = False, None
                await asyncio.to_thread(self._close)
            return
        self._failures += 1
        if self._is_out_of_order(outcome):
            # Set before anything is awaited: of all calls in flight one opens it, once.
            self._probing, self.opened = False, BreakerState(open=True, reason=outcome.reason)
            await asyncio.to_thread(self._open, outcome.reason or "-")

    def _is_out_of_order(self, outcome: Outcome) -> bool:
        if self._probing:
            return True
        return self.opened is None and (outcome.http_status in (401, 403) or self._failures >= _FAILURES_IN_A_ROW)

    def _read(self) -> BreakerState:
        with self._database.begin() as tx:
            return limits.breaker(tx, self._service)

    def _take_probe(self) -> bool:
        with self._database.begin() as tx:
            return limits.take_probe(tx, self._service, _PROBE_HOLD_SECONDS)

    def _open(self, reason: str) -> None:
        with self._database.begin() as tx:
            limits.open_breaker(tx, self._service, reason, self._cooldown_seconds)

    def _close(self) -> None:
        with self._database.begin() as tx:
            limits.close_breaker(tx, self._service)
