"""The repair file as text: encoding, delimiter, line ends and the octets of untouched cells are those that came.

Only what a spreadsheet would run is written otherwise, with an apostrophe before it. What came as a workbook becomes
UTF-8 with its mark, commas and CRLF, which every Excel opens.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from assets.batch_report.repair_sheet import RepairSheet
from assets.validated_csv.reading import japanese
from assets.validated_csv.reading.dialect import split_lines
from assets.validated_csv.reading.encodings import (
    ISO_2022_JP,
    UTF_8,
    UTF_16_BE,
    UTF_16_LE,
    WINDOWS_1252,
    decoded,
)
from assets.validated_csv.reading.originals import encode, original_beginning, original_cells, original_records
from assets.validated_csv.reading.taken import Taken, text_as_taken
from domain import repair
from domain.errors import FileRefused
from resources.regular_files import digest

_MARKS = {UTF_8: codecs.BOM_UTF8, UTF_16_LE: codecs.BOM_UTF16_LE, UTF_16_BE: codecs.BOM_UTF16_BE}
_FOR_EXCEL = Taken(kind="csv", header_row=1, encoding=UTF_8, marked=True, delimiter=",")


def repair_octets(sheet: RepairSheet, source: Path | None) -> Iterator[bytes]:
    """The file, piece by piece. ``source`` is the archived file of the batch.

    Where that is gone or is another, all cells are encoded anew: they are kept with the batch too.
    """
    taken = _taken(sheet)
    if taken is None or source is None or not _is_the_one_that_came(source, sheet.batch.file_sha256):
        return _made_anew(sheet, taken or _FOR_EXCEL)
    return _as_it_came(sheet, taken, source)


def _is_the_one_that_came(source: Path, sha256: bytes) -> bool:
    try:
        return digest(source) == sha256
    except FileRefused:
        return False


def _taken(sheet: RepairSheet) -> Taken | None:
    """How the file was read, where it was text."""
    return text_as_taken(sheet.record)


def _languages(taken: Taken) -> tuple[str, ...]:
    """Japanese first, where the file can hold it; one of plain ASCII stays so, whatever opens it."""
    without = taken.encoding == WINDOWS_1252 or taken.encoding_reason == "READ-ENCODING-ASCII"
    return ("en",) if without else ("ja", "en")


# -- the client's own octets ------------------------------------------------------------------------------------------


def _as_it_came(sheet: RepairSheet, taken: Taken, source: Path) -> Iterator[bytes]:
    lines = [row.line for row in sheet.rows]
    records = original_records(source, taken, [taken.header_row, *lines])
    _, header = next(records)
    beginning = original_beginning(source, taken)
    above = beginning[: len(beginning) - len(header)]
    mark = _MARKS[taken.encoding] if taken.marked and not above else b""
    languages = _languages(taken)
    own = sheet.record.get("repair")
    writer = _RecordWriter(taken, own["columns"] if own is not None else None)
    yield above + mark
    yield writer.written(header.removeprefix(mark), sheet.client_header(), repair.added_columns(languages))
    for row, (_, record) in zip(sheet.rows, records, strict=True):
        yield writer.written(record, sheet.client_cells(row), sheet.added_cells(row, languages))


class _RecordWriter:
    """Writes records of one file. ``positions`` are those of the client's columns in it, where it has others too."""

    def __init__(self, taken: Taken, positions: Sequence[int] | None) -> None:
        self._taken, self._positions = taken, positions
        self._delimiter = taken.delimiter.encode(taken.encoding)

    def written(self, record: bytes, cells: Sequence[str], added: Sequence[str]) -> bytes:
        """The record with these cells, in the octets of ``record`` wherever these say the same, and its line end."""
        pieces = original_cells(record, self._taken)
        end = record[len(self._delimiter.join(pieces)) :]
        texts = self._texts(record)
        own = [self._cell(cell, at, pieces, texts) for at, cell in enumerate(cells)]
        return self._delimiter.join([*own, *map(self._encoded, added)]) + end

    def _cell(self, cell: str, at: int, pieces: Sequence[bytes], texts: Sequence[str]) -> bytes:
        if self._positions is not None:
            at = self._positions[at] if at < len(self._positions) else len(pieces)
        if len(pieces) == len(texts) and at < len(pieces) and texts[at] == cell and self._is_whole(pieces[at]):
            return pieces[at]
        return self._encoded(cell)

    def _texts(self, record: bytes) -> list[str]:
        """What the record says on its own; nothing, where that cannot be told without what stood before it."""
        try:
            if self._taken.encoding == ISO_2022_JP:
                text = japanese.Iso2022Jp().decode(record, final=True)
            else:
                text = decoded(record, self._taken.encoding)
            return next(csv.reader(split_lines(text), strict=True, delimiter=self._taken.delimiter))
        except (UnicodeDecodeError, csv.Error, StopIteration):
            return []

    def _is_whole(self, piece: bytes) -> bool:
        """Whether what follows is read as if it stood alone: some systems leave JIS shifted in at the end of a line."""
        if self._taken.encoding != ISO_2022_JP:
            return True
        shifts = japanese.SHIFTS.findall(piece)
        return not shifts or shifts[-1] == japanese.ASCII

    def _encoded(self, cell: str) -> bytes:
        return encode(_quoted(cell, self._taken.delimiter), self._taken.encoding)


def _quoted(cell: str, delimiter: str) -> str:
    if not any(sign in cell for sign in (delimiter, '"', "\r", "\n")):
        return cell
    return '"' + cell.replace('"', '""') + '"'


# -- made anew --------------------------------------------------------------------------------------------------------


def _made_anew(sheet: RepairSheet, taken: Taken) -> Iterator[bytes]:
    """At the same row as in the file that came, where the client's profile says at which."""
    above = (sheet.record.get("profile") or {}).get("header_row", 1) - 1
    languages = _languages(taken)
    yield _MARKS[taken.encoding] if taken.marked else b""
    yield encode("\r\n" * above, taken.encoding)
    header = [*sheet.client_header(), *repair.added_columns(languages)]
    yield encode(_line(header, taken.delimiter), taken.encoding)
    for row in sheet.rows:
        cells = [*sheet.client_cells(row), *sheet.added_cells(row, languages)]
        yield encode(_line(cells, taken.delimiter), taken.encoding)


def _line(cells: Sequence[str], delimiter: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerow(cells)
    return text.getvalue()
