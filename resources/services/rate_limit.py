"""The rate of calls to a service, shared by all processes and batches (R-23).

Calls leave evenly, a little further apart than the limit asks: at 10/s one every 102 ms. So eleven calls span 1.02 s,
and a call may arrive up to 20 ms late without an eleventh in any second at the service. Who gets its place too slowly,
or wakes too late for it, gives it up and takes another. Evenly spaced places are also independent of the service's
latency. Above 40/s calls leave in blocks, twenty to the second, each block as far from the next as its calls need
together. A service without a known limit is only left alone when it has said that we call too often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from resources.database import limits
from resources.database.database import Database

Result = TypeVar("Result")

_SLACK = 1.02
_LATEST_SHARE = 0.15  # of the spacing: 15 ms at 10/s, inside the 20 ms of slack
_BLOCKS_PER_SECOND = 20  # a place costs a round trip to the database
_VIEW_SECONDS = 0.2


class RateLimit:
    """Places in the queue of calls to one service. Used from one event loop; closed by ``close``."""

    def __init__(self, database: Database, service: str, rate_per_second: float | None) -> None:
        self._database = database
        self._service = service
        self._block = 1 if rate_per_second is None else max(1, int(rate_per_second // _BLOCKS_PER_SECOND))
        self._spacing_seconds = None if rate_per_second is None else _SLACK * self._block / rate_per_second
        self._left, self._good_until = 0, 0.0
        self._turn = asyncio.Lock()
        self._seen_at = float("-inf")
        # A thread of its own: waiting behind other work would make every place late.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rate-limit")

    async def wait(self) -> None:
        """Return when a call may leave, at once.

        Raises:
            DatabaseUnavailable: then nothing may leave: the limit fails closed.
        """
        async with self._turn:
            if self._spacing_seconds is None:
                await self._wait_while_frozen()
                return
            if self._left and asyncio.get_running_loop().time() <= self._good_until:
                self._left -= 1
                return
            while not await self._arrive_in_time(self._spacing_seconds):
                pass
            self._left = self._block - 1

    async def freeze(self, seconds: float) -> None:
        """Stop everybody's calls for so long."""
        self._seen_at = float("-inf")
        await self._in_thread(self._freeze, seconds)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True)

    async def _arrive_in_time(self, spacing_seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        delay = await self._in_thread(self._reserve, spacing_seconds)
        answered = loop.time()
        place = answered + delay
        await asyncio.sleep(max(0.0, delay))
        # The place was counted from some moment between asking and being answered: both ends must be near it.
        latest = spacing_seconds * _LATEST_SHARE
        self._good_until = place + latest
        return answered - asked <= latest and loop.time() <= self._good_until

    async def _wait_while_frozen(self) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() - self._seen_at > _VIEW_SECONDS:
            frozen_seconds = await self._in_thread(self._frozen)
            if frozen_seconds <= 0:
                self._seen_at = loop.time()
            await asyncio.sleep(max(0.0, frozen_seconds))

    async def _in_thread(self, work: Callable[..., Result], *arguments: float) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _reserve(self, spacing_seconds: float) -> float:
        with self._database.begin() as tx:
            return limits.take_permit(tx, self._service, spacing_seconds)

    def _frozen(self) -> float:
        with self._database.begin() as tx:
            return limits.seconds_frozen(tx, self._service)

    def _freeze(self, seconds: float) -> None:
        with self._database.begin() as tx:
            limits.freeze(tx, self._service, seconds)
