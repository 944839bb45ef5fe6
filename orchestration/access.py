"""Who may use which command and which job: asked before anything is done, and a refusal stands in the trail.

``domain/roles.py`` has the rules. Here is where the roles come from, what each command and each job of Dagster asks
for, and that nobody decides about what one has started oneself. What is not listed is for administrators.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from domain import roles
from domain.errors import BulkOrdersError, OperationRefused, SettingRefused
from domain.guards import person_of
from domain.roles import Duty, Roles
from orchestration.job_names import OPERATION_JOBS, PROCESS_BATCH
from orchestration.settings import Settings
from resources.database import decisions, trail
from resources.database.database import Database

if TYPE_CHECKING:
    import dagster as dg

_NOTHING: frozenset[Duty] = frozenset()
_FOR_ADMINISTRATORS = frozenset({Duty.ADMINISTER})

COMMAND_DUTIES: Mapping[str, frozenset[Duty]] = {
    "up": _NOTHING,
    "status": _NOTHING,
    "sample": _NOTHING,
    "sandbox": _NOTHING,
    "webhooks": _NOTHING,
    "webhooks alarms": _NOTHING,
    "webhooks acknowledge": frozenset({Duty.DECIDE}),
    "health": _NOTHING,
    "alerts": _NOTHING,
    "watch": _NOTHING,
    "profile suggest": _NOTHING,
    "profile check": _NOTHING,
    "access check": _NOTHING,
    "review list": _NOTHING,
    "audit check": _NOTHING,
    "audit trace": _NOTHING,
    "import": frozenset({Duty.IMPORT}),
    "redrive": frozenset({Duty.OPERATE}),
    "pause": frozenset({Duty.OPERATE}),
    "continue": frozenset({Duty.OPERATE}),
    "cancel": frozenset({Duty.OPERATE}),
    "approve": frozenset({Duty.APPROVE}),
    "review decide": frozenset({Duty.DECIDE}),
    "review accept": frozenset({Duty.DECIDE}),
    "report": frozenset({Duty.READ_PERSONAL}),
    "audit verify": frozenset({Duty.AUDIT}),
    "audit anchor": frozenset({Duty.AUDIT}),
    "audit pack": frozenset({Duty.AUDIT, Duty.READ_PERSONAL}),
}
"""By the words of the command; any other is for administrators."""

JOB_DUTIES: Mapping[str, frozenset[Duty]] = {
    PROCESS_BATCH: frozenset({Duty.OPERATE}),
    "redrive_batch": frozenset({Duty.OPERATE}),
    "pause_batch": frozenset({Duty.OPERATE}),
    "continue_batch": frozenset({Duty.OPERATE}),
    "cancel_batch": frozenset({Duty.OPERATE}),
    "approve_batch": frozenset({Duty.APPROVE}),
    "decide_review": frozenset({Duty.DECIDE}),
    "accept_near_duplicates": frozenset({Duty.DECIDE}),
    "trace_payment": _NOTHING,
    "anchor_trail": frozenset({Duty.AUDIT}),
    "verify_trail": frozenset({Duty.AUDIT}),
}
"""By the name of the job; any other is for administrators. Runs that a sensor or a schedule begins are let through."""


@dataclass(frozen=True, slots=True)
class Access:
    """The roles in force, as a resource of Dagster and for commands."""

    roles: Roles

    def require(self, database: Database, duties: Collection[Duty], batch_id: str | None = None) -> None:
        """Let the database's actor through, or note the attempt and refuse.

        Raises:
            OperationRefused: SYS-ROLE-NEEDED, SYS-ROLE-OWN or BATCH-PERSON-UNKNOWN.
        """
        try:
            self.roles.require(database.actor.name, duties)
            if batch_id is not None and self.roles.are_given:
                self._refuse_own(database, duties, batch_id)
        except OperationRefused as refused:
            note_refusal(database, duties, refused)
            raise

    def _refuse_own(self, database: Database, duties: Collection[Duty], batch_id: str) -> None:
        person = person_of(database.actor.name)
        for duty in sorted(roles.OF_SOMEBODY_ELSE & set(duties)):
            givers = database.read(lambda tx: decisions.givers(tx, batch_id))
            if person is not None and person in map(person_of, givers):
                who = ", ".join(name for name in self.roles.who_may(duty) if name != person) or "-"
                raise OperationRefused("SYS-ROLE-OWN", person=person, batch=batch_id, duty=duty.value, who=who)


def of_run(settings: Settings, database: Database, run: dg.DagsterRun | None) -> None:
    """Let a run of Dagster begin whose launcher may.

    Commands have been asked before: the run that follows from an approval is no second act. Jobs by which people act
    ask by themselves, in the name of the person.

    Raises:
        OperationRefused: as ``Access.require``.
    """
    asked_before = database.actor.name.startswith("cli:")
    if run is not None and run.job_name not in OPERATION_JOBS and not asked_before:
        load(settings).require(database, JOB_DUTIES.get(run.job_name, _FOR_ADMINISTRATORS))


def note_refusal(database: Database, duties: Collection[Duty], refused: BulkOrdersError) -> None:
    """An event of the system's chain in the name of whoever tried: the code, and for what."""
    about = " ".join([refused.code, *sorted(duties)])
    with suppress(BulkOrdersError):  # the refusal itself is what counts
        database.run(lambda tx: trail.note(tx, "access:refused", about))


def load(settings: Settings) -> Access:
    """The roles of this installation; without the file everybody may do everything, as on one person's machine.

    Raises:
        SettingRefused: the file that a setting names is missing, others can change it, or it cannot be used.
    """
    path = settings.roles_path
    if settings.roles_file is None and not path.exists():
        return Access(Roles())
    return Access(roles.parse(_octets(path)))


def shown(settings: Settings) -> dict[str, str | None]:
    """What the trail is told of the file of roles: its digest."""
    return {"roles.toml": load(settings).roles.sha256 or None}


def _octets(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise _unusable(path)
            return file.read()
    except OSError:
        raise _unusable(path) from None


def _unusable(path: Path) -> SettingRefused:
    return SettingRefused("SYS-ROLES-INVALID", place=str(path), roles=", ".join(roles.Role))


def command_duties(words: Sequence[str]) -> frozenset[Duty]:
    """What a command asks for."""
    return COMMAND_DUTIES.get(" ".join(words), _FOR_ADMINISTRATORS)
