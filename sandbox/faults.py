"""The faults a service can be told to show, and the dice that say when. Nothing here touches HTTP or the ledger file.

The dice depend on the seed, the order and the how-manieth request of that order it is, never on the order in which
requests happen to arrive: the same seed gives the same faults at any concurrency.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Reach(Enum):
    """What a fault strikes when many items travel in one call."""

    ITEM = "item"
    """the result of one item (and a single call)"""
    CALL = "call"
    """the whole call"""
    BATCH_ITEM = "batch item"
    """the result of one item, batch calls only"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: does the effect happen all the same, and what does it strike."""

    kind: str
    effect: bool
    reach: Reach
    meaning: str


_ALL = (
    Fault("decline", False, Reach.ITEM, "402 card_declined, 422 recipient_refused; nothing done, and that is certain"),
    Fault("error_500_before", False, Reach.ITEM, "500, nothing done"),
    Fault("error_500_after", True, Reach.ITEM, "500, done all the same"),
    Fault("error_503", False, Reach.ITEM, "503 with Retry-After, nothing done"),
    Fault("error_503_after", True, Reach.ITEM, "503 with Retry-After, done all the same"),
    Fault("error_429", False, Reach.ITEM, "429 with Retry-After, nothing done"),
    Fault("timeout_before", False, Reach.CALL, "no answer for hang_seconds, nothing done"),
    Fault("timeout_after", True, Reach.CALL, "done, no answer for hang_seconds"),
    Fault("late_effect", True, Reach.CALL, "no answer for hang_seconds, and done only then"),
    Fault("reset_before", False, Reach.CALL, "connection reset without an answer, nothing done"),
    Fault("reset_after", True, Reach.CALL, "done, connection reset without an answer"),
    Fault("garbled", True, Reach.CALL, "done, the answer is no JSON"),
    Fault("truncated", True, Reach.CALL, "done, the answer ends in the middle"),
    Fault("html", True, Reach.CALL, "done, the answer is a 200 with a HTML page"),
    Fault("redirect", False, Reach.CALL, "302 to elsewhere, nothing done"),
    Fault("wrong_amount", True, Reach.ITEM, "done rightly, the answer names another amount"),
    Fault("wrong_order", True, Reach.ITEM, "done rightly, the answer names another order"),
    Fault("slow", True, Reach.CALL, "done, the answer dribbles in over hang_seconds"),
    Fault("missing_item", True, Reach.BATCH_ITEM, "done, its result is left out of the batch answer"),
    Fault("repeated_item", True, Reach.BATCH_ITEM, "done, its result stands in the batch answer twice"),
    Fault("extra_item", True, Reach.BATCH_ITEM, "done, a result of an order nobody sent stands beside it"),
)
EFFECT_FAULTS: Mapping[str, Fault] = {fault.kind: fault for fault in _ALL}

SINGLE = frozenset({Reach.ITEM, Reach.CALL})
"""what strikes a call of one effect"""
CALL = frozenset({Reach.CALL})
"""what strikes a batch call as a whole"""
ITEM = frozenset({Reach.ITEM, Reach.BATCH_ITEM})
"""what strikes an item of a batch call"""

_LOOKUP = (
    Fault("error_500", False, Reach.CALL, "500"),
    Fault("error_503", False, Reach.CALL, "503 with Retry-After"),
    Fault("error_429", False, Reach.CALL, "429 with Retry-After"),
    Fault("timeout", True, Reach.CALL, "no answer for hang_seconds"),
    Fault("reset", False, Reach.CALL, "connection reset without an answer"),
    Fault("garbled", True, Reach.CALL, "the answer is no JSON"),
    Fault("truncated", True, Reach.CALL, "the answer ends in the middle"),
    Fault("html", True, Reach.CALL, "a 200 with a HTML page"),
    Fault("redirect", False, Reach.CALL, "302 to elsewhere"),
    Fault("wrong_amount", True, Reach.CALL, "the answer names another amount"),
    Fault("wrong_order", True, Reach.CALL, "the answer names another order"),
    Fault("slow", True, Reach.CALL, "the answer dribbles in over hang_seconds"),
    Fault("absent", False, Reach.CALL, "404 although it is there: a replica that lags"),
)
LOOKUP_FAULTS: Mapping[str, Fault] = {fault.kind: fault for fault in _LOOKUP}


class Dice:
    """Decides for each request which fault it meets, and remembers which orders had theirs."""

    def __init__(self, service: str, attempts: Mapping[int, int], struck: Iterable[tuple[int, str]]) -> None:
        """``attempts``: requests so far by order; ``struck``: order and kind of faults that fired."""
        self._service = service
        self._drawn: Counter[tuple[str, int]] = Counter({("effect", order): n for order, n in attempts.items()})
        self._struck = set(struck)
        after = {kind for kind, fault in EFFECT_FAULTS.items() if fault.effect}
        self._effect_struck = {order for order, kind in self._struck if kind in after}

    def lookup(self, seed: int, rates: Mapping[str, float], order_id: int) -> Fault | None:
        """The fault of one look-up, or None."""
        return self._pick(seed, "lookup", order_id, LOOKUP_FAULTS, rates)

    def effect(self, plan: FaultPlan, order_ids: list[int], reaches: frozenset[Reach], die: str) -> Fault | None:
        """The fault of one call or item that carries these orders, or None; notes it as fired."""
        if not plan.rates and not plan.orders:
            return None
        kinds = {kind: fault for kind, fault in EFFECT_FAULTS.items() if fault.reach in reaches}
        fault = self._named(plan, order_ids, kinds) or self._pick(plan.seed, die, order_ids[0], kinds, plan.rates)
        if fault is None or (fault.effect and not plan.repeat and not self._effect_struck.isdisjoint(order_ids)):
            return None
        self._struck.update((order, fault.kind) for order in order_ids)
        if fault.effect:
            self._effect_struck.update(order_ids)
        return fault

    def _named(self, plan: FaultPlan, order_ids: list[int], kinds: Mapping[str, Fault]) -> Fault | None:
        for kind, orders in plan.orders.items():
            for order in order_ids:
                # A card that is declined stays declined; any other fault by name strikes an order once, so that a
                # retry ends.
                fresh = plan.repeat or kind == "decline" or (order, kind) not in self._struck
                if kind in kinds and order in orders and fresh:
                    return kinds[kind]
        return None

    def _pick(
        self, seed: int, die: str, order_id: int, kinds: Mapping[str, Fault], rates: Mapping[str, float]
    ) -> Fault | None:
        self._drawn[die, order_id] += 1
        if not rates:
            return None
        chance = uniform(seed, self._service, die, order_id, self._drawn[die, order_id])
        for kind, rate in rates.items():
            if kind in kinds:
                chance -= rate
                if chance < 0:
                    return kinds[kind]
        return None


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What ``Dice.effect`` needs of the behaviour: rates by kind, orders by kind, seed, and whether to strike again."""

    rates: Mapping[str, float]
    orders: Mapping[str, frozenset[int]]
    repeat: bool
    seed: int


def kind_of(fault: Fault | None) -> str | None:
    """The word for the ledger."""
    return fault.kind if fault is not None else None


def uniform(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but ``parts``."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=7).digest()
    return int.from_bytes(digest) / float(1 << 56)
