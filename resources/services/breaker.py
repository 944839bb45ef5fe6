"""Stop calling a service that is out of order as a whole, and find out with one call when it is back (R-36).

Only systemic trouble counts: no connection, timeouts, 5xx, refused credentials. A declined card is an answer. An open
breaker never turns a row into a failure: rows stay, the batch pauses and is taken up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from domain.outcomes import Outcome
from resources.database import limits
from resources.database.database import Database
from resources.database.limits import BreakerState

_FAILURES_IN_A_ROW = 12
_PROBE_HOLD_SECONDS = 60.0
_VIEW_SECONDS = 1.0


class Breaker:
    """The breaker of one service; its state is a row that all processes share. Used from one event loop.

    ``opened`` is what this process last saw: None while the service works.
    """

    def __init__(self, database: Database, service: str, cooldown_seconds: float) -> None:
        self._database = database
        self._service = service
        self._cooldown_seconds = cooldown_seconds
        self._failures = 0
        self._seen_at: float | None = None
        self.opened: BreakerState | None = None

    async def allows(self, probe: Callable[[], Awaitable[Outcome]]) -> bool:
        """Whether calls may begin. Of all who ask when the time has come, one makes the ``probe``, for all."""
        now = asyncio.get_running_loop().time()
        if self._seen_at is None or now - self._seen_at > _VIEW_SECONDS:
            self._seen_at = now
            state = await asyncio.to_thread(self._read)
            self.opened = state if state.open else None
            if state.open and state.seconds_to_probe <= 0 and await asyncio.to_thread(self._take_probe):
                await self._decide(await probe())
        return self.opened is None

    async def observe(self, outcome: Outcome) -> None:
        """Learn from the outcome of a call; may open the breaker."""
        if not outcome.systemic:
            self._failures = 0
            return
        self._failures += 1
        not_allowed = outcome.http_status in (401, 403, 407)
        if self.opened is None and (not_allowed or self._failures >= _FAILURES_IN_A_ROW):
            # Set before anything is awaited: of all calls in flight one opens it, once.
            self.opened = BreakerState(open=True, reason=outcome.reason, seconds_to_probe=self._cooldown_seconds)
            await asyncio.to_thread(self._open, outcome.reason or "-", False)

    async def _decide(self, outcome: Outcome) -> None:
        if outcome.systemic:
            await asyncio.to_thread(self._open, outcome.reason or "-", True)
            self.opened = await asyncio.to_thread(self._read)
        else:
            await asyncio.to_thread(self._close)
            self._failures, self.opened = 0, None

    def _read(self) -> BreakerState:
        with self._database.begin() as tx:
            return limits.breaker(tx, self._service)

    def _take_probe(self) -> bool:
        with self._database.begin() as tx:
            return limits.take_probe(tx, self._service, _PROBE_HOLD_SECONDS)

    def _open(self, reason: str, probe_failed: bool) -> None:
        with self._database.begin() as tx:
            limits.open_breaker(tx, self._service, reason, self._cooldown_seconds, probe_failed=probe_failed)

    def _close(self) -> None:
        with self._database.begin() as tx:
            limits.close_breaker(tx, self._service)
