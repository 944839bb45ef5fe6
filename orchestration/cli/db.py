"""``bulk-orders db``: the database of DATABASE_URL, or our own."""

from __future__ import annotations

from contextlib import ExitStack

import click

from domain import catalogue
from orchestration.settings import Settings


@click.group(name="db")
def command() -> None:
    """Look after the database."""


@command.command()
def upgrade() -> None:
    """Bring the database to the newest schema. Running it again does nothing."""
    from orchestration.local_services import prepared_database

    settings = Settings.from_environment()
    with ExitStack() as held:
        prepared_database(settings, held)
    click.echo(catalogue.words("db", settings.language)["newest"])
