"""``bulk-orders backup``: the database and the files of this installation into one folder. Never the keys."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestration.settings import Settings

_PLACE = click.Path(file_okay=False, path_type=Path)


@click.group(name="backup")
def command() -> None:
    """Back up the installation, and check a backup. Keys are backed up apart from it: docs/backup.md."""


@command.command("make")
@click.option("-o", "--output", required=True, type=_PLACE, metavar="FOLDER", help="Where the backup's folder goes.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def make(output: Path, as_json: bool) -> None:
    """Back up database and files while everything runs."""
    from domain import catalogue
    from orchestration import backups

    settings = Settings.from_environment()
    made = backups.make(settings, output)
    told = {"folder": str(made.folder), "at": made.at.isoformat(), "bytes": made.octets, "sha256": made.sha256}
    words = catalogue.words("backup", settings.language)
    lines = [
        words["made"].format(folder=made.folder, octets=made.octets),
        words["keys"].format(keys=", ".join(made.keys) or "-"),
    ]
    click.echo(json.dumps({**told, "keys": list(made.keys)}) if as_json else "\n".join(lines))


@command.command("check")
@click.argument("folder", type=_PLACE)
def check(folder: Path) -> None:
    """Check that a backup is whole and ours: 0 it is, 2 it is not."""
    from domain import catalogue
    from orchestration import backups

    settings = Settings.from_environment()
    said = backups.check(settings, folder).said
    content = said["content"]
    click.echo(catalogue.words("backup", settings.language)["whole"].format(**content))
