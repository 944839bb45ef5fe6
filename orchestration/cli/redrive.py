"""``bulk-orders redrive BATCH``: what failed and may be tried again, is."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from domain import catalogue
from orchestration.cli.acting import act_and_go_on
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.operations import Redriven
    from resources.database.database import Database


@click.command(name="redrive")
@click.argument("batch")
@click.option("--dry-run", is_flag=True, help="Only say what would be tried again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(batch: str, dry_run: bool, as_json: bool) -> int:
    """Try again what failed and may be tried again, then work on the batch.

    What is in doubt stays in review: see `bulk-orders review`.
    """
    from orchestration import operations

    settings = Settings.from_environment()
    if dry_run:
        _show(batch, _forecast(settings, batch), settings.language, as_json)
        return 0

    def act(database: Database) -> None:
        redriven = operations.redrive(database, batch)
        if not as_json:
            click.echo(_text(redriven, settings.language), err=True)

    return act_and_go_on(settings, batch, act, as_json=as_json)


def _forecast(settings: Settings, batch: str) -> Redriven:
    from orchestration import operations
    from orchestration.cli.connected import connected_database

    with ExitStack() as held:
        return operations.redrive(connected_database(settings, held), batch, dry_run=True)


def _show(batch: str, found: Redriven, language: str, as_json: bool) -> None:
    counted = {
        name: {"count": part.effects, "amount_jpy": part.amount_jpy}
        for name, part in (("payments", found.payments), ("notifications", found.notifications))
    }
    told = {"batch_id": batch, "dry_run": True, "redrive": counted}
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else _text(found, language))


def _text(found: Redriven, language: str) -> str:
    return catalogue.words("redrive", language)["line"].format(
        payments=found.payments.effects, jpy=found.payments.amount_jpy, mails=found.notifications.effects
    )
