"""``bulk-orders db``: the database of DATABASE_URL, or our own."""

from __future__ import annotations

from contextlib import ExitStack

import click

from orchestration.settings import Settings


@click.group(name="db")
def command() -> None:
    """Look after the database."""


@command.command()
def upgrade() -> None:
    """Bring the database to the newest schema. Running it again does nothing."""
    from orchestration import dagster_home
    from orchestration.local_services import database
    from resources.database import migrate

    with ExitStack() as held:
        url = database(Settings.from_environment(), held)
        migrate.upgrade(url)
        dagster_home.make_schema(url)
    click.echo("The database has the newest schema.")
