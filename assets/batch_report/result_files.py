"""The files a batch leaves for people: succeeded, failed, not processed, the rejected rows to repair, what was read.

The three result files together hold every row of the client's file exactly once (R-34). Each row stands as it came, its
columns in their order, followed by what became of it. Where cells were read as something else than is written, such as
``¥1,000`` as 1000, a list shows each of them: original, read as, rule. All of them hold the customer's own data: only
their owner can read them (0600). Written under another name first, so that a file that exists is complete.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from domain import catalogue
from domain.cells import CellReader
from domain.states import EffectState, RowState
from domain.values.reading import code_of
from resources.database.import_rows import RowOutcome

ERROR_REPORT = "errors"
READINGS = "readings"
SEPARATOR = "; "

_FAULT_COLUMNS = ("line", "column", "code", "message", "remedy", "message_en", "remedy_en")
_READING_COLUMNS = ("line", "import_row_number", "column", "original", "read_as", "rule", "message", "message_en")
_RESULT_COLUMNS = (
    "import_row_number",
    "order_id",
    "payment_state",
    "payment_id",
    "notification_state",
    "notification_id",
)
# Spreadsheets run a cell that begins so as a formula, also in its full-width form.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


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
    folder: Path, header: Sequence[str], rows: Iterable[tuple[RowOutcome, list[str]]], reader: CellReader
) -> dict[str, int]:
    """Write the files into ``folder`` from (outcome, opened cells); rows per result file.

    ``errors.csv`` holds the rows rejected at validation only; they are in ``failed.csv`` too. ``readings.csv`` is there
    only when a cell was read as something else than is written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = dict.fromkeys((file.value for file in ResultFile), 0)
    with ExitStack() as open_files:
        writers = {name: _Writer(folder / f"{name}.csv", open_files) for name in (*written, ERROR_REPORT)}
        for name, writer in writers.items():
            writer.write([*header, *_FAULT_COLUMNS, *(() if name == ERROR_REPORT else _RESULT_COLUMNS)])
        readings: _Writer | None = None
        for outcome, opened in rows:
            name = result_file_of(outcome).value
            faults = _faults(outcome, header, reader)
            cells = _fitted(opened, len(header))
            writers[name].write([*cells, *faults, *_results(outcome)])
            written[name] += 1
            if outcome.readings:
                readings = readings or _readings_file(folder, open_files)
                for line in _readings(outcome, opened, header, reader):
                    readings.write(line)
            if outcome.state is RowState.REJECTED:
                writers[ERROR_REPORT].write([*cells, *faults])
        for writer in (*writers.values(), *filter(None, [readings])):
            writer.finish()
    return written


class _Writer:
    """A CSV file that Excel opens as it is meant: UTF-8 with its mark, CRLF, no cell that runs as a formula."""

    def __init__(self, path: Path, open_files: ExitStack) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.part")
        self._draft.unlink(missing_ok=True)
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: IO[str] = open_files.enter_context(os.fdopen(descriptor, "w", encoding="utf-8-sig", newline=""))
        self._csv = csv.writer(self._file)

    def write(self, cells: Sequence[Any]) -> None:
        self._csv.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._draft.replace(self._path)


def harmless(cell: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet would run it as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell


def _fitted(cells: list[str], width: int) -> list[str]:
    """As many cells as the header has: what came beyond is put into the last one rather than lost."""
    if len(cells) <= width:
        return cells + [""] * (width - len(cells))
    return [*cells[: width - 1], ",".join(cells[width - 1 :])]


def _faults(row: RowOutcome, header: Sequence[str], reader: CellReader) -> list[Any]:
    """line, column, code, message and remedy in Japanese, then in English; several faults stand in one cell."""
    found = [(_in_file(issue.column, header, reader), issue.code, dict(issue.facts)) for issue in row.issues]
    found += [("", code, {}) for code in (row.payment_reason, row.notification_reason) if code]
    texts = {language: [catalogue.fill(code, facts, language) for _, code, facts in found] for language in ("ja", "en")}
    return [
        row.line_number,
        SEPARATOR.join(column for column, _, _ in found),
        SEPARATOR.join(code for _, code, _ in found),
        *(
            SEPARATOR.join(part)
            for language in ("ja", "en")
            for part in ([text.message for text in texts[language]], [text.remedy for text in texts[language]])
        ),
    ]


def _readings_file(folder: Path, open_files: ExitStack) -> _Writer:
    writer = _Writer(folder / f"{READINGS}.csv", open_files)
    writer.write(_READING_COLUMNS)
    return writer


def _readings(row: RowOutcome, cells: list[str], header: Sequence[str], reader: CellReader) -> Iterator[list[Any]]:
    """Each cell of the row that was read otherwise: its place, as it is written, as it was read, and why."""
    for reading in row.readings:
        codes = [code_of(rule) for rule in reading.rules]
        yield [
            row.line_number,
            row.import_row_number,
            _in_file(reading.column, header, reader),
            reader.written(reading.column, cells),
            reader.value(reading.column, cells),
            SEPARATOR.join(codes),
            *(
                SEPARATOR.join(catalogue.fill(code, {}, language).message for code in codes)
                for language in ("ja", "en")
            ),
        ]


def _in_file(column: str, header: Sequence[str], reader: CellReader) -> str:
    """What the file itself calls one of our columns; our own word where it has none."""
    return " + ".join(header[at].strip() for at in reader.positions.get(column, ())) or column


def _results(row: RowOutcome) -> list[Any]:
    return [
        row.import_row_number,
        row.order_id,
        row.payment_state,
        row.payment_id,
        row.notification_state,
        row.notification_id,
    ]
