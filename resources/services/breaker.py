"""Stop calling a service that is out of order as a whole, and find out with one call when it is back (R-36).

Only systemic trouble counts: no connection, timeouts, 5xx, refused credentials. A declined card is an answer. It opens

- at twelve systemic failures in a row that one process saw, or one 401, 403 or 407;
- when of at least 20 calls of all processes within a minute at least half failed so. Each process adds what it saw
  once a second, not per call.

An open breaker never turns a row into a failure: rows stay, the batch pauses and is taken up again. What a call has
told is never lost here: whatever happens to the database, ``observe`` raises nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from domain.errors import DatabaseUnavailable
from domain.outcomes import Outcome
from resources.database import limits
from resources.database.database import Database
from resources.database.limits import BreakerState
from resources.database.patience import patiently_awaited

Result = TypeVar("Result")

_FAILURES_IN_A_ROW = 12
_WINDOW_SECONDS = 60.0
_WINDOW_CALLS = 20
_WINDOW_SHARE = 0.5
_PROBE_HOLD_SECONDS = 60.0
_PROBE_POLL_SECONDS = 0.25
_VIEW_SECONDS = 1.0


class Breaker:
    """The breaker of one service; its state is a row that all processes share. Used from one event loop.

    ``opened`` is what this process last saw: None while the service works.
    """

    def __init__(self, database: Database, service: str, cooldown_seconds: float) -> None:
        self._database = database
        self._service = service
        self._cooldown_seconds = cooldown_seconds
        self._failures_in_a_row = 0
        self._calls, self._failures = 0, 0  # not yet added to what all saw
        self._reason = "-"
        self._seen_at: float | None = None
        self.opened: BreakerState | None = None

    async def allows(self, probe: Callable[[], Awaitable[Outcome]]) -> bool:
        """Whether calls may begin. Of all who ask when the time has come, one makes the ``probe``, for all.

        Raises:
            DatabaseUnavailable: it cannot be asked for longer than our patience.
        """
        now = asyncio.get_running_loop().time()
        if self._seen_at is None or now - self._seen_at > _VIEW_SECONDS:
            self._seen_at = now
            calls, failures, self._calls, self._failures = self._calls, self._failures, 0, 0
            self._see(await self._in_thread(lambda: self._report(calls, failures)))
            if self.opened is not None and self.opened.seconds_to_probe <= 0:
                await self._find_out(probe)
        return self.opened is None

    async def observe(self, outcome: Outcome) -> None:
        """Learn from the outcome of a call; may open the breaker."""
        self._calls += 1
        if not outcome.systemic:
            self._failures_in_a_row = 0
            return
        self._failures += 1
        self._failures_in_a_row += 1
        self._reason = outcome.reason or "-"
        not_allowed = outcome.http_status in (401, 403, 407)
        if self.opened is None and (not_allowed or self._failures_in_a_row >= _FAILURES_IN_A_ROW):
            # Set before anything is awaited: of all calls in flight one opens it, once.
            self.opened = BreakerState(open=True, reason=outcome.reason, seconds_to_probe=self._cooldown_seconds)
            with suppress(DatabaseUnavailable):  # then nobody else knows; they will see for themselves
                await asyncio.to_thread(self._open, self._reason, False)

    async def _find_out(self, probe: Callable[[], Awaitable[Outcome]]) -> None:
        if await self._in_thread(self._take_probe):
            await self._decide(await probe())
            return
        deadline = asyncio.get_running_loop().time() + _PROBE_HOLD_SECONDS
        while self.opened is not None and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_PROBE_POLL_SECONDS)
            self._see(await self._in_thread(self._read))
            if self.opened is not None and not self.opened.probing:
                return

    async def _decide(self, outcome: Outcome) -> None:
        if outcome.systemic:
            await self._in_thread(lambda: self._open(outcome.reason or "-", True))
            self._see(await self._in_thread(self._read))
        else:
            await self._in_thread(self._close)
            self._failures_in_a_row, self._calls, self._failures, self.opened = 0, 0, 0, None

    def _see(self, state: BreakerState) -> None:
        self.opened = state if state.open else None

    def _report(self, calls: int, failures: int) -> BreakerState:
        """Add what we saw to what all saw, and see where the breaker stands."""
        with self._database.begin() as tx:
            if calls:
                seen, failed = limits.count_calls(tx, self._service, calls, failures, _WINDOW_SECONDS)
                if failures and seen >= _WINDOW_CALLS and failed >= seen * _WINDOW_SHARE:
                    limits.open_breaker(tx, self._service, self._reason, self._cooldown_seconds, probe_failed=False)
            return limits.breaker(tx, self._service)

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

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await patiently_awaited(lambda: asyncio.to_thread(work), self._database.patience_seconds)
