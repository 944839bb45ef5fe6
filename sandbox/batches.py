"""Batch calls: many items with keys of their own in one POST, one result for each, in any order.

``{"items": [{"idempotency_key", "order_id", ...}]}`` -> 200 ``{"results": [{"idempotency_key", "order_id", "status",
"http_status", ...}]}``. A refused item does not touch the others. All effects of a call are committed together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from aiohttp import web

from sandbox.answers import Answer, error, respond, seen, send
from sandbox.calls import Calls, pause, read_json
from sandbox.effects import Refusal, Wanted, body_sha256, order_id_of
from sandbox.faults import CALL, EFFECT_FAULTS, ITEM, Fault, kind_of, uniform

_STATUS_WORDS = {402: "declined", 409: "conflict", 422: "rejected", 429: "too_many_requests"}
_NOBODYS_ORDER = 999_999_999


@dataclass(frozen=True, slots=True)
class Item:
    """One item as it came: its document, its key, and what is wanted or why it is refused."""

    document: object
    key: str | None
    wanted: Wanted | None
    refused: Answer | None


class BatchCalls:
    """The batch endpoint of one service, beside its ``Calls``."""

    def __init__(self, calls: Calls) -> None:
        self.calls, self.desk, self.ledger = calls, calls.desk, calls.ledger

    async def post(self, request: web.Request) -> web.StreamResponse:
        """POST of many items."""
        arrived_us = self.calls.clock.now_us()
        document = read_json(await request.read())
        items = document.get("items") if isinstance(document, dict) else None
        admitted = self.calls.admits(arrived_us, max(1, len(items)) if isinstance(items, list) else 1)
        with self.ledger.recorded():
            request_id = self.ledger.begin("batch", arrived_us)
            if not admitted:
                return respond(self.calls.too_many(request_id, arrived_us))
            refusal = self._refusal(items)
            if refusal is not None or not isinstance(items, list):
                return respond(self.calls.closed(request_id, refusal or error(400, "malformed"), "refused"))
            read = [self._read(item) for item in items]
            answer, fault, rest = await self._worked(request_id, arrived_us, read)
        await pause(rest)
        return await send(request, answer, fault, self.calls.behaviour)

    def _refusal(self, items: object) -> Answer | None:
        """Why the call as a whole is refused."""
        if not self.calls.behaviour.batch:
            return error(404, "no_such_path")
        if not isinstance(items, list) or not items:
            return error(400, "malformed")
        if len(items) > self.calls.behaviour.batch_max_items:
            return error(413, "too_many_items")
        return None

    def _read(self, document: object) -> Item:
        key = document.get("idempotency_key") if isinstance(document, dict) else None
        try:
            if not isinstance(key, str):
                raise Refusal(400, "malformed_key")
            return Item(document, key, self.desk.wanted(document, key, body_sha256(document)), None)
        except Refusal as refusal:
            return Item(document, key if isinstance(key, str) else None, None, refusal.answer)

    async def _worked(self, request_id: int, arrived_us: int, items: list[Item]) -> tuple[Answer, Fault | None, float]:
        all_wanted = [item.wanted for item in items if item.wanted is not None]
        orders = [wanted.order_id for wanted in all_wanted]
        plan = self.calls.behaviour.fault_plan
        with self.calls.flight(all_wanted) as free:
            if not free:
                return self.calls.closed(request_id, error(409, "in_flight"), "in_flight"), None, 0.0
            fault = self.calls.dice.effect(plan, orders, CALL, "batch") if orders else None
            rest = await self.calls.until_effect(fault)
            return self._settled(request_id, arrived_us, items, fault), fault, rest

    def _settled(self, request_id: int, arrived_us: int, items: list[Item], fault: Fault | None) -> Answer:
        """Decide all items together; a call that fails before its effect touches none of them."""
        behaviour = self.calls.behaviour
        results: list[dict[str, object]] = []
        works = fault is None or fault.effect
        for item in items if works else []:
            results.extend(self._results(item, request_id, arrived_us))
        if behaviour.shuffle_results:
            random.Random(uniform(behaviour.seed, request_id)).shuffle(results)
        answer = Answer(200, {"results": results})
        visible = seen(answer, fault, behaviour)
        status = visible.status if visible else None
        self.ledger.finish(request_id, "done" if works else "failed", status, kind_of(fault))
        return answer

    def _results(self, item: Item, request_id: int, arrived_us: int) -> list[dict[str, object]]:
        document, wanted = item.document, item.wanted
        order_id = order_id_of(document)
        item_id = self.ledger.begin("item", arrived_us, order_id, item.key, body_sha256(document), request_id)
        if wanted is None:
            answer = item.refused or error(400, "malformed")
            self.ledger.finish(item_id, "refused", answer.status, None)
            return [_result(item, order_id, answer)]
        behaviour = self.calls.behaviour
        fault = self.calls.dice.effect(behaviour.fault_plan, [wanted.order_id], ITEM, "effect")
        answer = self.calls.settle(wanted, item_id, fault)
        result = _result(item, order_id, seen(answer, fault, behaviour) or answer)
        return _spoilt(result, fault)


def _result(item: Item, order_id: int | None, answer: Answer) -> dict[str, object]:
    status = answer.document.get("status") or _STATUS_WORDS.get(answer.status, "failed")
    known = {"idempotency_key": item.key, "order_id": order_id}
    return {**known, **answer.document, "status": status, "http_status": answer.status}


def _spoilt(result: dict[str, object], fault: Fault | None) -> list[dict[str, object]]:
    if fault is EFFECT_FAULTS["missing_item"]:
        return []
    if fault is EFFECT_FAULTS["repeated_item"]:
        return [result, dict(result)]
    if fault is EFFECT_FAULTS["extra_item"]:
        return [result, {**result, "idempotency_key": "nobody", "order_id": _NOBODYS_ORDER}]
    return [result]
