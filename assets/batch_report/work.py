"""Write a batch's result files and its repair file, and close its books."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from assets.batch_report.private_files import PrivateFile, leave_nothing, one_writer
from assets.batch_report.repair_sheet import RepairSheet, read_repair_sheet
from assets.batch_report.result_files import Change, write_changes, write_result_files
from domain.cells import reader_of
from domain.errors import OperationRefused
from domain.repair import REPAIR, laid_out, partners
from domain.states import BatchState
from resources.batch_files import BatchFiles
from resources.database import batches, books, import_rows, personal_files, repairs
from resources.database.batches import Batch
from resources.database.books import Books
from resources.database.database import Database
from resources.database.import_rows import RowOutcome
from resources.database.personal_files import Use
from resources.encryption import Vault


@dataclass(frozen=True, slots=True)
class BatchReport:
    """The books of a batch as they were reported, and the rows in each result file."""

    books: Books
    rows_per_file: dict[str, int]
    folder: Path


def write_report(database: Database, vault: Vault, batch_id: str, folder: Path, use: Use = Use.MADE) -> BatchReport:
    """The result files of a batch as it stands now; written again, they replace those before.

    The trail is told before anybody can read them: killed in between, it tells of files that nobody has.

    Raises:
        NotFound: there is no such batch.
        KeyRefused: its rows cannot be opened.
    """

    def write(tx: Connection) -> BatchReport:
        now = books.read(tx, batch_id)
        links = repairs.linked(tx, batch_id)
        rows = _opened(tx, vault, batch_id)
        header = now.batch.source_columns or ()
        written = write_result_files(folder, header, rows, reader_of(now.batch.reading, header), links)
        is_repair = now.batch.parent_batch_id is not None
        write_changes(folder, _changes(tx, vault, now.batch, links) if is_repair else None)
        return BatchReport(now, written, folder)

    database.run(lambda tx: personal_files.note_report(tx, batch_id, use))
    with one_writer(folder):
        return database.read(write)


def write_repair_files(
    database: Database, vault: Vault, files: BatchFiles, batch_id: str, folder: Path, use: Use = Use.MADE
) -> int:
    """The rows of a batch that may be mended, as the file came and as a workbook; their number.

    Where nothing is to be repaired, or nothing any more, there are no such files. The trail is told first, as with the
    report: of whose rows.

    Raises:
        NotFound: there is no such batch.
        KeyRefused: its rows cannot be opened.
    """
    sheet = database.read(lambda tx: read_repair_sheet(tx, vault, batch_id))
    if sheet.rows:
        database.run(lambda tx: personal_files.note_repair(tx, batch_id, use, [row.number for row in sheet.rows]))
    with one_writer(folder):
        written = _write_repair_files(sheet, files.archived(batch_id), folder) if sheet.rows else set()
        for ending in _ENDINGS - written:
            leave_nothing(folder / f"{REPAIR}{ending}")
    return len(sheet.rows)


_TEXTS = frozenset({".csv", ".tsv", ".txt", ".tab"})
_WORKBOOK = ".xlsx"
_ENDINGS = _TEXTS | {_WORKBOOK}


def _text_ending(source: Path | None) -> str:
    """As that of the client's own file, where that is a text file."""
    return source.suffix if source is not None and source.suffix in _TEXTS else ".csv"


def _write_repair_files(sheet: RepairSheet, source: Path | None, folder: Path) -> set[str]:
    """The endings of those written."""
    # Imported here: what reads and writes such files is needed by few processes.
    from assets.batch_report.repair_text import repair_octets
    from assets.batch_report.repair_workbook import fits_workbook, workbook_octets

    text = _text_ending(source)
    with PrivateFile(folder / f"{REPAIR}{text}") as file:
        for octets in repair_octets(sheet, source):
            file.octets.write(octets)
        file.finish()
    if not fits_workbook(sheet):
        return {text}
    with PrivateFile(folder / f"{REPAIR}{_WORKBOOK}") as file:
        file.octets.write(workbook_octets(sheet))
        file.finish()
    return {text, _WORKBOOK}


def refresh_ancestors(database: Database, vault: Vault, files: BatchFiles, batch_id: str) -> None:
    """Write the reports anew of the batches that this one repairs: they say which rows were taken, and with which."""
    for ancestor in database.read(lambda tx: repairs.ancestors(tx, batch_id)):
        folder = files.report_dir(ancestor)
        if any(folder.iterdir()):  # else it has not come so far, and will say it itself
            write_report(database, vault, ancestor, folder)
            write_repair_files(database, vault, files, ancestor, folder)


def close_batch(database: Database, batch_id: str, reported: Books | None = None) -> Books:
    """Finish a batch whose every effect is settled: `done` when all succeeded, else `partial`. Others are left open.

    So is one of which something else was ``reported``: a person decided about a row meanwhile, and it is reported
    again. One that a person cancels ends as `cancelled`, whatever succeeded before.
    """
    with database.hold_batch(batch_id) as hold:
        return hold.run(lambda tx: _close(tx, batch_id, reported))


def _close(tx: Connection, batch_id: str, reported: Books | None) -> Books:
    batches.lock(tx, batch_id)  # the service's own word (a webhook) may plan one more mail: before this, or after
    now = books.read(tx, batch_id)
    if reported is not None and not now.tells_the_same_as(reported):
        return now
    if now.batch.state is BatchState.ORDERED and now.everything_settled:
        if now.batch.cancel_requested:
            batches.move(tx, batch_id, BatchState.CANCELLED, OperationRefused("BATCH-CANCELLED", batch=batch_id))
        else:
            batches.move(tx, batch_id, BatchState.DONE if now.everything_succeeded else BatchState.PARTIAL)
    return books.read(tx, batch_id)


def _opened(tx: Connection, vault: Vault, batch_id: str) -> Iterator[tuple[RowOutcome, list[str]]]:
    for row in import_rows.outcomes(tx, batch_id):
        cells = vault.cells_or_none(batch_id, row.import_row_number, row.cells)
        yield (replace(row, readings=()), [_ERASED]) if cells is None else (row, cells)


_ERASED = "(消去済み / erased)"
"""What stands in the first cell of a row whose person was erased; the others are empty."""


def _changes(tx: Connection, vault: Vault, batch: Batch, links: dict[int, repairs.Repairable]) -> Iterator[Change]:
    """Every cell of a repaired file that is not as it was."""
    assert batch.parent_batch_id is not None
    before_header = batches.get(tx, batch.parent_batch_id).source_columns or ()
    header = batch.source_columns or ()
    for repair, sealed in repairs.changes(tx, batch.batch_id):
        row = links[repair.import_row_number]
        after = vault.cells_or_none(batch.batch_id, repair.import_row_number, row.cells)
        before = vault.cells_or_none(batch.parent_batch_id, repair.parent_row_number, sealed)
        if after is None or before is None:  # erased
            continue
        columns = max(0, len(after) - len(header), len(before) - len(before_header))
        names, names_before = [*header, *[""] * columns], [*before_header, *[""] * columns]
        place = (row.line_number, repair.import_row_number, row.root_line, row.root_row_number)
        old = laid_out(before, len(names_before))
        for at, (cell, partner) in enumerate(
            zip(laid_out(after, len(names)), partners(names_before, names), strict=True)
        ):
            was = old[partner] if partner is not None else ""
            if was != cell:
                yield (*place, names[at].strip() or f"#{at + 1}", was, cell)
