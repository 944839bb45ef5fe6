"""The rate of calls to a service, shared by all processes and batches (R-23).

Calls leave evenly, a little further apart than the limit asks: at 10/s one every 102 ms. So eleven calls span 1.02 s, and
a call may arrive up to 20 ms late without an eleventh in any second at the service. Who wakes too late for its place gives
it up and takes another. Evenly spaced places are also independent of the service's latency.
"""

from __future__ import annotations

import asyncio

from resources.database import limits
from resources.database.database import Database

_SLACK = 1.02
_LATEST_SHARE = 0.15  # of the spacing: 15 ms at 10/s, inside the 20 ms of slack


class RateLimit:
    """Places in the queue of calls to one service. Used from one event loop."""

    def __init__(self, database: Database, service: str, rate_per_second: float | None) -> None:
        self._database = database
        self._service = service
        self._spacing_seconds = None if rate_per_second is None else _SLACK / rate_per_second
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Return when a call may leave, at once.

        Raises:
            DatabaseUnavailable: then nothing may leave: the limit fails closed.
        """
        if self._spacing_seconds is None:
            return
        async with self._turn:
            while not await self._arrive_in_time(self._spacing_seconds):
                pass

    async def freeze(self, seconds: float) -> None:
        """Stop everybody's calls for so long."""
        await asyncio.to_thread(self._freeze, seconds)

    async def _arrive_in_time(self, spacing_seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        place = loop.time() + await asyncio.to_thread(self._reserve, spacing_seconds)
        await asyncio.sleep(max(0.0, place - loop.time()))
        return loop.time() - place <= spacing_seconds * _LATEST_SHARE

    def _reserve(self, spacing_seconds: float) -> float:
        with self._database.begin() as tx:
            return limits.take_permit(tx, self._service, spacing_seconds)

    def _freeze(self, seconds: float) -> None:
        with self._database.begin() as tx:
            limits.freeze(tx, self._service, seconds)
