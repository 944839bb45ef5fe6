"""Roles where they are asked for: commands and jobs are refused before anything is done, and the trail knows of it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from domain import roles
from domain.errors import FileRefused, OperationRefused
from domain.guards import GuardLimits
from domain.roles import Duty
from domain.states import BatchState
from orchestration import access, operations
from orchestration.access import Access
from orchestration.admission import admit
from orchestration.settings import Settings
from resources.database import batches
from resources.database.connection import Actor
from resources.database.database import Database
from tests.e2e.commands import Ended, office_with
from tests.integration.batches import Installation, csv_bytes, order_row

PEOPLE = b"""[people]
hanako = ["operator", "reviewer"]
jiro = ["reviewer", "approver"]
"""


@contextmanager
def acting(installation: Installation, actor: str) -> Iterator[Database]:
    database = Database(installation.url, Actor(actor, "", "0.0"))
    try:
        yield database
    finally:
        database.dispose()


def refusals(installation: Installation) -> list[tuple[str, str]]:
    return installation.execute(
        "select actor, reason from audit_events where chain = 'system' and event = 'access:refused' order by seq"
    )


def batch_of(installation: Installation, actor: str) -> str:
    """A batch that somebody started."""
    before, installation.database = installation.database, Database(installation.url, Actor(actor, "", "0.0"))
    try:
        return installation.validated([order_row()])
    finally:
        installation.database.dispose()
        installation.database = before


def test_a_refusal_says_who_may_and_stands_in_the_trail(installation: Installation) -> None:
    with acting(installation, "ui:hanako") as database, pytest.raises(OperationRefused) as refused:
        Access(roles.parse(PEOPLE)).require(database, {Duty.APPROVE}, "any")

    assert refused.value.facts == {"person": "hanako", "duty": "approve", "role": "approver", "who": "jiro"}
    assert refusals(installation) == [("ui:hanako", "SYS-ROLE-NEEDED approve")]


def test_nobody_decides_about_a_batch_of_their_own_through_whichever_door(installation: Installation) -> None:
    """Started by a command, decided in the UI: one person."""
    own, other = batch_of(installation, "cli:hanako"), batch_of(installation, "cli:jiro")
    with_roles = Access(roles.parse(PEOPLE))

    with acting(installation, "ui:Hanako") as database:
        with_roles.require(database, {Duty.DECIDE}, other)
        with_roles.require(database, {Duty.OPERATE}, own)
        with pytest.raises(OperationRefused) as refused:
            with_roles.require(database, {Duty.DECIDE}, own)

    assert (refused.value.code, refused.value.facts["who"]) == ("SYS-ROLE-OWN", "jiro")
    assert refusals(installation) == [("ui:Hanako", "SYS-ROLE-OWN decide")]


def test_who_gives_a_refused_file_again_decides_about_their_own(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(csv_bytes([order_row()]))
    with acting(installation, "cli:jiro") as database:
        batch = given(installation, database, path)
        with database.begin() as tx:
            batches.move(tx, batch, BatchState.REFUSED, FileRefused("FILE-TOO-MANY-ROWS", rows=1, limit=0))
    with acting(installation, "cli:hanako") as database:
        assert given(installation, database, path) == batch

    limits = GuardLimits(approval_above_jpy=-1)
    for person in ("ui:Hanako", "ui:jiro"):
        with acting(installation, person) as database:
            with pytest.raises(OperationRefused, match="SYS-ROLE-OWN"):
                Access(roles.parse(PEOPLE)).require(database, {Duty.DECIDE}, batch)
            with pytest.raises(OperationRefused, match="BATCH-APPROVAL-OWN"):
                operations.approve(database, batch, limits)


def given(installation: Installation, database: Database, path: Path) -> str:
    return admit(database, installation.files, path, "shop", keep_original=True).batch.batch_id


def test_without_a_file_nothing_is_asked_and_nothing_noted(installation: Installation) -> None:
    own = batch_of(installation, "cli:hanako")

    with acting(installation, "cli:hanako") as database:
        Access(roles.Roles()).require(database, {Duty.DECIDE}, own)

    assert refusals(installation) == []


def command(installation: Installation, tmp_path: Path, people: str, *words: str) -> Ended:
    """A command under this account, with these roles."""
    office = office_with(tmp_path, {"DATABASE_URL": installation.url, "BULK_ORDERS_ENCRYPTION_KEY": installation.key})
    office.home.mkdir(exist_ok=True)
    (office.home / "roles.toml").write_text(people, encoding="utf-8")
    return office.do(*words)


def test_a_command_is_refused_before_it_does_anything(installation: Installation, tmp_path: Path) -> None:
    batch = batch_of(installation, "cli:somebody")
    me = getpass.getuser()

    ended = command(installation, tmp_path, f'[people]\n{me} = ["auditor"]\nhanako = ["operator"]\n', "pause", batch)

    assert ended.returncode == 2
    assert ended.stderr.startswith("SYS-ROLE-NEEDED: ")
    assert "hanako" in ended.stderr
    assert installation.execute("select pause_requested_by from batches") == [(None,)]
    assert refusals(installation) == [(f"cli:{me}", "SYS-ROLE-NEEDED operate")]


def test_who_may_is_not_held_up(installation: Installation, tmp_path: Path) -> None:
    batch = batch_of(installation, "cli:somebody")

    ended = command(installation, tmp_path, f'[people]\n{getpass.getuser()} = ["operator"]\n', "pause", batch)

    assert ended.returncode in (0, 3), ended.stderr
    assert installation.execute("select decision from decisions") == [("pause",)]


def test_looking_needs_no_role_and_a_broken_file_lets_nobody_act(installation: Installation, tmp_path: Path) -> None:
    batch = batch_of(installation, "cli:somebody")

    assert command(installation, tmp_path, "[people]\n", "status", batch, "--json").returncode == 0
    assert command(installation, tmp_path, "[people", "status", batch, "--json").returncode == 0
    assert "SYS-ROLES-INVALID" in command(installation, tmp_path, "[people", "pause", batch).stderr
    assert installation.execute("select count(*) from decisions") == [(0,)]


def test_decisions_about_own_batches_are_found_afterwards(installation: Installation, tmp_path: Path) -> None:
    """Made before there were roles, or past them."""
    own, other = batch_of(installation, "cli:hanako"), batch_of(installation, "cli:jiro")
    for batch in (own, other):
        with acting(installation, "ui:hanako") as database, database.begin() as tx:
            operations.decisions.record(tx, batch, operations.Decision.APPROVE)

    ended = command(installation, tmp_path, PEOPLE.decode(), "access", "check", "--json")

    assert ended.returncode == 1
    told = ended.told()
    assert told["about_own_batches"] == [{"batch_id": own, "decision": "approve", "person": "hanako"}]
    assert told["decisions"] == 2
    assert told["people"] == {"hanako": ["operator", "reviewer"], "jiro": ["approver", "reviewer"]}


def test_the_settings_of_a_run_name_the_file_of_roles_by_its_digest(tmp_path: Path) -> None:
    """So that the trail knows since when who may do what."""
    settings = Settings(home=tmp_path)
    assert access.shown(settings) == {"roles.toml": None}

    (tmp_path / "roles.toml").write_bytes(PEOPLE)

    assert access.shown(settings) == {"roles.toml": roles.parse(PEOPLE).sha256}
