"""``bulk-orders restore``: from a backup, so that nothing is paid twice by a database that knows too little."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.backups import Restored

NOT_WHOLE = 1


@click.group(name="restore")
def command() -> None:
    """Restore a backup, and account for what was done after it."""


@command.command("run")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def run(folder: Path, as_json: bool) -> int:
    """Restore a backup into a fresh place, where the keys lie already: 0 done, 1 done and the trail is not whole.

    Whatever was open is looked up at the services before it is sent; new batches wait until a person says with
    `restore reconciled` that what was lost is accounted for.
    """
    from orchestration import backups

    settings = Settings.from_environment()
    return _show(backups.restore(settings, folder), settings.language, as_json=as_json)


@command.command("mark")
@click.option(
    "--backup-at", "at", required=True, type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]), help="What it knows ends here, UTC."
)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def mark(at: datetime, as_json: bool) -> int:
    """Mark a database that was restored by other means, before anybody works on it."""
    from orchestration import backups

    settings = Settings.from_environment()
    return _show(backups.mark(settings, at.replace(tzinfo=UTC)), settings.language, as_json=as_json)


@command.command("reconciled")
@click.option("--note", required=True, help="What was compared, in a few words; no names of customers.")
def reconciled(note: str) -> None:
    """Say that what was lost is accounted for: new batches are paid again."""
    from domain import catalogue
    from domain.decisions import checked_note
    from orchestration import backups
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    with ExitStack() as held:
        found = backups.reconcile(connected_database(settings, held), checked_note(note))
    click.echo(catalogue.words("restore", settings.language)["reconciled"].format(number=found.number))


def _show(found: Restored, language: str, *, as_json: bool) -> int:
    from domain import catalogue

    whole = found.verification.whole
    told = {
        "restoration": found.marked.number,
        "backup_at": found.backup_at.isoformat(),
        "in_doubt": found.marked.in_doubt,
        "rechecked": found.marked.rechecked,
        "lost_batches": list(found.lost_batches),
        "trail_whole": whole,
    }
    words = catalogue.words("restore", language)
    lines = [words["restored"].format(at=f"{found.backup_at:%Y-%m-%d %H:%M:%S} UTC", **told)]
    lines += [words["lost"]] * bool(found.lost_batches) + [f"  {name}" for name in found.lost_batches]
    lines.append(words["whole"] if whole else words["not_whole"])
    click.echo(json.dumps(told) if as_json else "\n".join([*lines, words["next"]]))
    return 0 if whole else NOT_WHOLE
