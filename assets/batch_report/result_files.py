"""The files a batch leaves for people: succeeded, failed, not processed, the rejected rows, what was read and changed.

The three result files together hold every row of the client's file exactly once (R-34). Each row stands as it came, its
columns in their order, followed by what became of it. Where cells were read as something else than is written, such as
``¥1,000`` as 1000, a list shows each of them: original, read as, rule. Of a repaired file another list shows what was
changed in it: before and after. All of them hold the customer's own data: only their owner can read them (0600).
Written under another name first, so that a file that exists is complete.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Any

from assets.batch_report.faults import SEPARATOR, ShownFault, fault_cells, name_in_file, shown_faults
from assets.batch_report.private_files import PrivateFile, leave_nothing
from domain import catalogue
from domain.cells import CellReader
from domain.formulas import harmless
from domain.states import EffectState, RowState
from domain.values.reading import code_of
from resources.database.import_rows import RowOutcome
from resources.database.repairs import Repairable

ERROR_REPORT = "errors"
READINGS = "readings"
CHANGES = "changes"

_LANGUAGES = ("ja", "en")
_FAULT_COLUMNS = ("line", "column", "code", "message", "remedy", "message_en", "remedy_en")
_READING_COLUMNS = ("line", "import_row_number", "column", "original", "read_as", "rule", "message", "message_en")
_CHANGE_COLUMNS = ("line", "import_row_number", "original_line", "original_row_number", "column", "before", "after")
_RESULT_COLUMNS = (
    "import_row_number",
    "order_id",
    "payment_state",
    "payment_id",
    "notification_state",
    "notification_id",
    "original_line",
    "original_row_number",
    "repaired_by",
)

Links = Mapping[int, Repairable]
"""Rows that repair another or were repaired, by their number."""

Change = tuple[int, int, int, int, str, str, str]
"""One cell of a repaired file, as ``_CHANGE_COLUMNS`` say."""


class ResultFile(StrEnum):
    """Where a row belongs, by what became of it."""

    SUCCEEDED = "succeeded"  # paid, and its mail sent
    FAILED = "failed"  # rejected, declined, refused, or a person has to decide
    NOT_PROCESSED = "not_processed"  # not finished yet, or never to be: the batch is paused, running or was cancelled


def result_file_of(row: RowOutcome) -> ResultFile:
    """The one file that a row goes to."""
    effects = (row.payment_state, row.notification_state)
    if row.state is RowState.REJECTED or EffectState.REJECTED in effects or EffectState.REVIEW in effects:
        return ResultFile.FAILED
    if effects == (EffectState.DONE, EffectState.DONE):
        return ResultFile.SUCCEEDED
    return ResultFile.NOT_PROCESSED


def write_result_files(
    folder: Path,
    header: Sequence[str],
    rows: Iterable[tuple[RowOutcome, list[str]]],
    reader: CellReader,
    links: Links,
) -> dict[str, int]:
    """Write the files into ``folder``, which is there, from (outcome, opened cells); rows per result file.

    ``errors.csv`` holds the rows rejected at validation only; they are in ``failed.csv`` too. ``readings.csv`` is there
    only when a cell was read as something else than is written.
    """
    written = dict.fromkeys((file.value for file in ResultFile), 0)
    with ExitStack() as open_files:
        writers = {name: _Writer(folder / f"{name}.csv", open_files) for name in (*written, ERROR_REPORT)}
        for name, writer in writers.items():
            writer.write([*header, *_FAULT_COLUMNS, *(() if name == ERROR_REPORT else _RESULT_COLUMNS)])
        readings: _Writer | None = None
        for outcome, opened in rows:
            name = result_file_of(outcome).value
            faults = [outcome.line_number, *fault_cells(_faults(outcome, header, reader), _LANGUAGES)]
            cells = _fitted(opened, len(header))
            writers[name].write([*cells, *faults, *_results(outcome), *_origin(links.get(outcome.import_row_number))])
            written[name] += 1
            if outcome.readings:
                readings = readings or _list_file(folder / f"{READINGS}.csv", open_files, _READING_COLUMNS)
                for line in _readings(outcome, opened, header, reader):
                    readings.write(line)
            if outcome.state is RowState.REJECTED:
                writers[ERROR_REPORT].write([*cells, *faults])
        for writer in (*writers.values(), *filter(None, [readings])):
            writer.finish()
    if readings is None:
        leave_nothing(folder / f"{READINGS}.csv")
    return written


def write_changes(folder: Path, changes: Iterable[Change] | None) -> None:
    """Write the list of what was changed in a repaired file; None: it is none, and has no such list."""
    if changes is None:
        leave_nothing(folder / f"{CHANGES}.csv")
        return
    with ExitStack() as open_files:
        file = _list_file(folder / f"{CHANGES}.csv", open_files, _CHANGE_COLUMNS)
        for change in changes:
            file.write(change)
        file.finish()


class _Writer:
    """A CSV file that Excel opens as it is meant: UTF-8 with its mark, CRLF, no cell that runs as a formula."""

    def __init__(self, path: Path, open_files: ExitStack) -> None:
        self._file = open_files.enter_context(PrivateFile(path))
        text = io.TextIOWrapper(self._file.octets, encoding="utf-8-sig", newline="", write_through=True)
        self._text = open_files.enter_context(text)
        self._csv = csv.writer(self._text)

    def write(self, cells: Sequence[Any]) -> None:
        self._csv.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])

    def finish(self) -> None:
        self._text.flush()
        self._file.finish()


def _fitted(cells: list[str], width: int) -> list[str]:
    """As many cells as the header has: what came beyond is put into the last one rather than lost."""
    if len(cells) <= width:
        return cells + [""] * (width - len(cells))
    return [*cells[: width - 1], ",".join(cells[width - 1 :])]


def _faults(row: RowOutcome, header: Sequence[str], reader: CellReader) -> list[ShownFault]:
    reasons = [ShownFault("", code, {}) for code in (row.payment_reason, row.notification_reason) if code]
    return shown_faults(row.issues, header, reader) + reasons


def _list_file(path: Path, open_files: ExitStack, columns: Sequence[str]) -> _Writer:
    writer = _Writer(path, open_files)
    writer.write(columns)
    return writer


def _readings(row: RowOutcome, cells: list[str], header: Sequence[str], reader: CellReader) -> Iterator[list[Any]]:
    """Each cell of the row that was read otherwise: its place, as it is written, as it was read, and why."""
    for reading in row.readings:
        codes = [code_of(rule) for rule in reading.rules]
        yield [
            row.line_number,
            row.import_row_number,
            name_in_file(reading.column, header, reader),
            reader.written(reading.column, cells),
            reader.value(reading.column, cells),
            SEPARATOR.join(codes),
            *(SEPARATOR.join(catalogue.fill(code, {}, language).message for code in codes) for language in _LANGUAGES),
        ]


def _results(row: RowOutcome) -> list[Any]:
    return [
        row.import_row_number,
        row.order_id,
        row.payment_state,
        row.payment_id,
        row.notification_state,
        row.notification_id,
    ]


def _origin(link: Repairable | None) -> list[Any]:
    """Where a repaired row stands in the client's own file, and with which batch a rejected one was taken."""
    if link is None:
        return [None, None, None]
    own = (link.root_line, link.root_row_number) if link.is_repair else (None, None)
    return [*own, None if link.accepted else link.repaired_by]
