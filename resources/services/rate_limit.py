"""The rate of calls to a service, shared by all processes and batches (R-20, R-23).

Calls leave evenly, a little further apart than the limit asks: at 10/s one every 102 ms. So eleven calls span 1.02 s,
and a call may arrive up to 20 ms late without an eleventh in any second at the service. Who is more than 10 ms late for
its place does not leave in it: the place is moved, and all after it; what is left of the 20 ms is for the network. A
connection is opened before a place comes, never in it. Evenly spaced places are also independent of the service's
latency. From 40/s on calls leave in blocks, twenty to the second, each block as far from the next as its calls need
together; all calls of a block are let go at once. A service without a known limit is only left alone when it has said
that we call too often.

While the database is away, nothing leaves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, TypeVar

from domain.errors import DatabaseUnavailable
from resources.database import limits
from resources.database.database import Database
from resources.database.limits import Permit
from resources.database.patience import patiently_awaited

Result = TypeVar("Result")
Prepare = Callable[[int], Awaitable[None]]

_SLACK = 1.02
_LATEST_SECONDS = 0.01  # inside the 20 ms that the slack leaves in each second
_BLOCKS_PER_SECOND = 20  # a place costs a round trip to the database
_VIEW_SECONDS = 0.2
_STALE_SECONDS = 1.0  # so old, what we know of a freeze is not acted upon
_READY_SECONDS = 0.5
_LOST_SECONDS = 0.5  # so late (a sleeping machine), and the place is gone
_DRIFT = 1e-4  # seconds per second by which two clocks may differ


async def _nothing(_calls: int) -> None:
    """Nothing needs to be made ready."""


class _Waiting(NamedTuple):
    """One call that waits; ``place`` says until when it may leave."""

    prepare: Prepare
    place: asyncio.Future[float]


class RateLimit:
    """Places in the queue of calls to one service. Used from one event loop; closed by ``close``."""

    def __init__(self, database: Database, service: str, rate_per_second: float | None) -> None:
        self._database = database
        self._service = service
        self._block = 1 if rate_per_second is None else max(1, int(rate_per_second // _BLOCKS_PER_SECOND))
        self._spacing_seconds = None if rate_per_second is None else _SLACK * self._block / rate_per_second
        self._waiting: deque[_Waiting] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._seen_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._frozen_until = float("-inf")
        self._clock = _DatabaseClock()
        self._answer_seconds = 0.0  # what an answer of the database usually takes
        # A thread of its own: waiting behind other work would make every place late.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rate-limit")

    async def wait(self, prepare: Prepare = _nothing) -> None:
        """Return when a call may leave, at once.

        ``prepare(calls)`` makes ready what so many calls with a rate limit need to leave without further delay (0: one
        without). It is awaited before a place comes, and may take its time.

        Raises:
            DatabaseUnavailable: nobody can be asked for longer than our patience, so nothing may leave: the limit fails
                closed.
        """
        if self._spacing_seconds is None:
            async with self._turn:
                await self._wait_while_frozen()
                await prepare(0)
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(prepare, loop.create_future())
        self._waiting.append(waiting)
        while not await self._is_let_go(waiting):  # the loop was busy elsewhere, and the place went by
            waiting = _Waiting(prepare, loop.create_future())
            self._waiting.appendleft(waiting)

    async def _is_let_go(self, waiting: _Waiting) -> bool:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        good_until = await waiting.place
        return self._frozen_until <= asyncio.get_running_loop().time() <= good_until

    async def _ask(self) -> None:
        """Places for those who wait, block by block, until nobody does."""
        try:
            while self._next_in_turn() is not None:
                good_until = await self._arrive_in_time()
                for _ in range(self._block):
                    if (waiting := self._next_in_turn()) is not None:
                        waiting.place.set_result(good_until)
        except BaseException as error:
            while (waiting := self._next_in_turn()) is not None:
                waiting.place.set_exception(error)
            if not isinstance(error, Exception):
                raise

    def _next_in_turn(self) -> _Waiting | None:
        """Who has waited longest; not those who gave up, or have their place."""
        while self._waiting and self._waiting[0].place.done():
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    async def freeze(self, seconds: float) -> None:
        """Stop everybody's calls for so long; ours also when nobody else can be told."""
        loop = asyncio.get_running_loop()
        self._seen_at = float("-inf")
        self._frozen_until = max(self._frozen_until, loop.time() + seconds)
        with suppress(DatabaseUnavailable):
            await loop.run_in_executor(self._thread, self._freeze, seconds)

    def close(self) -> None:
        """End the thread."""
        for task in (self._looking, self._asking):
            if task is not None:
                task.cancel()
        self._thread.shutdown(wait=True)

    async def _arrive_in_time(self) -> float:
        """Wait for the next place: until when it is good."""
        loop = asyncio.get_running_loop()
        assert self._spacing_seconds is not None
        await self._prepare()
        await asyncio.sleep(max(0.0, self._frozen_until - loop.time()))
        permit, place = await self._permit(self._reserve, self._spacing_seconds)
        if place - loop.time() > _READY_SECONDS:  # what was ready when the place was asked for is not any more
            await asyncio.sleep(place - loop.time() - _READY_SECONDS)
            await self._prepare()
        await asyncio.sleep(max(0.0, place - loop.time()))
        while _LATEST_SECONDS < loop.time() - place < _LOST_SECONDS:
            permit, place = await self._permit(self._delay, permit, self._answer_seconds)
            await asyncio.sleep(max(0.0, place - loop.time()))
        return place + _LATEST_SECONDS

    async def _prepare(self) -> None:
        if (first := self._next_in_turn()) is not None:
            await first.prepare(self._block)

    async def _permit(self, work: Callable[..., Permit], *arguments: Permit | float) -> tuple[Permit, float]:
        """A permit, and when its place is by the loop's clock."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        permit = await self._patiently(work, *arguments)
        self._answer_seconds += 0.2 * (loop.time() - asked - self._answer_seconds)
        self._clock.learn(asked, permit.now, loop.time())
        return permit, self._clock.here(permit.place)

    async def _wait_while_frozen(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._frozen_until - loop.time()))
        while loop.time() - self._seen_at > _STALE_SECONDS:
            await self._look()
            await asyncio.sleep(max(0.0, self._frozen_until - loop.time()))
        if loop.time() - self._seen_at > _VIEW_SECONDS and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look_beside())

    async def _look(self) -> None:
        """See whether anybody froze the service."""
        asked = asyncio.get_running_loop().time()
        frozen_seconds = await self._patiently(self._frozen)
        if frozen_seconds <= 0:
            self._seen_at = asked
        else:
            self._seen_at = float("-inf")
            self._frozen_until = max(self._frozen_until, asked + frozen_seconds)

    async def _look_beside(self) -> None:
        """Beside the calls, so that none of them waits for the answer."""
        with suppress(DatabaseUnavailable):  # what we know goes stale, and the next call waits
            await self._look()

    async def _patiently(self, work: Callable[..., Result], *arguments: Permit | float) -> Result:
        loop = asyncio.get_running_loop()
        return await patiently_awaited(
            lambda: loop.run_in_executor(self._thread, work, *arguments), self._database.patience_seconds
        )

    def _reserve(self, spacing_seconds: float) -> Permit:
        with self._database.begin() as tx:
            return limits.take_permit(tx, self._service, spacing_seconds)

    def _delay(self, permit: Permit, ahead_seconds: float) -> Permit:
        with self._database.begin() as tx:
            return limits.delay_permit(tx, self._service, permit, ahead_seconds)

    def _frozen(self) -> float:
        with self._database.begin() as tx:
            return limits.seconds_frozen(tx, self._service)

    def _freeze(self, seconds: float) -> None:
        with self._database.begin() as tx:
            limits.freeze(tx, self._service, seconds)


class _DatabaseClock:
    """The database's clock as the loop's sees it.

    Each answer says what it was at some moment between asking and being answered; all of them together narrow that to
    the quickest answers, however long the others took.
    """

    def __init__(self) -> None:
        self._ahead = float("-inf"), float("inf")
        self._learnt_at = 0.0

    def learn(self, asked: float, there: float, answered: float) -> None:
        """It was ``there`` between these two moments of the loop's clock."""
        drift = _DRIFT * (answered - self._learnt_at)
        least, most = there - answered, there - asked
        known = max(least, self._ahead[0] - drift), min(most, self._ahead[1] + drift)
        self._ahead = known if known[0] <= known[1] else (least, most)  # a clock was set
        self._learnt_at = answered

    def here(self, there: float) -> float:
        """The same moment by the loop's clock."""
        return there - sum(self._ahead) / 2
