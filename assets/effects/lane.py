"""One kind of effect of one batch, from planned to settled: claim, send once, settle; look up what is in doubt.

A lane never raises for a row: a row's trouble is an outcome. It ends when nothing is open any more, or early when its
service is out of order (the breaker opened) or when it is told to stop; what is open then waits in the database.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from assets.effects.ledger import Entry, Ledger
from domain.identity import request_digest
from domain.outcomes import Doubt, Outcome, OutcomeClass, Patience, state_after_look_up, state_after_send
from domain.states import EffectState
from resources.database.effects import Attempt, ClaimedEffect, OrderFacts, Settlement, UnknownEffect
from resources.database.limits import BreakerState
from resources.services.breaker import Breaker
from resources.services.rate_limit import RateLimit
from resources.services.service import EffectService

_LONGEST_BACKOFF_SECONDS = 60.0
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
        self._service = service
        self._ledger = ledger
        self._rate = rate
        self._breaker = breaker
        self._limits = limits
        self._make_body = make_body
        self._on_settled = on_settled
        self._wake = asyncio.Event()
        self._stopping = False
        self._calls: set[int] = set()

    def wake(self) -> None:
        """There is something new to do."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further call."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Until nothing is open, the service is out of order (``out_of_order``), or ``stop``."""
        await self._ledger.recover(self.kind)
        async with asyncio.TaskGroup() as calls:
            while not self._stopping and await self._breaker.allows(self._probe):
                if not await self._begin_calls(calls) and await self._is_finished():
                    return
                await self._rest()

    @property
    def out_of_order(self) -> BreakerState | None:
        """Why the lane ended early; None when its service works."""
        return self._breaker.opened

    async def _probe(self) -> Outcome:
        await self._rate.wait()
        return await self._service.probe()

    async def _begin_calls(self, calls: asyncio.TaskGroup) -> int:
        """Fill the free places with look-ups first, then with sends; the number begun."""
        free = self._limits.concurrency - len(self._calls)
        if free < max(1, self._limits.concurrency // 8):
            return len(self._calls)
        in_doubt = [e for e in await self._ledger.due_unknown(self.kind, free) if e.order.order_id not in self._calls]
        for effect in in_doubt:
            self._begin(calls, effect.order.order_id, self._look_up(effect))
        claimed = (
            await self._ledger.claim(self.kind, min(free - len(in_doubt), self._limits.chunk))
            if free > len(in_doubt)
            else []
        )
        for claim in claimed:
            self._begin(calls, claim.order.order_id, self._send(claim))
        return len(in_doubt) + len(claimed)

    def _begin(self, calls: asyncio.TaskGroup, order_id: int, call: Coroutine[Any, Any, None]) -> None:
        self._calls.add(order_id)

        def ended(_: asyncio.Task[None]) -> None:
            self._calls.discard(order_id)
            self._wake.set()

        calls.create_task(call).add_done_callback(ended)

    async def _is_finished(self) -> bool:
        return (
            not self._calls and self.upstream_ended.is_set() and await self._ledger.seconds_until_due(self.kind) is None
        )

    async def _rest(self) -> None:
        """Until a call ended, something was planned, or a retry may be due."""
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _send(self, claim: ClaimedEffect) -> None:
        if not await self._may_leave():
            await self._ledger.release_unsent(self.kind, claim.order.order_id)
            return
        started = datetime.now(UTC)
        outcome = await self._send_once(claim)
        state = state_after_send(outcome)
        attempt = Attempt(claim.order.order_id, claim.attempt, "send", started, datetime.now(UTC), outcome)
        wait = self._wait_after_send(state, outcome, claim.attempt)
        await self._settle(claim.order, Settlement(attempt, EffectState.SENDING, state, wait))

    async def _send_once(self, claim: ClaimedEffect) -> Outcome:
        order, body = claim.order, self._make_body(claim.order)
        if request_digest(body) != claim.request_sha256:
            # Not what was planned: a template changed between two versions of us. Nothing is sent in its place.
            return Outcome(OutcomeClass.REFUSED, "SYS-REQUEST-CHANGED")
        return await self._outcome_of(self._service.send(order.order_id, order.amount_jpy, body, claim.idempotency_key))

    async def _look_up(self, effect: UnknownEffect) -> None:
        order = effect.order
        await self._rate.wait()
        started = datetime.now(UTC)
        outcome = await self._outcome_of(
            self._service.look_up(order.order_id, order.amount_jpy, effect.idempotency_key, effect.age_seconds)
        )
        state = state_after_look_up(outcome, effect.doubt, self._limits.patience)
        if state is EffectState.REVIEW and outcome.cls in (OutcomeClass.ABSENT, OutcomeClass.SEND_AGAIN):
            outcome = replace(outcome, reason=f"{self._service.word}-RETRIES-EXHAUSTED")
        attempt = Attempt(order.order_id, effect.doubt.attempt, "look_up", started, datetime.now(UTC), outcome)
        absent = outcome.cls is OutcomeClass.ABSENT and effect.doubt.settled
        wait = self._wait_after_look_up(state, outcome, effect.doubt)
        await self._settle(order, Settlement(attempt, EffectState.UNKNOWN, state, wait, absent))

    async def _may_leave(self) -> bool:
        """Wait for our place in the queue; False: the lane ends before it comes, and nothing was sent.

        Raises:
            DatabaseUnavailable: the batch is no longer ours; whoever has it now looks up what we claimed.
        """
        try:
            await self._rate.wait()
            await self._ledger.prove_hold()
        except asyncio.CancelledError:
            return False
        return not self._stopping and self._breaker.opened is None

    async def _outcome_of(self, call: Coroutine[Any, Any, Outcome]) -> Outcome:
        """The outcome of a call; one that is cut off by us is in doubt like any other that did not come back."""
        try:
            outcome = await call
        except asyncio.CancelledError:
            return Outcome(OutcomeClass.AMBIGUOUS, f"{self._service.word}-OUTCOME-UNKNOWN")
        with suppress(asyncio.CancelledError):  # what we know by now is written down all the same
            await self._breaker.observe(outcome)
            if outcome.throttled:
                await self._rate.freeze(outcome.retry_after_seconds or 0.0)
        return outcome

    async def _settle(self, order: OrderFacts, settlement: Settlement) -> None:
        if await self._ledger.settle(Entry(self.kind, settlement, order)):
            self._on_settled(settlement.to_state)

    def _wait_after_send(self, state: EffectState, outcome: Outcome, attempt: int) -> float:
        if state is not EffectState.RETRY_WAIT:
            return 0.0
        return max(outcome.retry_after_seconds or 0.0, _backoff(attempt))

    def _wait_after_look_up(self, state: EffectState, outcome: Outcome, doubt: Doubt) -> float:
        if state is EffectState.RETRY_WAIT:
            return _backoff(doubt.attempt)
        if state is not EffectState.UNKNOWN:
            return 0.0
        if outcome.cls is OutcomeClass.ABSENT:
            profile = self._service.profile
            return profile.second_look_seconds if doubt.settled else max(0.5, profile.settle_seconds / 3)
        return max(outcome.retry_after_seconds or 0.0, _backoff(doubt.looks + 1))


def _backoff(attempt: int) -> float:
    """Seconds: 1, 2, 4, ... up to a minute, spread so that many rows do not come back together."""
    return float(min(2.0 ** (attempt - 1), _LONGEST_BACKOFF_SECONDS) * random.uniform(0.5, 1.0))
