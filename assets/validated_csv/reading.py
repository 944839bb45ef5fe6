"""An order file becomes a table of raw cells, exactly as they came: nothing is trimmed, shifted, guessed or dropped.

UTF-8 (with or without BOM), comma separated, quotes as in RFC 4180. What cannot be read for certain refuses the whole
file (``FileRefused``); what concerns one row becomes an issue of that row, and the other rows go on. Rows without any
content are no rows. Every row knows the physical line at which it begins, header and blank lines counted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.validated_csv.column_reading import read_columns
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.source_table import Cells, SourceTable, cells_of_columns, cells_of_rows, column_label
from domain import columns
from domain.errors import FileRefused
from domain.issues import RowIssue
from resources.regular_files import open_regular


def read_orders_file(path: Path, limits: ReadingLimits) -> SourceTable:
    """Read the file once: by columns where that is certain, else record by record.

    Raises:
        FileRefused: with a FILE-* code; its facts are counts, line numbers and canonical column names, never cells.
    """
    data = _read_bytes(path, limits.max_bytes)
    _refuse_other_formats(data)
    return by_columns(data, limits) or by_records(data, limits)


def by_columns(data: bytes, limits: ReadingLimits) -> SourceTable | None:
    """The everyday file, 10,000 rows in 15 ms; None where only reading record by record can tell what is the matter."""
    plain = read_columns(
        data.removeprefix(_BOM),
        unwanted=_UNWANTED.pattern,
        max_rows=limits.max_rows,
        max_cell_characters=limits.max_cell_characters,
        max_line_characters=_MAX_LINE_CHARACTERS,
    )
    if plain is None:
        return None
    column_map = _mapped(plain.header, 1, limits.max_columns)
    return _source_table(data, 1, plain.header, column_map, cells_of_columns(plain.columns), plain.line_numbers, [])


def by_records(data: bytes, limits: ReadingLimits) -> SourceTable:
    """Any file, 10,000 rows in 60 ms: every refusal and every fault of a row is said here."""
    text = _decoded(data)
    lines = _lines(text)
    records = _records(lines)
    header_line, header = next(records, (0, []))
    column_map = _mapped(header, header_line, limits.max_columns)
    rows, line_numbers = _data_rows(records, limits.max_rows)
    issues = _row_faults(_Rows(header, column_map, rows, line_numbers), lines, text, limits)
    cells = cells_of_rows(rows, len(header))
    return _source_table(data, header_line, header, column_map, cells, line_numbers, issues)


def _source_table(
    data: bytes,
    header_line: int,
    header: list[str],
    column_map: dict[str, int],
    cells: Cells,
    line_numbers: list[int],
    issues: list[RowIssue],
) -> SourceTable:
    return SourceTable(
        tuple(header),
        header_line,
        column_map,
        cells,
        line_numbers,
        issues,
        hashlib.sha256(data).digest(),
        len(data),
        "utf-8-sig" if data.startswith(_BOM) else "utf-8",
    )


# -- bytes ------------------------------------------------------------------------------------------------------------


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    with open(open_regular(path), "rb") as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError:
            raise FileRefused("FILE-UNREADABLE") from None
    if len(data) > max_bytes:
        raise FileRefused("FILE-TOO-LARGE", limit_mb=max(1, max_bytes // 1_000_000))
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        raise FileRefused("FILE-EMPTY")
    return data


_MAGIC = (
    *(b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0", b"%PDF-", b"\x89PNG", b"\x1f\x8b", b"\xff\xd8\xff", b"GIF8"),
    *(b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x7fELF", b"{\\rtf", b"SQLite format 3"),
)
_BOM = b"\xef\xbb\xbf"
_UTF16_BOM = (b"\xff\xfe", b"\xfe\xff")
_ISO_2022 = re.compile(rb"\x1b[$(]")


def _refuse_other_formats(data: bytes) -> None:
    if data.startswith(_UTF16_BOM):
        raise FileRefused("FILE-ENCODING", line=1)
    if data.startswith(_MAGIC) or b"\x00" in data:
        raise FileRefused("FILE-BINARY")
    if (escape := _ISO_2022.search(data)) is not None:  # ISO-2022-JP decodes as UTF-8 without an error, into rubbish
        raise FileRefused("FILE-ENCODING", line=_line_at(data, escape.start()))


def _decoded(data: bytes) -> str:
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        raise FileRefused("FILE-ENCODING", line=_line_at(error.object, error.start)) from None


_LINE_BREAK = re.compile(rb"\r\n|\r|\n")


def _line_at(data: bytes, position: int) -> int:
    return 1 + sum(1 for _ in _LINE_BREAK.finditer(data, 0, position))


_MAX_LINE_CHARACTERS = 1_000_000


def _lines(text: str) -> list[str]:
    lines = list(io.StringIO(text, newline=""))  # splits at CR, LF and CRLF only, unlike str.splitlines
    for number, line in enumerate(lines, start=1):
        if len(line) > _MAX_LINE_CHARACTERS:
            raise FileRefused("FILE-LINE-TOO-LONG", line=number)
    return lines


# -- records ----------------------------------------------------------------------------------------------------------


def _records(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Every record that has content, with the physical line at which it begins."""
    reader = csv.reader(lines, strict=True)  # not strict, an unclosed quote swallows the rest of the file in silence
    first_line = 1
    try:
        for record in reader:
            if any(map(str.strip, record)):
                yield first_line, record
            first_line = reader.line_num + 1
    except csv.Error as error:
        # A closed quote that goes on, a quote never closed, or one that ran over the module's limit for one cell.
        too_long = reader.line_num <= first_line and "larger" in str(error)
        raise FileRefused("FILE-LINE-TOO-LONG" if too_long else "FILE-QUOTE-UNCLOSED", line=first_line) from None


def _data_rows(records: Iterator[tuple[int, list[str]]], max_rows: int) -> tuple[list[list[str]], list[int]]:
    rows: list[list[str]] = []
    line_numbers: list[int] = []
    for line, record in records:
        if len(rows) == max_rows:
            raise FileRefused("FILE-TOO-MANY-ROWS", rows=max_rows + 1 + sum(1 for _ in records), limit=max_rows)
        rows.append(record)
        line_numbers.append(line)
    if not rows:
        raise FileRefused("FILE-NO-ROWS")
    return rows, line_numbers


# -- header -----------------------------------------------------------------------------------------------------------


def _mapped(header: list[str], line: int, max_columns: int) -> dict[str, int]:
    if len(header) > max_columns:
        raise FileRefused("FILE-TOO-MANY-COLUMNS", columns=len(header), limit=max_columns)
    if any(_UNWANTED.search(cell) for cell in header):
        raise FileRefused("FILE-HEADER-UNREADABLE", line=line)
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        raise FileRefused("FILE-DELIMITER")
    _refuse_twins(header)
    found = {name: i for i, cell in enumerate(header) if (name := columns.canonical(cell)) is not None}
    if missing := columns.missing_required(set(found)):
        raise FileRefused("FILE-COLUMNS-MISSING", columns=", ".join(missing))
    return found


def _refuse_twins(header: list[str]) -> None:
    positions: dict[str, list[int]] = {}
    for i, cell in enumerate(header):
        if folded := columns.fold(cell):
            positions.setdefault(folded, []).append(i + 1)
    if twins := [str(i) for several in positions.values() if len(several) > 1 for i in several]:
        raise FileRefused("FILE-COLUMNS-DUPLICATE", positions=", ".join(twins))


# -- faults of single rows --------------------------------------------------------------------------------------------

_REPLACEMENT = "\ufffd"
# Control characters but tab and line breaks; what is invisible or turns the reading direction (U+200C and U+200D are
# left alone: some scripts and emoji need them); the replacement character, which says that text was lost before.
_UNWANTED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffd]"
)


@dataclass(frozen=True, slots=True)
class _Rows:
    header: list[str]
    column_map: dict[str, int]
    rows: list[list[str]]
    line_numbers: list[int]

    def issue(self, i: int, position: int, code: str, **facts: int) -> RowIssue:
        return RowIssue(i + 1, self.line_numbers[i], self._name(position), code, facts)

    def _name(self, position: int) -> str:
        canonical = next((name for name, at in self.column_map.items() if at == position), None)
        return canonical or column_label(self.header, position)


def _row_faults(table: _Rows, lines: list[str], text: str, limits: ReadingLimits) -> list[RowIssue]:
    """Ragged rows first: their cells cannot be told apart, so nothing else is said about them."""
    width = len(table.header)
    suspect = _UNWANTED.search(text) is not None or _long_cells_possible(table, lines, limits.max_cell_characters)
    issues: list[RowIssue] = []
    for i, row in enumerate(table.rows):
        if len(row) != width:
            facts = {"expected": width, "found": len(row)}
            issues.append(RowIssue(i + 1, table.line_numbers[i], "", "ORD-COLUMNS-COUNT", facts))
        elif suspect and _may_have_faults("".join(row), limits.max_cell_characters):
            issues.extend(_cell_faults(table, i, limits.max_cell_characters))
    return issues


def _may_have_faults(row: str, max_characters: int) -> bool:
    """As one text first: cell by cell, 10,000 rows took 100 ms more."""
    return len(row) > max_characters or _UNWANTED.search(row) is not None


def _long_cells_possible(table: _Rows, lines: list[str], max_characters: int) -> bool:
    if max(map(len, lines)) > max_characters:
        return True
    # No line is too long: only a cell that goes over several of them can be.
    begins = table.line_numbers
    ends = [*begins[1:], len(lines) + 1]
    several = (row for row, begin, end in zip(table.rows, begins, ends, strict=True) if end - begin > 1)
    return any(len(cell) > max_characters for row in several for cell in row)


def _cell_faults(table: _Rows, i: int, max_characters: int) -> Iterator[RowIssue]:
    for position, cell in enumerate(table.rows[i]):
        if len(cell) > max_characters:
            yield table.issue(i, position, "ORD-CELL-TOO-LONG", limit=max_characters)
        if _UNWANTED.search(cell) is not None:
            yield table.issue(i, position, "ORD-CELL-GARBLED" if _REPLACEMENT in cell else "ORD-CELL-CONTROL")
