"""``bulk-orders import FILE...``: files through the whole pipeline, with progress and a summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from domain.errors import BulkOrdersError
from domain.identity import DEFAULT_CLIENT
from orchestration.cli.failures import say
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.importing import Importer
    from orchestration.watching import Watcher


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
    from orchestration.watching import watcher

    settings = Settings.from_environment()
    with local_services(settings) as services:
        importer = Importer(services)
        try:
            if dry_run:
                codes = [_dry_run(importer, path, client, settings.language, as_json) for path in files]
                return max(codes, key=_SEVERITY.index)
            with watcher(settings.language, quiet=as_json) as shown:
                codes = [_import(importer, path, client, group, shown, settings.language, as_json) for path in files]
            return max(codes, key=_SEVERITY.index)
        finally:
            importer.close()


_SEVERITY = (0, 1, 3, 2)
"""Exit codes from best to worst: of several files the worst decides."""


def _import(
    importer: Importer, path: Path, client: str, group: str | None, shown: Watcher, language: str, as_json: bool
) -> int:
    from orchestration import summary

    try:
        imported = importer.import_file(path, client, group, shown)
    except BulkOrdersError as error:
        return say(error, language, about=path.name)
    report_dir = str(imported.report_dir) if (imported.report_dir / "succeeded.csv").exists() else None
    told = summary.as_json(imported.books, report_dir, imported.duplicate)
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else summary.as_text(told, imported.books, language))
    return summary.exit_code(imported.books)


def _dry_run(importer: Importer, path: Path, client: str, language: str, as_json: bool) -> int:
    try:
        found = importer.forecast(path, client)
    except BulkOrdersError as error:
        return say(error, language, about=path.name)
    told = found.as_json()
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else _forecast_text(told, language))
    return found.exit_code


def _forecast_text(told: dict[str, Any], language: str) -> str:
    words = _FORECAST_WORDS[language]
    return "\n".join(
        f"{words[name]}: {value:,}" if isinstance(value, int | float) else f"{words[name]}: {value}"
        for name, value in told.items()
        if name in words and value not in (None, {})
    )


_FORECAST_WORDS = {
    "ja": {
        "file_rows": "ファイルの行数",
        "accepted_rows": "受付できる行",
        "rejected_rows": "エラーの行",
        "amount_jpy": "金額合計(円)",
        "faults": "エラーの内訳",
        "payment_calls": "支払い件数",
        "mail_calls": "メール件数",
        "least_seconds": "最短の所要時間(秒)",
        "duplicate_of": "取込済みのバッチ",
    },
    "en": {
        "file_rows": "Rows of the file",
        "accepted_rows": "Rows that would be taken",
        "rejected_rows": "Rows that would be rejected",
        "amount_jpy": "Amount (yen)",
        "faults": "Faults",
        "payment_calls": "Payments",
        "mail_calls": "Mails",
        "least_seconds": "Least time (seconds)",
        "duplicate_of": "Imported before as",
    },
}
