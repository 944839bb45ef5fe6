"""One HTTP call from arrival to answer: rate limit, in-flight keys, faults, latency, decision, record.

The order of things in a call: it arrives (time taken, limit counted) - its body is read and it is written down - a
part of the latency passes - the effect happens and everything about it is committed - the rest of the latency passes -
the answer leaves, or is spoilt. A caller that gives up or dies in between changes none of this.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from sandbox.answers import Answer, error, respond, seen, send
from sandbox.arrivals import Clock, SlidingWindow
from sandbox.behaviour import Behaviour
from sandbox.effects import MAX_ID, Decision, Desk, Refusal, Wanted, body_sha256, order_id_of
from sandbox.events import EventSender
from sandbox.faults import SINGLE, Dice, Fault, kind_of


class Calls:
    """The endpoints that make one effect, and the look-ups. Batch calls stand in ``batches.py``."""

    def __init__(
        self, desk: Desk, clock: Clock, dice: Dice, window: SlidingWindow, events: EventSender | None = None
    ) -> None:
        self._events = events
        self.desk, self.ledger, self.clock, self.dice, self.window = desk, desk.ledger, clock, dice, window
        self._in_flight: set[str] = set()

    @property
    def behaviour(self) -> Behaviour:
        """As it is at this moment."""
        return self.desk.behaviour

    async def single(self, request: web.Request) -> web.StreamResponse:
        """POST of one payment or one mail."""
        arrived_us = self.clock.now_us()
        admitted = self.admits(arrived_us, 1)
        document = read_json(await request.read())
        key = request.headers.get("Idempotency-Key")
        with self.ledger.recorded():
            digest = body_sha256(document)
            request_id = self.ledger.begin("single", arrived_us, order_id_of(document), key, digest)
            if not admitted:
                return respond(self.too_many(request_id, arrived_us))
            try:
                wanted = self.desk.wanted(document, key, digest)
            except Refusal as refusal:
                return respond(self.closed(request_id, refusal.answer, "refused"))
            answer, fault, rest = await self._worked(wanted, request_id)
        await pause(rest)
        return await send(request, answer, fault, self.behaviour)

    async def _worked(self, wanted: Wanted, request_id: int) -> tuple[Answer, Fault | None, float]:
        """The true answer, the fault that will spoil it, and the seconds left until it leaves."""
        with self.flight([wanted]) as free:
            if not free:
                return self.closed(request_id, error(409, "in_flight"), "in_flight"), None, 0.0
            fault = self.dice.effect(self.behaviour.fault_plan, [wanted.order_id], SINGLE, "effect")
            rest = await self.until_effect(fault)
            return self.settle(wanted, request_id, fault), fault, rest

    async def lookup_order(self, request: web.Request) -> web.StreamResponse:
        """GET by order id."""
        text = request.match_info["order_id"]
        order_id = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
        if not self.behaviour.lookup_by_order:
            return respond(error(405, "method_not_allowed"))
        return await self._lookup(request, "lookup_order", order_id if order_id <= MAX_ID else 0, None)

    async def lookup_key(self, request: web.Request) -> web.StreamResponse:
        """GET by idempotency key."""
        if not self.behaviour.lookup_by_key:
            return respond(error(405, "method_not_allowed"))
        return await self._lookup(request, "lookup_key", 0, request.match_info["key"])

    async def _lookup(self, request: web.Request, route: str, order_id: int, key: str | None) -> web.StreamResponse:
        with self.ledger.recorded():
            request_id = self.ledger.begin(route, self.clock.now_us(), order_id or None, key)
            rest = await self.until_effect(None)
            rows = self.ledger.effects_of_order(order_id) if key is None else self.ledger.effects_of_key(key)
            document = self.desk.shown(rows)
            answer = Answer(200, document) if document is not None else error(404, "not_found")
            fault = self.dice.lookup(self.behaviour.seed, self.behaviour.lookup_faults, order_id or hash_of(key))
            visible = seen(answer, fault, self.behaviour)
            outcome = "found" if document is not None else "absent"
            self.ledger.finish(request_id, outcome, visible.status if visible else None, kind_of(fault))
        await pause(rest)
        return await send(request, answer, fault, self.behaviour)

    def settle(self, wanted: Wanted, request_id: int, fault: Fault | None) -> Answer:
        """Decide and write down one effect; returns the true answer. The caller commits."""
        decision = self._decided(wanted, request_id, fault)
        visible = seen(decision.answer, fault, self.behaviour)
        if self.behaviour.saved_answers == "all" and visible is not None and visible.status >= 500:
            self.desk.save(wanted, visible)
        status = visible.status if visible is not None else None
        self.ledger.finish(request_id, decision.outcome, status, kind_of(fault), decision.effects)
        if self._events is not None:
            self._events.tell(wanted.order_id, wanted.columns, decision)
        return decision.answer

    def _decided(self, wanted: Wanted, request_id: int, fault: Fault | None) -> Decision:
        declines = fault is not None and fault.kind == "decline"
        if fault is None or fault.effect or declines:
            return self.desk.decide(wanted, request_id, declines)
        return Decision(error(500, "internal_error"), "failed")

    def admits(self, arrived_us: int, items: int) -> bool:
        """Whether the rate limit lets a call of so many items in."""
        count = items if self.behaviour.rate_counts_items else 1
        return self.window.admit(arrived_us, self.behaviour.rate_limit(self.ledger.service), count)

    def too_many(self, request_id: int, arrived_us: int) -> Answer:
        """429 with how long to wait; nothing done."""
        wait = max(self.window.retry_after_seconds(arrived_us), self.behaviour.retry_after_seconds)
        return self.closed(request_id, error(429, "too_many_requests", wait), "too_many_requests")

    def closed(self, request_id: int, answer: Answer, outcome: str) -> Answer:
        """The end of a request that did nothing, written down."""
        self.ledger.finish(request_id, outcome, answer.status, None)
        return answer

    @contextmanager
    def flight(self, all_wanted: list[Wanted]) -> Iterator[bool]:
        """Hold the keys of a call while it is worked on; False when another call holds one of them."""
        keys = {wanted.key for wanted in all_wanted if wanted.key is not None}
        if not keys.isdisjoint(self._in_flight):
            yield False
            return
        self._in_flight |= keys
        try:
            yield True
        finally:
            self._in_flight -= keys

    async def until_effect(self, fault: Fault | None) -> float:
        """Wait until the moment of the effect; returns the seconds left until the answer."""
        behaviour = self.behaviour
        latency = behaviour.latency_seconds
        if behaviour.jitter_seconds:
            latency += random.uniform(0, behaviour.jitter_seconds)
        late = behaviour.hang_seconds if fault is not None and fault.kind == "late_effect" else 0.0
        wait = late + latency * behaviour.effect_at
        if wait > 0:
            self.ledger.commit()
            await asyncio.sleep(wait)
        return latency * (1 - behaviour.effect_at)


async def pause(seconds: float) -> None:
    """Wait; without seconds, not even one turn of the loop."""
    if seconds > 0:
        await asyncio.sleep(seconds)


def read_json(raw: bytes) -> object:
    """The body as JSON, or None when it is none. NaN, Infinity, half characters and hopeless nesting are none."""
    try:
        document: object = json.loads(raw, parse_constant=_not_json)
        if b"\\u" in raw:
            json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        return None
    return document


def _not_json(name: str) -> object:
    raise ValueError(name)


def hash_of(key: str | None) -> int:
    """A number for the dice out of a key."""
    return int.from_bytes((key or "").encode()[-7:], "big") if key else 0
