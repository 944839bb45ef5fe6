"""How a sandbox service behaves: one frozen value with every setting, its presets, and the one way to change it.

The command line and ``POST /_sandbox/behaviour`` both go through ``Behaviour.patched``, so the names, the ranges and
the error messages are the same at both doors. Seconds end in ``_seconds``; a rate is a share from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

from sandbox.dialects import DIALECTS
from sandbox.faults import EFFECT_FAULTS, LOOKUP_FAULTS, FaultPlan

SAVED_ANSWERS = ("success", "definite", "all")
_LEGACY: dict[str, object] = {
    "honours_keys": False,
    "lookup_by_order": True,
    "lookup_by_key": False,
    "unique_orders": True,
    "unique_mails": False,
    "batch": False,
}
PROFILES: Mapping[str, Mapping[str, object]] = {
    "legacy": _LEGACY,
    "keys": {**_LEGACY, "honours_keys": True, "lookup_by_key": True},
    "key_only": {**_LEGACY, "honours_keys": True, "lookup_by_order": False},
    "lookup_only": _LEGACY,
    "neither": {**_LEGACY, "lookup_by_order": False, "unique_orders": False},
    "batch": {**_LEGACY, "honours_keys": True, "lookup_by_key": True, "batch": True},
}


class BehaviourRefused(Exception):
    """A setting that does not exist or a value outside its range; the message says which, in one line."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """All settings of one service; the defaults are the legacy contract, at once and without faults."""

    # capabilities
    honours_keys: bool = False
    key_ttl_seconds: float = 86_400.0
    saved_answers: str = "definite"
    """which answers a key keeps: success (2xx), definite (and declined), all (injected 5xx too: a poisoned key)"""
    lookup_by_order: bool = True
    lookup_by_key: bool = False
    unique_orders: bool = True
    unique_mails: bool = False
    batch: bool = False
    batch_max_items: int = 100
    shuffle_results: bool = True
    dialect: str = "contract"
    """in which words it answers, see ``dialects.py``"""
    # pace
    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    """up to this much more than the latency, uniformly"""
    effect_at: float = 0.5
    """share of the latency that has passed when the effect happens: 0 on arrival, 1 just before the answer"""
    rate_limit_per_second: int = -1
    """0: none; -1: the contract's own, none for payments and 10 for notifications"""
    rate_counts_items: bool = False
    """whether a batch call counts as its items or as one"""
    retry_after_seconds: int = 1
    """what Retry-After says at least"""
    # faults
    faults: Mapping[str, float] = field(default_factory=dict)
    fault_orders: Mapping[str, frozenset[int]] = field(default_factory=dict)
    faults_repeat: bool = False
    lookup_faults: Mapping[str, float] = field(default_factory=dict)
    lookup_delay_seconds: float = 0.0
    """a look-up finds nothing until this long after the effect"""
    hang_seconds: float = 35.0
    seed: int = 0
    # events to the merchant, signed with PAYMENT_WEBHOOK_SECRET of the environment (payments only)
    webhook_url: str = ""
    """where events are posted to; empty: none are sent"""
    webhook_delay_seconds: float = 0.0
    """from the effect to the event: less than what is left of the latency, and it comes before the answer"""
    webhook_drop: float = 0.0
    webhook_duplicates: float = 0.0
    webhook_out_of_order: float = 0.0
    """share of the events that are held back for up to ``webhook_hold_seconds``"""
    webhook_hold_seconds: float = 2.0

    def patched(self, patch: Mapping[str, object]) -> Behaviour:
        """A copy with these settings; ``profile`` sets all capabilities at once, before the others.

        Raises:
            BehaviourRefused: naming the setting and what it should be. Nothing is changed then.
        """
        changes: dict[str, object] = {}
        if "profile" in patch:
            changes.update(_profile(patch["profile"]))
        for name, value in patch.items():
            if name != "profile":
                changes[name] = _checked(name, value)
        return replace(self, **changes)  # type: ignore[arg-type]  # each value was checked by the name of its field

    def rate_limit(self, service: str) -> int:
        """Requests a second that this service lets in; 0 means no limit."""
        if self.rate_limit_per_second >= 0:
            return self.rate_limit_per_second
        return 10 if service == "notifications" else 0

    @property
    def fault_plan(self) -> FaultPlan:
        """The part that the dice need."""
        return FaultPlan(self.faults, self.fault_orders, self.faults_repeat, self.seed)

    def document(self) -> dict[str, object]:
        """All settings, ready for JSON."""
        values = asdict(self)
        values["fault_orders"] = {kind: sorted(orders) for kind, orders in self.fault_orders.items()}
        return values


def _profile(name: object) -> Mapping[str, object]:
    if not isinstance(name, str) or name not in PROFILES:
        raise BehaviourRefused(f"profile must be one of {', '.join(PROFILES)}")
    return PROFILES[name]


def _checked(name: str, value: object) -> object:
    check = _CHECKS.get(name)
    if check is None:
        raise BehaviourRefused(f"there is no setting {name!r}; there are profile, {', '.join(_CHECKS)}")
    try:
        return check(value)
    except (ValueError, TypeError) as error:
        raise BehaviourRefused(f"{name} must be {error}") from None


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _number(low: float, high: float = math.inf) -> Callable[[object], float]:
    def check(value: object) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= float(value) <= high or not math.isfinite(float(value)):  # type: ignore[arg-type]
            raise ValueError(f"a number from {low:g}" + (f" to {high:g}" if math.isfinite(high) else " up"))
        return float(value)  # type: ignore[arg-type]

    return check


def _whole(low: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise ValueError(f"a whole number from {low} up")
        return value

    return check


def _rates(kinds: Mapping[str, object]) -> Callable[[object], Mapping[str, float]]:
    share = _number(0.0, 1.0)

    def check(value: object) -> Mapping[str, float]:
        if not isinstance(value, Mapping) or any(kind not in kinds for kind in value):
            raise ValueError(f"a rate for each of some of {', '.join(kinds)}")
        rates = {str(kind): share(rate) for kind, rate in value.items()}
        if sum(rates.values()) > 1 + 1e-9:
            raise ValueError("rates that come to 1 at most")
        return rates

    return check


def _orders(value: object) -> Mapping[str, frozenset[int]]:
    if not isinstance(value, Mapping) or any(kind not in EFFECT_FAULTS for kind in value):
        raise ValueError(f"order ids for each of some of {', '.join(EFFECT_FAULTS)}")
    order_id = _whole(1)
    return {str(kind): frozenset(order_id(item) for item in orders) for kind, orders in value.items()}


def _address(value: object) -> str:
    if not isinstance(value, str) or not (value == "" or value.startswith(("http://", "https://"))):
        raise ValueError("a http or https address, or empty")
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return value

    return check


_CHECKS: Mapping[str, Callable[[object], object]] = {
    "honours_keys": _flag,
    "key_ttl_seconds": _number(0.0),
    "saved_answers": _one_of(SAVED_ANSWERS),
    "lookup_by_order": _flag,
    "lookup_by_key": _flag,
    "unique_orders": _flag,
    "unique_mails": _flag,
    "batch": _flag,
    "batch_max_items": _whole(1),
    "shuffle_results": _flag,
    "dialect": _one_of(DIALECTS),
    "latency_seconds": _number(0.0),
    "jitter_seconds": _number(0.0),
    "effect_at": _number(0.0, 1.0),
    "rate_limit_per_second": _whole(-1),
    "rate_counts_items": _flag,
    "retry_after_seconds": _whole(1),
    "faults": _rates(EFFECT_FAULTS),
    "fault_orders": _orders,
    "faults_repeat": _flag,
    "lookup_faults": _rates(LOOKUP_FAULTS),
    "lookup_delay_seconds": _number(0.0),
    "hang_seconds": _number(0.0),
    "seed": _whole(0),
    "webhook_url": _address,
    "webhook_delay_seconds": _number(0.0),
    "webhook_drop": _number(0.0, 1.0),
    "webhook_duplicates": _number(0.0, 1.0),
    "webhook_out_of_order": _number(0.0, 1.0),
    "webhook_hold_seconds": _number(0.0),
}
