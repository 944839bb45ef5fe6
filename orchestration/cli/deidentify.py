"""``bulk-orders deidentify BATCH... -o DIR``: batches as files for test systems, with nobody in them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from orchestration.settings import Settings


@click.command(name="deidentify")
@click.argument("batches", nargs=-1, required=True, metavar="BATCH...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder to write the files to, outside this installation; made if it is missing.",
)
@click.option(
    "--amounts",
    type=click.Choice(["keep", "vary"]),
    default="keep",
    show_default=True,
    help="The yen of each row: as it is, or up to ten percent more or less.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def command(batches: tuple[str, ...], output: Path, amounts: str, as_json: bool) -> None:
    """Write the accepted rows of batches with other names, addresses, days and numbers, for a test system.

    The same person is the same in all files of one call. Free text and columns that are none of ours are left out. Only
    an installation with BULK_ORDERS_TEST_SYSTEM=1 imports such a file, and never the one that it is from.
    """
    from orchestration import deidentifying
    from orchestration.bindings import admitted_vault
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    deidentifying.refuse_our_folders(output, [settings.home, settings.watched_dir])
    today = datetime.now(ZoneInfo("Asia/Tokyo")).date()
    with ExitStack() as held:
        database = connected_database(settings, held)
        vault = admitted_vault(settings, database)
        wanted = deidentifying.Amounts(amounts)
        written = deidentifying.deidentify(database, vault, list(dict.fromkeys(batches)), output, wanted, today)
    if as_json:
        told = [{"batch": w.batch_id, "path": str(w.path), "rows": w.rows, "left_out": w.left_out} for w in written]
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    for file in written:
        click.echo(f"{file.path}   {file.rows:,} rows, {file.left_out:,} left out")
