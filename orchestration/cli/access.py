"""``bulk-orders access check``: who may do what, and whether nobody decided about what they had started themselves."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from domain import catalogue
from orchestration.settings import Settings

NOT_KEPT_APART = 1


@click.group(name="access")
def command() -> None:
    """Who may do what: roles of people, and duties that one person should not have together."""


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def check(as_json: bool) -> int:
    """Check the file of roles and all decisions so far: 0 in order, 1 somebody decided about their own batch."""
    from domain.guards import person_of
    from orchestration import access
    from orchestration.cli.connected import connected_database
    from resources.database import decisions

    settings = Settings.from_environment()
    roles = access.load(settings).roles
    with ExitStack() as held:
        made = connected_database(settings, held).read(decisions.with_givers)
    own = [
        {"batch_id": one.batch_id, "decision": one.decision.value, "person": person}
        for one in made
        if (person := person_of(one.decided_by)) is not None and person in map(person_of, one.givers)
    ]
    told: dict[str, Any] = {
        "roles_file": str(settings.roles_path) if roles.are_given else None,
        "people": {name: sorted(given) for name, given in sorted(roles.people.items())},
        "decisions": len(made),
        "about_own_batches": own,
    }
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else _text(told, settings.language))
    return NOT_KEPT_APART if own else 0


def _text(told: dict[str, Any], language: str) -> str:
    words = catalogue.words("access", language)
    lines = [words["file"].format(path=told["roles_file"]) if told["roles_file"] else words["nobody_said"]]
    lines += [f"  {name}: {', '.join(roles) or '-'}" for name, roles in told["people"].items()]
    lines.append(words["decisions"].format(made=told["decisions"], own=len(told["about_own_batches"])))
    lines += [f"  {one['batch_id']}  {one['decision']}  {one['person']}" for one in told["about_own_batches"]]
    return "\n".join(lines)
