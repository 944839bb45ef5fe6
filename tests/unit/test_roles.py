"""Who may do what: every duty to somebody, nobody two that should be apart, and a clear no."""

from __future__ import annotations

import itertools
from pathlib import Path

import click
import pytest

from domain import roles
from domain.errors import OperationRefused, SettingRefused
from domain.roles import DUTIES, NEVER_TOGETHER, Duty, Role
from orchestration import access
from orchestration.cli import guarding
from orchestration.cli.main import COMMANDS, Commands
from orchestration.definitions import build_defs
from orchestration.job_names import OPERATION_JOBS
from orchestration.settings import Settings

FILE = b"""
[people]
hanako = ["operator", "reviewer"]
Jiro = ["approver"]
akira = ["auditor", "data-reader"]
"*" = []
"""


def test_without_a_file_everybody_may_do_everything():
    for actor in ("cli:anybody", "ui:anybody", "dagster"):
        roles.Roles().require(actor, set(Duty))


@pytest.mark.parametrize(
    ("actor", "duty"),
    [
        ("cli:hanako", Duty.IMPORT),
        ("ui:Hanako", Duty.DECIDE),
        ("cli:jiro", Duty.APPROVE),
        ("ui:akira", Duty.AUDIT),
        ("sensor:import_orders", Duty.OPERATE),
        ("schedule:anchor_trail_hourly", Duty.AUDIT),
    ],
)
def test_who_has_the_role_may(actor: str, duty: Duty):
    roles.parse(FILE).require(actor, {duty})


@pytest.mark.parametrize(
    ("actor", "duty", "role", "who"),
    [
        ("cli:hanako", Duty.APPROVE, "approver", "jiro"),
        ("ui:jiro", Duty.IMPORT, "operator", "hanako"),
        ("cli:stranger", Duty.AUDIT, "auditor", "akira"),
        ("cli:akira", Duty.ADMINISTER, "administrator", "-"),
    ],
)
def test_who_has_it_not_is_told_who_has(actor: str, duty: Duty, role: str, who: str):
    with pytest.raises(OperationRefused) as refused:
        roles.parse(FILE).require(actor, {duty})

    assert refused.value.code == "SYS-ROLE-NEEDED"
    assert (refused.value.facts["role"], refused.value.facts["who"]) == (role, who)


@pytest.mark.parametrize("actor", ["dagster", "ui", "ui:", "ui:hanako suzuki", "system:1", "database:bulk_orders"])
def test_a_hand_without_a_name_may_nothing(actor: str):
    with pytest.raises(OperationRefused) as refused:
        roles.parse(FILE).require(actor, {Duty.OPERATE})

    assert refused.value.code == "BATCH-PERSON-UNKNOWN"


def test_every_duty_belongs_to_exactly_one_role():
    given = [duty for role in Role for duty in DUTIES[role]]

    assert sorted(given) == sorted(Duty)


@pytest.mark.parametrize("pair", NEVER_TOGETHER, ids=lambda pair: "-".join(sorted(pair)))
def test_roles_that_should_be_apart_are_refused_unless_it_is_said_why(pair: frozenset[Role]):
    people = f"[people]\nhanako = {[role.value for role in sorted(pair)]}\n".encode()

    with pytest.raises(SettingRefused) as refused:
        roles.parse(people)

    assert refused.value.code == "SYS-ROLES-CONFLICT"
    assert refused.value.facts == {"person": "hanako", "roles": ", ".join(sorted(pair))}
    assert roles.parse(people + b'[exceptions]\nHanako = "one person at night"').of("hanako") == pair


def test_other_roles_may_be_one_persons():
    apart = {frozenset(pair) for pair in itertools.combinations(Role, 2)} - set(NEVER_TOGETHER)

    for pair in apart:
        people = f"[people]\nhanako = {[role.value for role in sorted(pair)]}\n"
        assert roles.parse(people.encode()).of("hanako") == pair


@pytest.mark.parametrize(
    "content",
    [
        b"[people",
        b"\xff",
        b"[people]\nhanako = 'operator'",
        b"[people]\nhanako = ['chief']",
        b"[people]\nhanako = [1]",
        b"[people]\n'hana ko' = []",
        b"people = 1",
        b"[exceptions]\nhanako = ''",
        b"[persons]",
    ],
)
def test_a_file_that_cannot_be_understood_is_refused(content: bytes):
    """Half understood, it would let somebody in."""
    with pytest.raises(SettingRefused) as refused:
        roles.parse(content)

    assert refused.value.code == "SYS-ROLES-INVALID"


def test_a_file_that_others_can_change_is_none(tmp_path: Path):
    path = tmp_path / "roles.toml"
    path.write_bytes(FILE)
    settings = Settings(home=tmp_path)
    path.chmod(0o644)
    assert access.load(settings).roles.are_given

    path.chmod(0o664)
    with pytest.raises(SettingRefused):
        access.load(settings)


def test_a_file_that_is_named_and_missing_opens_nothing(tmp_path: Path):
    with pytest.raises(SettingRefused):
        access.load(Settings(home=tmp_path, roles_file=tmp_path / "gone.toml"))
    assert not access.load(Settings(home=tmp_path)).roles.are_given


def acting(command: click.Command, words: tuple[str, ...]) -> list[str]:
    below = command.commands if isinstance(command, click.Group) else {}
    names = [name for word in below for name in acting(below[word], (*words, word))]
    return [" ".join(words), *names] if guarding.acts(command) else names


def test_the_duties_of_commands_name_commands_and_all_others_are_for_administrators():
    group = Commands()
    context = click.Context(group)
    known = [name for word in COMMANDS for name in acting(group.get_command(context, word) or group, (word,))]

    assert set(access.COMMAND_DUTIES) - set(known) == set()
    assert {"db upgrade", "keys rotate", "erase"} <= set(known) - set(access.COMMAND_DUTIES)
    assert access.command_duties(["keys", "rotate"]) == {Duty.ADMINISTER}


def test_the_duties_of_jobs_name_jobs_and_all_by_which_people_act(tmp_path: Path):
    settings = Settings(home=tmp_path)
    jobs = {job.name for job in build_defs(settings).resolve_all_job_defs() if not job.name.startswith("__")}

    assert jobs >= set(access.JOB_DUTIES) >= OPERATION_JOBS
