"""One kind of effect of one batch, from planned to settled: claim, send once, settle; look up what is in doubt.

A lane never raises for a row: a row's trouble is an outcome. It ends when nothing is open any more, or early when its
service is out of order (the breaker opened) or when it is told to stop; what is open then waits in the database.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from assets.effects.calls import EffectCalls, Returned
from assets.effects.claims import LOOK_SECONDS, Claims
from assets.effects.concurrency import Concurrency
from assets.effects.ledger import Ledger
from domain.outcomes import Patience
from domain.states import EffectState
from resources.database.effects import OrderFacts, UnknownEffect
from resources.database.limits import BreakerState
from resources.services.breaker import Breaker
from resources.services.rate_limit import RateLimit
from resources.services.service import EffectService

_IDLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How much a lane does at once: ``concurrency`` calls in flight, ``chunk`` intents per commit; and its patience."""

    concurrency: int
    chunk: int
    patience: Patience = field(default_factory=Patience)


class Lane:
    """Works through the effects of one kind. Used from one event loop, run once."""

    def __init__(
        self,
        service: EffectService,
        ledger: Ledger,
        rate: RateLimit,
        breaker: Breaker,
        limits: LaneLimits,
        make_body: Callable[[OrderFacts], bytes],
        on_settled: Callable[[EffectState], None],
    ) -> None:
        self.kind = service.kind
        self.upstream_ended = asyncio.Event()  # from then on nothing new is planned
        self.concurrency = Concurrency(limits.concurrency)
        self._ledger = ledger
        self._breaker = breaker
        self._on_settled = on_settled
        self._calls = EffectCalls(
            service, ledger, rate, breaker, self.concurrency, limits.patience, make_body, self._was_settled
        )
        self._wake = asyncio.Event()
        self._claims = Claims(
            self.kind, ledger, service.profile, self.concurrency, limits.chunk, self._free_places, self._wake.set
        )
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: deque[UnknownEffect] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._looking_up: set[int] = set()  # those that are due, too
        self._look_at = float("-inf")  # when the database is next asked for something in doubt

    def wake(self) -> None:
        """There is something new to do."""
        self._claims.due_in(0)
        self._wake.set()

    def stop(self) -> None:
        """Begin no further call."""
        self._calls.stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until nothing is open, the service is out of order (``out_of_order``), or ``stop``."""
        await self._ledger.recover(self.kind)
        try:
            async with asyncio.TaskGroup() as calls:
                while not self._calls.stopping and await self._breaker.allows(self._calls.probe):
                    if not self._begin_calls(calls) and await self._is_finished():
                        return
                    await self._rest()
        finally:
            await self._claims.give_back()

    @property
    def out_of_order(self) -> BreakerState | None:
        """Why the lane ended early; None when its service works."""
        return self._breaker.opened

    def _begin_calls(self, calls: asyncio.TaskGroup) -> bool:
        """Fill the free places with look-ups first, then with sends; whether any was begun."""
        return self._begin_look_ups(calls) + self._begin_sends(calls) > 0

    def _begin_look_ups(self, calls: asyncio.TaskGroup) -> int:
        begun = 0
        while self._due and self._free_places():
            self._begin(calls, partial(self._look_up, self._due.popleft()))
            begun += 1
        if self._asking is None and self._free_places() and _now() >= self._look_at:
            self._asking = calls.create_task(self._ask_what_is_due())
        return begun

    async def _ask_what_is_due(self) -> None:
        """Beside the calls: no free place waits for the database because of it."""
        try:
            wanted = self._free_places() + len(self._looking_up)
            self._look_at = _now() + LOOK_SECONDS  # set before: whoever makes something due meanwhile sets it back
            found = await self._ledger.due_unknown(self.kind, wanted)
            if len(found) == wanted:
                self._look_at = float("-inf")
            new = [effect for effect in found if effect.order.order_id not in self._looking_up]
            self._looking_up.update(effect.order.order_id for effect in new)
            self._due.extend(new)
        finally:
            self._asking = None
            self._wake.set()

    async def _look_up(self, effect: UnknownEffect, returned: Returned) -> None:
        try:
            await self._calls.look_up(effect, returned)
        finally:
            self._looking_up.discard(effect.order.order_id)

    def _begin_sends(self, calls: asyncio.TaskGroup) -> int:
        begun = 0
        while self._may_send() and self._free_places() and (ready := self._claims.take()):
            self._begin(calls, partial(self._calls.send, ready))
            begun += 1
        if self._may_send():
            self._claims.refill(calls)
        return begun

    def _may_send(self) -> bool:
        """A claim that may not leave any more is given back: it must not be made again and again."""
        return not self._calls.stopping and self.out_of_order is None

    def _free_places(self) -> int:
        return max(0, self.concurrency.limit - self._in_flight)

    def _begin(self, calls: asyncio.TaskGroup, call: Callable[[Returned], Coroutine[Any, Any, None]]) -> None:
        """Start a call. Its place is free once the answer has come; its task ends when the answer is written down."""
        returned = _Once(self._place_is_free)
        self._in_flight += 1
        task = calls.create_task(call(returned))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: returned())

    def _place_is_free(self) -> None:
        self._in_flight -= 1
        self._wake.set()

    async def _is_finished(self) -> bool:
        return (
            not self._tasks
            and not self._due
            and self._asking is None
            and self._claims.is_empty
            and self.upstream_ended.is_set()
            and await self._ledger.seconds_until_due(self.kind) is None
        )

    async def _rest(self) -> None:
        """Until a call ended, something was claimed or planned, or a retry may be due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._wake.wait()
        self._wake.clear()

    def _was_settled(self, state: EffectState, wait_seconds: float) -> None:
        if state is EffectState.UNKNOWN:
            self._look_at = min(self._look_at, _now() + wait_seconds)
        if state is EffectState.RETRY_WAIT:
            self._claims.due_in(wait_seconds)
        self._on_settled(state)


class _Once:
    """Does something at the first call only."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._what: Callable[[], None] | None = what

    def __call__(self) -> None:
        what, self._what = self._what, None
        if what is not None:
            what()


def _now() -> float:
    return asyncio.get_running_loop().time()
