"""``bulk-orders report BATCH -o DIR``: the result files of a batch as it stands now."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import click

from domain.repair import REPAIR
from orchestration.settings import Settings


@click.command(name="report")
@click.argument("batch")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder to write the files to; made if it is missing. Those of an earlier report in it are replaced.",
)
def command(batch: str, output: Path) -> int:
    """Write succeeded.csv, failed.csv, not_processed.csv, errors.csv and the repair file of a batch."""
    from assets.batch_report.work import write_repair_files, write_report
    from orchestration import summary
    from orchestration.bindings import admitted_vault, open_batch_files
    from orchestration.cli.connected import connected_database
    from resources.database.personal_files import Use

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        vault = admitted_vault(settings, database)
        written = write_report(database, vault, batch, output, Use.FETCHED)
        to_repair = write_repair_files(database, vault, open_batch_files(settings), batch, output, Use.FETCHED)
    for name, rows in written.rows_per_file.items():
        click.echo(f"{output / name}.csv   {rows:,}")
    for path in sorted(output.glob(f"{REPAIR}.*")):
        click.echo(f"{path}   {to_repair:,}")
    return summary.exit_code(written.books)
