"""Payments and notifications of one batch as one stream: a mail leaves while other orders still pay (LIM-005)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assets.effects.gate import Gate
from assets.effects.lane import Lane, LaneLimits
from assets.effects.ledger import Ledger
from domain.profiles import ServiceProfile
from domain.progress import StageProgress
from domain.states import SETTLED_EFFECT, EffectKind, EffectState
from resources.database import books
from resources.database.database import BatchHold, Database
from resources.database.effects import OrderFacts
from resources.database.limits import BreakerState
from resources.services.breaker import Breaker
from resources.services.rate_limit import RateLimit
from resources.services.service import EffectService

_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LaneEnded:
    """A lane has nothing more to do now; ``out_of_order`` says why, when its service is.

    ``settled``: effects settled in this run, in ``seconds``. ``stopped``: the gate closed before its end.
    ``lowest_concurrency``: the fewest calls that were let in flight at once; its setting, when the service kept pace.
    """

    kind: EffectKind
    out_of_order: BreakerState | None
    settled: int
    seconds: float
    stopped: bool = False
    lowest_concurrency: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing of this kind is left to do."""
        return self.out_of_order is None and not self.stopped


StreamReport = StageProgress | LaneEnded


@dataclass(frozen=True, slots=True)
class LanePlan:
    """Everything one lane needs: its service, its limits, and how a body is made from an order."""

    service: EffectService
    limits: LaneLimits
    make_body: Callable[[OrderFacts], bytes]


class EffectStream:
    """Both lanes of one held batch. ``selected`` may leave one out; its effects then wait."""

    def __init__(
        self,
        database: Database,
        hold: BatchHold,
        gate: Gate,
        plans: Mapping[EffectKind, LanePlan],
        selected: frozenset[EffectKind],
        settled: Mapping[EffectKind, int],
        totals: Mapping[EffectKind, int],
        cooldown_seconds: float,
    ) -> None:
        self._database = database
        self._hold = hold
        self._gate = gate
        self._plans = plans
        self._selected = selected
        self._settled = dict(settled)
        self._totals = dict(totals)
        self._cooldown_seconds = cooldown_seconds
        self._lanes: dict[EffectKind, Lane] = {}
        self._rates: dict[EffectKind, RateLimit] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = time.monotonic()
        self._begun_with = dict(settled)

    async def run(self, emit: Callable[[StreamReport], None]) -> None:
        """Until both lanes have ended. Reports progress every second and the end of each lane."""
        self._loop = asyncio.get_running_loop()
        profiles: dict[EffectKind, ServiceProfile] = {kind: plan.service.profile for kind, plan in self._plans.items()}
        make_mail = self._plans[EffectKind.NOTIFICATION].make_body
        ledger = Ledger(self._hold, profiles, make_mail, self._mail_was_planned)
        self._lanes = {kind: self._lane(kind, ledger) for kind in EffectKind if kind in self._selected}
        for plan in self._plans.values():
            plan.service.open()
        await asyncio.to_thread(self._gate.look)  # before the first call
        self._stop_closed()
        try:
            async with asyncio.TaskGroup() as group:
                ticker = group.create_task(self._tick(emit))
                gatekeeper = group.create_task(self._watch_gate())
                async with asyncio.TaskGroup() as lanes:
                    for lane in self._lanes.values():
                        lanes.create_task(self._run_lane(lane, ledger, emit))
                ticker.cancel()
                gatekeeper.cancel()
        finally:
            for plan in self._plans.values():
                await plan.service.aclose()
            await ledger.aclose()
            for rate in self._rates.values():
                rate.close()

    def stop(self) -> None:
        """Begin no further call; ``run`` ends when those in flight have come back. Called on the loop."""
        for lane in self._lanes.values():
            lane.stop()

    def _lane(self, kind: EffectKind, ledger: Ledger) -> Lane:
        plan = self._plans[kind]
        rate = self._rates[kind] = RateLimit(self._database, kind.value, plan.service.profile.calls_per_second)
        breaker = Breaker(self._database, kind.value, self._cooldown_seconds)
        lane = Lane(
            plan.service, ledger, rate, breaker, plan.limits, plan.make_body, lambda state: self._count(kind, state)
        )
        if kind is EffectKind.PAYMENT or EffectKind.PAYMENT not in self._selected:
            lane.upstream_ended.set()
        return lane

    async def _run_lane(self, lane: Lane, ledger: Ledger, emit: Callable[[StreamReport], None]) -> None:
        await lane.run()
        await self._recount(lane.kind)
        stopped = lane.kind in self._gate.closed and await ledger.seconds_until_due(lane.kind) is not None
        if lane.kind is EffectKind.PAYMENT and EffectKind.NOTIFICATION in self._lanes:
            self._lanes[EffectKind.NOTIFICATION].upstream_ended.set()
            self._lanes[EffectKind.NOTIFICATION].wake()
        emit(self._progress(lane.kind))
        settled = self._settled[lane.kind] - self._begun_with[lane.kind]
        seconds = time.monotonic() - self._started
        emit(LaneEnded(lane.kind, lane.out_of_order, settled, seconds, stopped, lane.concurrency.lowest))

    async def _recount(self, kind: EffectKind) -> None:
        """The service's own word (a webhook) also settles effects that no call of ours was about."""
        now = await asyncio.to_thread(self._database.read, lambda tx: books.read(tx, self._hold.batch_id))
        book = now.payments if kind is EffectKind.PAYMENT else now.notifications
        self._settled[kind] = book.settled
        self._totals[EffectKind.NOTIFICATION] = now.mails_expected

    def _mail_was_planned(self) -> None:
        # Called on the ledger's thread.
        if self._loop is not None and EffectKind.NOTIFICATION in self._lanes:
            self._loop.call_soon_threadsafe(self._lanes[EffectKind.NOTIFICATION].wake)

    def _count(self, kind: EffectKind, state: EffectState) -> None:
        if state in SETTLED_EFFECT:
            self._settled[kind] += 1
            self._gate.settled(kind, state)
            self._stop_closed()
        if kind is EffectKind.PAYMENT and state in (EffectState.REJECTED, EffectState.REVIEW):
            self._totals[EffectKind.NOTIFICATION] -= 1  # no mail for an order that is not paid

    async def _watch_gate(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            opened = await asyncio.to_thread(self._gate.look)
            self._stop_closed()
            if opened and EffectKind.PAYMENT in self._lanes:
                self._lanes[EffectKind.PAYMENT].wake()

    def _stop_closed(self) -> None:
        for kind in self._gate.closed & self._lanes.keys():
            self._lanes[kind].stop()

    async def _tick(self, emit: Callable[[StreamReport], None]) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for kind in self._lanes:
                emit(self._progress(kind))

    def _progress(self, kind: EffectKind) -> StageProgress:
        return StageProgress(
            kind.value,
            self._settled[kind],
            self._totals[kind],
            time.monotonic() - self._started,
            self._begun_with[kind],
        )
