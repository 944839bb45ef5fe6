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


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """The capabilities of one service.

    ``rate_per_second`` None (in a file: 0) means no known limit; ``settle_seconds`` is how long after a call in doubt
    an absence starts to mean something: its timeout and the service's own slowness together; ``second_look_seconds``
    after the first absence it is looked for again. ``key_ttl_seconds``: how long the service remembers a key.
    """

    name: str = "legacy"
    honours_keys: bool = False
    look_up: LookUp = LookUp.BY_ORDER
    rate_per_second: float | None = None
    settle_seconds: float = 35.0
    second_look_seconds: float = 10.0
    key_ttl_seconds: float = 86_400.0
    plain_not_found_means_absent: bool = False  # a 404 without a JSON object may be a gateway's
    unavailable_means_not_done: bool = False  # a 503 of this service is a promise that nothing was done

    def __post_init__(self) -> None:
        object.__setattr__(self, "look_up", LookUp(self.look_up))
        if self.rate_per_second is not None and not 0 < self.rate_per_second < math.inf:
            raise SettingRefused("SYS-SETTING-INVALID", variable="rate_per_second", expected="a positive number")
        for name in ("settle_seconds", "second_look_seconds", "key_ttl_seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingRefused("SYS-SETTING-INVALID", variable=name, expected="zero or more seconds")


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
        raise SettingRefused(
            "SYS-SETTING-INVALID", variable=_VARIABLE[kind], expected="legacy, or a TOML file"
        ) from None
    return replace(LEGACY[kind], **_checked(kind, stated))


_VARIABLE = {
    EffectKind.PAYMENT: "PAYMENT_SERVICE_PROFILE",
    EffectKind.NOTIFICATION: "NOTIFICATION_SERVICE_PROFILE",
}
_KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "honours_keys": bool,
    "look_up": str,
    "rate_per_second": (int, float),
    "settle_seconds": (int, float),
    "second_look_seconds": (int, float),
    "key_ttl_seconds": (int, float),
    "plain_not_found_means_absent": bool,
    "unavailable_means_not_done": bool,
}


def _checked(kind: EffectKind, stated: dict[str, Any]) -> dict[str, Any]:
    known = ", ".join(item.name for item in fields(ServiceProfile))
    for name, value in stated.items():
        if name not in _KINDS:
            raise SettingRefused(
                "SYS-SETTING-INVALID", variable=_VARIABLE[kind], expected=f"only these settings: {known}"
            )
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and _KINDS[name] is not bool):
            raise SettingRefused("SYS-SETTING-INVALID", variable=name, expected="a value of the right kind")
    if "look_up" in stated:
        if stated["look_up"] not in list(LookUp):
            raise SettingRefused("SYS-SETTING-INVALID", variable="look_up", expected=", ".join(LookUp))
        stated["look_up"] = LookUp(stated["look_up"])
    if stated.get("rate_per_second") == 0:
        stated["rate_per_second"] = None
    return stated
