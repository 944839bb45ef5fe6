"""The four kinds of service. Each is stated twice: as what the sandbox does, and as what the engine is told of it.

A service that honours keys hides half of all mistakes, and so does one that refuses a second charge for an order. So
none of these refuses: whoever sends twice without a key is charged twice, and the ledger shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# A killed worker's last request may still be on its way: its service needs less than this, also on a busy machine.
SETTLE_SECONDS = 0.5
SECOND_LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One kind of service. ``certain``: every doubt can be settled, so that nothing is left for a person."""

    name: str
    honours_keys: bool
    look_up: str
    certain: bool

    def sandbox_options(self) -> list[str]:
        """For ``python -m sandbox``, the same for both services."""
        stated = {
            "honours_keys": self.honours_keys,
            "lookup_by_key": self.look_up == "by_key",
            "lookup_by_order": self.look_up == "by_order",
            "unique_orders": False,
            "unique_mails": False,
        }
        return [word for name, value in stated.items() for word in ("--set", f"{name}={str(value).lower()}")]

    def engine_profile(self) -> dict[str, Any]:
        """The fields of the engine's profile for such a service."""
        return {
            "name": self.name,
            "honours_keys": self.honours_keys,
            "look_up": self.look_up,
            "settle_seconds": SETTLE_SECONDS,
            "second_look_seconds": SECOND_LOOK_SECONDS,
        }


PROFILES = {
    profile.name: profile
    for profile in (
        Capabilities("key_and_look_up", honours_keys=True, look_up="by_key", certain=True),
        Capabilities("key_only", honours_keys=True, look_up="none", certain=True),
        Capabilities("look_up_only", honours_keys=False, look_up="by_order", certain=True),
        Capabilities("neither", honours_keys=False, look_up="none", certain=False),
    )
}
