"""``bulk-orders keys``: what each master key for personal data is used for; another one; an old one away."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict

import click

from domain import catalogue
from orchestration.settings import Settings


@click.group(name="keys")
def command() -> None:
    """Rotate the keys for personal data. Orders go on meanwhile."""


@command.command("status")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def status(as_json: bool) -> None:
    """Every key by its id, and how much is sealed with it; never a key itself."""
    from orchestration import key_rotation
    from orchestration.bindings import admitted_vault, key_sheets
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        found = key_rotation.status(database, admitted_vault(settings, database), key_sheets(settings))
    if as_json:
        click.echo(json.dumps([asdict(use) for use in found]))
        return
    words = catalogue.words("keys", settings.language)
    for use in found:
        role = words["newest" if use.newest else "older"]
        click.echo(words["line"].format(key_id=use.key_id, role=role, sheets=use.sheets, rows=use.rows))


@command.command("rotate")
@click.option("--new", is_flag=True, help="Make a new key in the key file first.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def rotate(new: bool, as_json: bool) -> None:
    """Seal everything with the newest key, a little at a time. Stopped, it is run again and does the rest.

    Keys that come from the environment or from a command: put the new one before the others there, then run this.
    """
    from orchestration import key_rotation
    from orchestration.bindings import admitted_vault, key_sheets, key_source
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    sheets = key_sheets(settings)
    with ExitStack() as held:
        database = connected_database(settings, held)
        vault = admitted_vault(settings, database)  # what is there must fit before anything new is made
        if new:
            key_source(settings).make_newest()
            vault = admitted_vault(settings, database)
        done = key_rotation.rotate(database, vault, sheets)
        unused = [
            use.key_id
            for use in key_rotation.status(database, vault, sheets)
            if not (use.newest or use.sheets or use.rows)
        ]
    if as_json:
        click.echo(json.dumps({"key_id": vault.key_id, "sheets": done.sheets, "rows": done.rows, "unused": unused}))
        return
    words = catalogue.words("keys", settings.language)
    click.echo(words["rotated"].format(sheets=done.sheets, rows=done.rows, key_id=vault.key_id))
    for key_id in unused:
        click.echo(words["unused"].format(key_id=key_id))


@command.command("retire")
@click.argument("key_id")
def retire(key_id: str) -> None:
    """Forget a key with which nothing is sealed any more. Copies of it elsewhere are yours to remove."""
    from orchestration import key_rotation
    from orchestration.bindings import admitted_vault, key_sheets, key_source
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        vault = admitted_vault(settings, database)
        key_rotation.retire(database, vault, key_source(settings), key_sheets(settings), key_id)
    click.echo(catalogue.words("keys", settings.language)["retired"].format(key_id=key_id))
