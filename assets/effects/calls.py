"""The calls of one lane: each leaves once, in its turn, and what it leads to is settled.

No call raises for a row: a row's trouble is an outcome. A call that is cut off by us is in doubt like any other that
did not come back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from assets.effects.claims import ReadyCall
from assets.effects.concurrency import Concurrency
from assets.effects.ledger import Entry, Ledger
from domain.errors import BulkOrdersError
from domain.identity import renewed_key, request_digest
from domain.outcomes import Doubt, Outcome, OutcomeClass, Patience, state_after_look_up, state_after_send
from domain.restoring import absence_after_restoring
from domain.states import EffectState
from resources.database.effects import Attempt, ClaimedEffect, OrderFacts, Settlement, UnknownEffect
from resources.services.batch_calls import BatchAnswer, BatchItem
from resources.services.breaker import Breaker
from resources.services.rate_limit import RateLimit
from resources.services.service import EffectService

Returned = Callable[[], None]

_LONGEST_BACKOFF_SECONDS = 60.0
_KEY_IS_SPENT_AFTER = 3  # calls that came to nothing: the service may have kept a failure as the answer to this key
_log = logging.getLogger("bulk_orders.services")


class EffectCalls:
    """Makes calls to one service and settles their effects. Used from one event loop."""

    def __init__(
        self,
        service: EffectService,
        ledger: Ledger,
        rate: RateLimit,
        breaker: Breaker,
        concurrency: Concurrency,
        patience: Patience,
        make_body: Callable[[OrderFacts], bytes],
        on_settled: Callable[[EffectState, float], None],
    ) -> None:
        """``on_settled`` is told the state an effect is in now, and the seconds until it may be touched again."""
        self.kind = service.kind
        self.stopping = False
        self._service = service
        self._ledger = ledger
        self._rate = rate
        self._breaker = breaker
        self._concurrency = concurrency
        self._patience = patience
        self._make_body = make_body
        self._on_settled = on_settled

    async def probe(self) -> Outcome:
        """Whether the service works at all."""
        await self._rate.wait()
        return await self._service.probe()

    async def send(self, ready: ReadyCall, returned: Returned) -> None:
        """One call for all these claims, which go by the batch endpoint where there is one.

        ``returned`` is called as soon as nothing of it is in flight any more.
        """
        claims = ready.claims
        bodies = {claim.order.order_id: self._make_body(claim.order) for claim in claims}
        if not await self._may_leave():
            await self._ledger.release_unsent(self.kind, [claim.order.order_id for claim in claims])
            return
        started, waited = datetime.now(UTC), _now() - ready.claimed_at
        outcomes = {c.order.order_id: o for c in claims if (o := self._kept_back(c, bodies[c.order.order_id], waited))}
        leaving = [claim for claim in claims if claim.order.order_id not in outcomes]
        if leaving:
            outcomes |= (await self._answer(leaving, bodies)).items
        told = [(claim, outcomes[claim.order.order_id]) for claim in claims if claim.order.order_id in outcomes]
        alone = [claim for claim in claims if claim.order.order_id not in outcomes]
        spread = _spread()  # one for all: what was throttled together comes back together
        if not alone:
            returned()
        await self._settle([self._sent(claim, outcome, started, spread) for claim, outcome in told])
        await self._send_alone(alone)

    async def look_up(self, effect: UnknownEffect, returned: Returned) -> None:
        """Find out what became of an effect in doubt."""
        order, doubt, profile = effect.order, effect.doubt, self._service.profile
        await self._rate.wait(self._service.warm)
        started = datetime.now(UTC)
        looking = self._service.look_up(order.order_id, order.amount_jpy, effect.idempotency_key, effect.age_seconds)
        outcome = (await self._observed(_alone(order.order_id, looking), [order.order_id], is_send=False)).call
        returned()
        if doubt.restored:
            outcome = absence_after_restoring(outcome, profile.look_up, f"{self._service.word}-OUTCOME-UNKNOWN")
        state = state_after_look_up(outcome, doubt, self._patience)
        attempt = Attempt(
            order.order_id, doubt.attempt, "look_up", started, datetime.now(UTC), self._reason(state, outcome, doubt)
        )
        proven_absent = outcome.cls is OutcomeClass.ABSENT and doubt.settled
        spent = state is EffectState.RETRY_WAIT and proven_absent and doubt.attempt >= _KEY_IS_SPENT_AFTER
        key = renewed_key(effect.idempotency_key, doubt.attempt) if spent and profile.sends_keys else None
        wait = self._wait_after_look_up(state, outcome, doubt)
        settlement = Settlement(attempt, EffectState.UNKNOWN, state, wait, proven_absent, key)
        await self._settle([Entry(self.kind, settlement, order)])

    async def _may_leave(self) -> bool:
        """Wait for our place in the queue; False: the lane ends before it comes, and nothing was sent.

        Raises:
            DatabaseUnavailable: the batch is no longer ours; whoever has it now looks up what we claimed.
        """
        try:
            await self._rate.wait(self._make_ready)
            while not self._ledger.hold_is_proven:  # by now our place is long past
                await self._rate.wait(self._make_ready)
        except asyncio.CancelledError:
            self.stopping = True
        return not self.stopping and self._breaker.opened is None

    async def _make_ready(self, calls: int) -> None:
        await self._ledger.prove_hold()
        if calls:
            await self._service.warm(calls)

    def _kept_back(self, claim: ClaimedEffect, body: bytes, waited_seconds: float) -> Outcome | None:
        """Why a claim does not leave after all."""
        changed = not body or request_digest(body) != claim.request_sha256
        if claim.was_in_doubt and (changed or not self._service.may_repeat(claim.age_seconds + waited_seconds)):
            # Its key was all that kept it from happening twice, and is forgotten by now (the batch was paused too long)
            # or would come with another body.
            return Outcome(OutcomeClass.AMBIGUOUS, f"{self._service.word}-OUTCOME-UNKNOWN")
        if not body:  # a mail: paid, as we learnt too late, and nobody is there to be told
            return Outcome(OutcomeClass.REFUSED, "MAIL-ROW-ERASED")
        if changed:
            # Not what was planned: a template changed between two versions of us. Nothing is sent in its place.
            return Outcome(OutcomeClass.REFUSED, "SYS-REQUEST-CHANGED")
        return None

    async def _answer(self, claims: Sequence[ClaimedEffect], bodies: dict[int, bytes]) -> BatchAnswer:
        orders = [(claim.order, claim.idempotency_key) for claim in claims]
        items = [BatchItem(order.order_id, order.amount_jpy, bodies[order.order_id], key) for order, key in orders]
        ids = [item.order_id for item in items]
        if self._service.profile.batch_size == 0:
            [item] = items
            sending = self._service.send(item.order_id, item.amount_jpy, item.body, item.key)
            return await self._observed(_alone(item.order_id, sending), ids, is_send=True)
        answer = await self._observed(self._service.send_batch(items), ids, is_send=True)
        if answer.foreign:
            _log.warning("%s-ANSWER-MISMATCH: %d results that nobody asked for", self._service.word, answer.foreign)
            with suppress(BulkOrdersError):  # the results that were asked for are settled all the same
                await self._ledger.note_foreign_results(self.kind, answer.foreign)
        return answer

    async def _send_alone(self, claims: Sequence[ClaimedEffect]) -> None:
        """The batch call was refused before any of its items was looked at: each goes in a call of its own."""
        for claim in claims:
            if not await self._may_leave():
                await self._ledger.release_unsent(self.kind, [claim.order.order_id])
                continue
            order, started = claim.order, datetime.now(UTC)
            body = self._make_body(order)
            sending = self._service.send(order.order_id, order.amount_jpy, body, claim.idempotency_key)
            answer = await self._observed(_alone(order.order_id, sending), [order.order_id], is_send=True)
            await self._settle([self._sent(claim, answer.call, started, _spread())])

    async def _observed(
        self, call: Coroutine[Any, Any, BatchAnswer], order_ids: Sequence[int], *, is_send: bool
    ) -> BatchAnswer:
        """What a call came to; breaker, rate limit and concurrency learn from it."""
        begun = _now()
        try:
            answer = await call
        except asyncio.CancelledError:
            self.stopping = True
            doubt = Outcome(OutcomeClass.AMBIGUOUS, f"{self._service.word}-OUTCOME-UNKNOWN")
            return BatchAnswer(doubt, dict.fromkeys(order_ids, doubt))
        self._learn(answer.call, begun, is_send)
        with suppress(asyncio.CancelledError):  # what we know by now is written down all the same
            await self._breaker.observe(answer.call)
            if answer.call.throttled:
                await self._rate.freeze(answer.call.retry_after_seconds or 0.0)
        return answer

    def _learn(self, outcome: Outcome, begun: float, is_send: bool) -> None:
        if outcome.throttled:
            self._concurrency.throttled(begun, _now())
        elif not is_send:
            return  # a look-up takes its own time
        elif outcome.systemic or outcome.http_status is None:
            self._concurrency.failed(begun, _now())
        else:
            self._concurrency.answered(begun, _now())

    def _sent(self, claim: ClaimedEffect, outcome: Outcome, started: datetime, spread: float) -> Entry:
        state = state_after_send(outcome)
        attempt = Attempt(claim.order.order_id, claim.attempt, "send", started, datetime.now(UTC), outcome)
        wait = outcome.retry_after_seconds or 0.0
        if state is EffectState.RETRY_WAIT:
            wait = max(wait, spread * _backoff(claim.attempt))
        return Entry(self.kind, Settlement(attempt, EffectState.SENDING, state, wait), claim.order)

    async def _settle(self, entries: Sequence[Entry]) -> None:
        states = await self._ledger.settle(entries)
        for entry, state in zip(entries, states, strict=True):
            if state is not None:
                self._on_settled(state, entry.settlement.wait_seconds)

    def _reason(self, state: EffectState, outcome: Outcome, doubt: Doubt) -> Outcome:
        """The outcome with the reason that a person reads beside the effect."""
        if doubt.contradiction is not None and state in (EffectState.UNKNOWN, EffectState.REVIEW):
            return replace(outcome, reason=doubt.contradiction)
        if state is EffectState.REVIEW and outcome.cls is OutcomeClass.ABSENT:
            return replace(outcome, reason=f"{self._service.word}-RETRIES-EXHAUSTED")
        return outcome

    def _wait_after_look_up(self, state: EffectState, outcome: Outcome, doubt: Doubt) -> float:
        if state is EffectState.RETRY_WAIT:
            return _spread() * _backoff(doubt.attempt)
        if state is not EffectState.UNKNOWN:
            return 0.0
        if outcome.cls is OutcomeClass.ABSENT:
            profile = self._service.profile
            return profile.second_look_seconds if doubt.settled else max(0.5, profile.settle_seconds / 3)
        return max(outcome.retry_after_seconds or 0.0, _spread() * _backoff(doubt.looks + 1))


async def _alone(order_id: int, call: Coroutine[Any, Any, Outcome]) -> BatchAnswer:
    outcome = await call
    return BatchAnswer(outcome, {order_id: outcome})


def _now() -> float:
    return asyncio.get_running_loop().time()


def _backoff(attempt: int) -> float:
    """Seconds: 1, 2, 4, ... up to a minute."""
    return float(min(2.0 ** (attempt - 1), _LONGEST_BACKOFF_SECONDS))


def _spread() -> float:
    """The share of a backoff that is really waited, so that many rows do not come back at the same moment."""
    return random.uniform(0.5, 1.0)
