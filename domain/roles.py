"""Who may do what, as a file says it. Pure rules; where nothing is said, everybody who reaches the machine may do all.

    [people]
    hanako = ["operator"]
    jiro = ["reviewer", "approver"]
    akira = ["auditor"]
    "*" = []                      # everybody else; they may look at batches, which shows no personal data

    [exceptions]                  # roles that one person should not have together, and why they have them all the same
    jiro = "the night shift is one person"

A person is the account of a command or the name that the proxy vouches for. Sensors, schedules and services are no
persons: what they may do is settled by who may write into the import folder, and by who runs this system.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from domain.errors import OperationRefused, SettingRefused
from domain.guards import is_account, person_of

EVERYBODY_ELSE = "*"
VARIABLE = "BULK_ORDERS_ROLES_FILE"


class Duty(StrEnum):
    """What can be asked of the system beyond looking."""

    IMPORT = "import"  # bring a file
    OPERATE = "operate"  # pause, continue, cancel, redrive: what keeps batches going
    DECIDE = "decide"  # settle a row in review, accept an order that resembles another
    APPROVE = "approve"  # let a large amount be paid
    READ_PERSONAL = "read-personal"  # result and repair files, which hold the customers' own data
    AUDIT = "audit"  # verify the trail, make anchors and packs
    ADMINISTER = "administer"  # schema, keys, retention, erasure, backups


class Role(StrEnum):
    """What a person is."""

    OPERATOR = "operator"
    REVIEWER = "reviewer"
    APPROVER = "approver"
    DATA_READER = "data-reader"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


DUTIES: Mapping[Role, frozenset[Duty]] = {
    Role.OPERATOR: frozenset({Duty.IMPORT, Duty.OPERATE}),
    Role.REVIEWER: frozenset({Duty.DECIDE}),
    Role.APPROVER: frozenset({Duty.APPROVE}),
    Role.DATA_READER: frozenset({Duty.READ_PERSONAL}),
    Role.AUDITOR: frozenset({Duty.AUDIT}),
    Role.ADMINISTRATOR: frozenset({Duty.ADMINISTER}),
}

NEVER_TOGETHER: tuple[frozenset[Role], ...] = (
    frozenset({Role.OPERATOR, Role.APPROVER}),  # who brings money in does not let it out
    frozenset({Role.ADMINISTRATOR, Role.APPROVER}),  # nor who could change what was brought
    # Whoever is told of in the trail does not judge it.
    *(frozenset({Role.AUDITOR, role}) for role in (Role.OPERATOR, Role.REVIEWER, Role.APPROVER, Role.ADMINISTRATOR)),
)

OF_SOMEBODY_ELSE = frozenset({Duty.APPROVE, Duty.DECIDE})
"""Not about a batch that one has started oneself."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Who has which role. ``sha256``: of the file that says so, for the trail; empty where there is none."""

    people: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    sha256: str = ""

    @property
    def are_given(self) -> bool:
        """Whether anybody has said who may do what."""
        return bool(self.sha256)

    def of(self, person: str) -> frozenset[Role]:
        """What a person is; ``person`` as ``person_of`` gives it."""
        return self.people.get(person, self.people.get(EVERYBODY_ELSE, frozenset()))

    def who_may(self, duty: Duty) -> list[str]:
        """The names of those who have it."""
        return sorted(name for name, roles in self.people.items() if any(duty in DUTIES[role] for role in roles))

    def require(self, actor: str, duties: Collection[Duty]) -> None:
        """Let those through who may do all of this.

        Raises:
            OperationRefused: SYS-ROLE-NEEDED with the role and who has it, or BATCH-PERSON-UNKNOWN.
        """
        if not self.are_given or is_machine(actor):
            return
        person = person_of(actor)
        if person is None:
            raise OperationRefused("BATCH-PERSON-UNKNOWN")
        granted = frozenset[Duty]().union(*(DUTIES[role] for role in self.of(person)))
        for duty in sorted(set(duties) - granted):
            role = next(role for role in Role if duty in DUTIES[role])
            who = ", ".join("everybody" if name == EVERYBODY_ELSE else name for name in self.who_may(duty)) or "-"
            raise OperationRefused("SYS-ROLE-NEEDED", person=person, duty=duty.value, role=role.value, who=who)


def is_machine(actor: str) -> bool:
    """Whether this acts by itself: a sensor, a schedule, a service. An unknown hand in the UI does not."""
    return actor.startswith(("sensor:", "schedule:", "service:"))


def parse(octets: bytes) -> Roles:
    """The roles that a file gives.

    Raises:
        SettingRefused: SYS-ROLES-INVALID with the place, or SYS-ROLES-CONFLICT with the person and the roles.
    """
    try:
        stated = tomllib.loads(octets.decode("utf-8"))
    except ValueError:
        raise _invalid("TOML") from None
    if unknown := stated.keys() - {"people", "exceptions"}:
        raise _invalid(min(unknown))
    people = {_name(name): _roles(name, given) for name, given in _table(stated, "people").items()}
    excepted = {_name(name) for name, why in _table(stated, "exceptions").items() if _reason(name, why)}
    for person, roles in sorted(people.items()):
        clash = next((pair for pair in NEVER_TOGETHER if pair <= roles), None)
        if clash is not None and person not in excepted:
            raise SettingRefused("SYS-ROLES-CONFLICT", person=person, roles=", ".join(sorted(clash)))
    return Roles(people, hashlib.sha256(octets).hexdigest())


def _table(stated: dict[str, Any], name: str) -> dict[str, Any]:
    found = stated.get(name, {})
    if not isinstance(found, dict):
        raise _invalid(name)
    return found


def _name(name: str) -> str:
    if name != EVERYBODY_ELSE and not is_account(name):
        raise _invalid(name)
    return name.casefold()


def _roles(name: str, given: Any) -> frozenset[Role]:
    if not isinstance(given, list) or not all(role in list(Role) for role in given):
        raise _invalid(f"people.{name}")
    return frozenset(Role(role) for role in given)


def _reason(name: str, why: Any) -> bool:
    if not isinstance(why, str) or not why.strip():
        raise _invalid(f"exceptions.{name}")
    return True


def _invalid(place: str) -> SettingRefused:
    return SettingRefused("SYS-ROLES-INVALID", place=place, roles=", ".join(Role))
