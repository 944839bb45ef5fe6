"""``bulk-orders status [BATCH]``: the newest batches, or how far one is (R-40)."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from domain.progress import StageProgress
from orchestration.settings import Settings

if TYPE_CHECKING:
    from resources.database.books import Books


@click.command(name="status")
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def command(batch: str | None, as_json: bool) -> None:
    """Show the newest batches, or one batch with processed and total per stage, amounts and time left."""
    from orchestration.cli.connected import connected_database
    from resources.database import batches, books

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        with database.snapshot() as tx:
            names = [batch] if batch else [found.batch_id for found in batches.newest(tx)]
            found = [books.read(tx, name) for name in names]
        if batch:
            _show_one(found[0], settings, as_json)
        else:
            _show_all(found, settings.language, as_json)


def _show_one(found: Books, settings: Settings, as_json: bool) -> None:
    from orchestration import summary

    folder = settings.home / "batches" / found.batch.batch_id / "report"
    told = summary.as_json(found, str(folder) if (folder / "succeeded.csv").exists() else None, duplicate=False)
    stages = found.progress()
    if as_json:
        click.echo(json.dumps(told | {"progress": [_stage_json(stage) for stage in stages]}, ensure_ascii=False))
        return
    click.echo(summary.as_text(told, found, settings.language))
    for stage in stages:
        click.echo(f"  {stage.percent:5.1f} %  {summary.stage_text(stage, settings.language)}")


def _show_all(found: list[Books], language: str, as_json: bool) -> None:
    from orchestration import summary

    if as_json:
        click.echo(json.dumps([summary.as_json(one, None, duplicate=False) for one in found], ensure_ascii=False))
        return
    for one in found:
        click.echo(summary.as_line(one, language))


def _stage_json(stage: StageProgress) -> dict[str, object]:
    left = stage.seconds_left
    return {
        "stage": stage.stage,
        "processed": stage.processed,
        "total": stage.total,
        "seconds_left": None if left is None else round(left, 1),
    }
