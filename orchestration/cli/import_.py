"""``bulk-orders import FILE...``: files through the whole pipeline, with progress and a summary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from domain import catalogue
from domain.errors import BatchPaused, BulkOrdersError
from domain.identity import DEFAULT_CLIENT
from orchestration.cli.failures import say
from orchestration.cli.reporting import reporter
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.importing import Importer


@click.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--client", default=DEFAULT_CLIENT, metavar="NAME", help="Whose orders these are.")
@click.option("--group", default=None, metavar="NAME", help="Name that belongs to several batches.")
@click.option("--dry-run", is_flag=True, help="Only check the file and forecast the batch; nothing is written.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file on standard output.")
def command(files: tuple[Path, ...], client: str, group: str | None, dry_run: bool, as_json: bool) -> int:
    """Take files of orders through the whole pipeline.

    What is not running (database, sandbox) is started and stopped again; a running `up` is used as it is. A file whose
    batch is unfinished goes on with that batch; a finished one changes nothing.
    """
    from orchestration.importing import Importer
    from orchestration.local_services import local_services

    settings = Settings.from_environment()
    with local_services(settings, reporter(quiet=as_json)) as services:
        importer = Importer(services)
        work = Work(importer, client, group, settings.language, as_json)
        try:
            codes = [_dry_run(work, path) for path in files] if dry_run else list(_import_all(work, files))
        finally:
            importer.close()
    return max(codes, key=_SEVERITY.index)


_SEVERITY = (0, 1, 3, 2)
"""Exit codes from best to worst: of several files the worst decides."""


@dataclass(frozen=True, slots=True)
class Work:
    """What all files of one command have in common."""

    importer: Importer
    client: str
    group: str | None
    language: str
    as_json: bool


def _import_all(work: Work, files: Sequence[Path]) -> Iterator[int]:
    """The exit code of each; whoever interrupts one wants none of the others."""
    for path in files:
        try:
            yield _import(work, path)
        except BatchPaused as interrupted:
            yield _refused(work, path, interrupted)
            return


def _import(work: Work, path: Path) -> int:
    from orchestration import summary
    from orchestration.watching import watcher

    try:
        with watcher(work.language, quiet=work.as_json) as shown:
            imported = work.importer.import_file(path, work.client, work.group, shown)
    except BatchPaused:
        raise
    except BulkOrdersError as error:
        return _refused(work, path, error)
    report_dir = str(imported.report_dir) if (imported.report_dir / "succeeded.csv").exists() else None
    told = summary.as_json(imported.books, report_dir, imported.duplicate)
    text = _json(told) if work.as_json else summary.as_text(told, imported.books, work.language)
    click.echo(text)
    return summary.exit_code(imported.books)


def _refused(work: Work, path: Path, error: BulkOrdersError) -> int:
    from orchestration import summary

    if work.as_json:
        click.echo(_json(summary.refused_json(path.name, error)))
    return say(error, work.language, about=path.name)


def _dry_run(work: Work, path: Path) -> int:
    try:
        found = work.importer.forecast(path, work.client)
    except BulkOrdersError as error:
        return _refused(work, path, error)
    told = found.as_json()
    click.echo(_json(told) if work.as_json else _forecast_text(told, work.language))
    return found.exit_code


def _json(told: dict[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=False)


def _forecast_text(told: dict[str, Any], language: str) -> str:
    words = catalogue.words("forecast", language)
    lines = [f"{words[name]}: {_shown(told[name], language)}" for name in words if told[name] not in (None, {})]
    return "\n".join(lines)


def _shown(value: object, language: str) -> str:
    if isinstance(value, bool):
        return catalogue.words("answers", language)["needed" if value else "not_needed"]
    if isinstance(value, dict):
        return "".join(f"\n  {name}: {_shown(entry, language)}" for name, entry in value.items())
    return f"{value:,}" if isinstance(value, int | float) else str(value)
