"""``bulk-orders cancel BATCH``: a batch ends; what was never sent is cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from domain import catalogue
from orchestration.cli.acting import act_and_go_on
from orchestration.settings import Settings

if TYPE_CHECKING:
    from resources.database.database import Database


@click.command(name="cancel")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(batch: str, as_json: bool) -> int:
    """End a batch for good: what was never sent is cancelled.

    What is in doubt is looked up first and never sent again; what is paid stays paid and gets its mail. A batch that
    is being worked on is paused first.
    """
    from orchestration import operations

    settings = Settings.from_environment()

    def act(database: Database) -> None:
        cancelled = operations.cancel(database, batch)
        if not as_json:
            line = catalogue.words("cancel", settings.language)["line"]
            click.echo(line.format(payments=cancelled.effects, jpy=cancelled.amount_jpy), err=True)

    return act_and_go_on(settings, batch, act, as_json=as_json)
