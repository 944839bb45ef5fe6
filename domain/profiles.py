"""What a given service can do. Nothing is assumed that its profile does not state.

A profile is a TOML file, or one of the names below. The everyday one is ``legacy``: no keys honoured, look-up by order,
no batch endpoints, ten mails per second (R-12, R-21, R-23).
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from domain.errors import SettingRefused
from domain.outcomes import LookUp
from domain.states import EffectKind

MAX_BATCH_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """The capabilities of one service.

    ``rate_per_second`` None (in a file: 0) means no known limit; ``settle_seconds`` is how long after a call in doubt
    an absence starts to mean something: its timeout and the service's own slowness together; ``second_look_seconds``
    after the first absence it is looked for again. ``key_ttl_seconds``: how long the service remembers a key.

    ``batch_size`` items travel in one call of the batch endpoint, 0: there is none; ``batch_path`` where it is not the
    contract's. ``batch_item_keys``: items carry keys and results name them; otherwise results are told apart by order.

    Where answers differ from the contract: ``answer_field`` holds the effect (empty: the answer itself does);
    ``look_up_lists``: a look-up answers with the list of all effects of the order, an empty one means absent;
    ``order_field`` and ``id_field`` name the order and the effect, ``done_words`` are further words for success.
    """

    name: str = "legacy"
    honours_keys: bool = False
    look_up: LookUp = LookUp.BY_ORDER
    rate_per_second: float | None = None
    rate_counts_items: bool = False  # a batch call counts as so many calls as it has items
    settle_seconds: float = 35.0
    second_look_seconds: float = 10.0
    key_ttl_seconds: float = 86_400.0
    plain_not_found_means_absent: bool = False  # a 404 without a JSON object may be a gateway's
    unavailable_means_not_done: bool = False  # a 503 of this service is a promise that nothing was done
    batch_size: int = 0
    batch_path: str = ""
    batch_item_keys: bool = True
    answer_field: str = ""
    look_up_lists: bool = False
    order_field: str = "order_id"
    id_field: str = ""
    done_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "look_up", LookUp(self.look_up))
        object.__setattr__(self, "done_words", tuple(word.casefold() for word in self.done_words))
        if self.rate_per_second is not None and not 0 < self.rate_per_second < math.inf:
            raise _invalid("rate_per_second", "a positive number")
        for name in ("settle_seconds", "second_look_seconds", "key_ttl_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise _invalid(name, "zero or more seconds")
        if self.look_up is LookUp.BY_KEY and not self.sends_keys:
            # It would never find anything, and what is never found is sent again.
            raise _invalid("look_up", "by_key only where every call carries its key: honours_keys, batch_item_keys")
        if not self.order_field:
            raise _invalid("order_field", "the name of a field")
        self._check_batches()

    def _check_batches(self) -> None:
        if not 0 <= self.batch_size <= MAX_BATCH_SIZE:
            raise _invalid("batch_size", f"a whole number from 0 to {MAX_BATCH_SIZE}")
        if self.batch_path and not (self.batch_path.startswith("/") and self.batch_path.isascii()):
            raise _invalid("batch_path", "a path that begins with /")
        if self.rate_counts_items and self.rate_per_second is not None and self.batch_size > self.rate_per_second:
            raise _invalid("batch_size", "at most rate_per_second, where rate_counts_items")

    @property
    def sends_keys(self) -> bool:
        """Whether every call protects its effect with a key that the service honours."""
        return self.honours_keys and (self.batch_size == 0 or self.batch_item_keys)

    @property
    def outcome_can_be_known(self) -> bool:
        """Whether what became of a call in doubt can be found out without a person."""
        return self.sends_keys or self.look_up is not LookUp.NONE

    @property
    def calls_per_second(self) -> float | None:
        """The limit in calls: full batches only where items count, so that no second ever holds too many of them."""
        if self.rate_per_second is None or not self.rate_counts_items or self.batch_size <= 1:
            return self.rate_per_second
        return float(self.rate_per_second // self.batch_size)

    @property
    def effects_per_second(self) -> float | None:
        """The limit in effects: what no batch of orders can be faster than."""
        calls = self.calls_per_second
        return None if calls is None else calls * max(1, self.batch_size)


def _invalid(variable: str, expected: str) -> SettingRefused:
    return SettingRefused("SYS-SETTING-INVALID", variable=variable, expected=expected)


LEGACY = {
    EffectKind.PAYMENT: ServiceProfile(),
    EffectKind.NOTIFICATION: ServiceProfile(rate_per_second=10.0, settle_seconds=15.0),
}
"""What is known of the customer's services when only their addresses are given."""


def load_profile(kind: EffectKind, source: str) -> ServiceProfile:
    """The profile ``legacy``, or what the TOML file at ``source`` changes of it.

    Raises:
        SettingRefused: the file is missing, is no TOML, or states something unknown.
    """
    if source == "legacy":
        return LEGACY[kind]
    try:
        stated = tomllib.loads(Path(source).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _invalid(_VARIABLE[kind], "legacy, or a TOML file") from None
    return replace(LEGACY[kind], **_checked(kind, stated))


_VARIABLE = {
    EffectKind.PAYMENT: "PAYMENT_SERVICE_PROFILE",
    EffectKind.NOTIFICATION: "NOTIFICATION_SERVICE_PROFILE",
}
# What stands in a file, and how that is told to a person.
_TEXT, _FLAG, _WHOLE = (str, "text in quotes"), (bool, "true or false"), (int, "a whole number")
_NUMBER: tuple[tuple[type, ...], str] = ((int, float), "a number")
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "name": _TEXT,
    "honours_keys": _FLAG,
    "look_up": _TEXT,
    "rate_per_second": _NUMBER,
    "rate_counts_items": _FLAG,
    "settle_seconds": _NUMBER,
    "second_look_seconds": _NUMBER,
    "key_ttl_seconds": _NUMBER,
    "plain_not_found_means_absent": _FLAG,
    "unavailable_means_not_done": _FLAG,
    "batch_size": _WHOLE,
    "batch_path": _TEXT,
    "batch_item_keys": _FLAG,
    "answer_field": _TEXT,
    "look_up_lists": _FLAG,
    "order_field": _TEXT,
    "id_field": _TEXT,
    "done_words": (list, "a list of words in quotes"),
}


def _checked(kind: EffectKind, stated: dict[str, Any]) -> dict[str, Any]:
    known = ", ".join(item.name for item in fields(ServiceProfile))
    for name, value in stated.items():
        if name not in _KINDS:
            raise _invalid(_VARIABLE[kind], f"only these settings: {known}")
        types, expected = _KINDS[name]
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise _invalid(name, expected)
        if isinstance(value, list) and not all(isinstance(word, str) for word in value):
            raise _invalid(name, expected)
    if "look_up" in stated:
        if stated["look_up"] not in list(LookUp):
            raise _invalid("look_up", ", ".join(LookUp))
        stated["look_up"] = LookUp(stated["look_up"])
    if stated.get("rate_per_second") == 0:
        stated["rate_per_second"] = None
    return stated
