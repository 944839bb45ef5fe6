"""What the commands have in common that act on a batch and then work on it, as `import` does with a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from orchestration.cli.reporting import reporter
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.importing import Imported
    from resources.database.database import Database


def act_and_go_on(settings: Settings, batch: str, act: Callable[[Database], object], *, as_json: bool) -> int:
    """Do what the person asked for, then work on the batch: here, or by a running `up`. The batch's exit code."""
    from orchestration import summary
    from orchestration.importing import Importer
    from orchestration.local_services import local_services
    from orchestration.watching import watcher

    with local_services(settings, reporter(quiet=as_json)) as services:
        importer = Importer(services)
        try:
            act(importer.database)
            with watcher(settings.language, quiet=as_json) as shown:
                found = importer.go_on(batch, shown)
        finally:
            importer.close()
    show(found, settings.language, as_json=as_json)
    return summary.exit_code(found.books)


def show(found: Imported, language: str, *, as_json: bool) -> None:
    """The summary of a batch, the same object and lines as of `import`."""
    from orchestration import summary

    report_dir = str(found.report_dir) if (found.report_dir / "succeeded.csv").exists() else None
    told = summary.as_json(found.books, report_dir, found.duplicate)
    text = json.dumps(told, ensure_ascii=False) if as_json else summary.as_text(told, found.books, language)
    click.echo(text)
