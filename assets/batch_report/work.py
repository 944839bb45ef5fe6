"""Write a batch's result files and close its books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from assets.batch_report.result_files import write_result_files
from domain.cells import reader_of
from domain.errors import OperationRefused
from domain.states import BatchState
from resources.database import batches, books, import_rows
from resources.database.books import Books
from resources.database.database import Database
from resources.database.import_rows import RowOutcome
from resources.encryption import Vault


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The books of a batch as they were reported, and the rows in each result file."""

    books: Books
    rows_per_file: dict[str, int]
    folder: Path


def write_report(database: Database, vault: Vault, batch_id: str, folder: Path) -> BatchReport:
    """The result files of a batch as it stands now; written again, they replace those before.

    Raises:
        NotFound: there is no such batch.
        KeyRefused: its rows cannot be opened.
    """

    def write(tx: Connection) -> BatchReport:
        now = books.read(tx, batch_id)
        rows = _opened(tx, vault, batch_id)
        header = now.batch.source_columns or ()
        written = write_result_files(folder, header, rows, reader_of(now.batch.reading, header))
        return BatchReport(now, written, folder)

    return database.read(write)


def close_batch(database: Database, batch_id: str) -> Books:
    """Finish a batch whose every effect is settled: `done` when all succeeded, else `partial`. Others are left open.

    One that a person cancels ends as `cancelled`, whatever succeeded before.
    """
    with database.hold_batch(batch_id) as hold:
        return hold.run(lambda tx: _close(tx, batch_id))


def _close(tx: Connection, batch_id: str) -> Books:
    batches.lock(tx, batch_id)  # the service's own word (a webhook) may plan one more mail: before this, or after
    now = books.read(tx, batch_id)
    if now.batch.state is BatchState.ORDERED and now.everything_settled:
        if now.batch.cancel_requested:
            batches.move(tx, batch_id, BatchState.CANCELLED, OperationRefused("BATCH-CANCELLED", batch=batch_id))
        else:
            batches.move(tx, batch_id, BatchState.DONE if now.everything_succeeded else BatchState.PARTIAL)
    return books.read(tx, batch_id)


def _opened(tx: Connection, vault: Vault, batch_id: str) -> Iterator[tuple[RowOutcome, list[str]]]:
    for row in import_rows.outcomes(tx, batch_id):
        yield row, vault.open_cells(batch_id, row.import_row_number, row.cells)
