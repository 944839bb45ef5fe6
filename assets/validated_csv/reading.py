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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain import columns
from domain.errors import FileRefused
from domain.issues import RowIssue
from resources.regular_files import open_regular


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """How much of a file we are willing to read; beyond it the file, or for a cell its row, is refused."""

    max_rows: int = 10_000
    max_bytes: int = 50_000_000
    max_columns: int = 200
    max_cell_characters: int = 4_000


@dataclass(frozen=True, slots=True)
class SourceTable:
    """The data rows of one file. ``rows[i]`` is import row ``i + 1`` and begins at physical line ``line_numbers[i]``.

    ``sha256`` is the digest of the very bytes that were read. ``issues`` are the faults seen while reading.
    """

    header: tuple[str, ...]
    header_line: int
    column_map: dict[str, int]
    rows: list[list[str]]
    line_numbers: list[int]
    issues: list[RowIssue]
    sha256: bytes
    size_bytes: int
    encoding: str

    @property
    def unmapped(self) -> dict[str, int]:
        """Position of each column that is none of ours, by the file's own header (``#7`` where that is empty)."""
        mapped = set(self.column_map.values())
        return {_label(self.header, i): i for i in range(len(self.header)) if i not in mapped}


def read_orders_file(path: Path, limits: ReadingLimits) -> SourceTable:
    """Read the file once.

    Raises:
        FileRefused: with a FILE-* code; its facts are counts, line numbers and canonical column names, never cells.
    """
    data = _read_bytes(path, limits.max_bytes)
    _refuse_other_formats(data)
    text, encoding = _decoded(data)
    lines = _lines(text)
    records = _records(lines)
    header_line, header = next(records, (0, []))
    column_map = _mapped(header, header_line, limits.max_columns)
    rows, line_numbers = _data_rows(records, limits.max_rows)
    issues = _row_faults(_Rows(header, column_map, rows, line_numbers), lines, text, limits)
    return SourceTable(
        tuple(header),
        header_line,
        column_map,
        rows,
        line_numbers,
        issues,
        hashlib.sha256(data).digest(),
        len(data),
        encoding,
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
_UTF16_BOM = (b"\xff\xfe", b"\xfe\xff")
_ISO_2022 = re.compile(rb"\x1b[$(]")


def _refuse_other_formats(data: bytes) -> None:
    if data.startswith(_UTF16_BOM):
        raise FileRefused("FILE-ENCODING", line=1)
    if data.startswith(_MAGIC) or b"\x00" in data:
        raise FileRefused("FILE-BINARY")
    if (escape := _ISO_2022.search(data)) is not None:  # ISO-2022-JP decodes as UTF-8 without an error, into rubbish
        raise FileRefused("FILE-ENCODING", line=_line_at(data, escape.start()))


def _decoded(data: bytes) -> tuple[str, str]:
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    try:
        return data.decode(encoding), encoding
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


def _label(header: Sequence[str], position: int) -> str:
    return header[position].strip() or f"#{position + 1}"


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
        return canonical or _label(self.header, position)


def _row_faults(table: _Rows, lines: list[str], text: str, limits: ReadingLimits) -> list[RowIssue]:
    """Ragged rows first: their cells cannot be told apart, so nothing else is said about them."""
    width = len(table.header)
    suspect = _UNWANTED.search(text) is not None or _long_cells_possible(table, lines, limits.max_cell_characters)
    issues: list[RowIssue] = []
    for i, row in enumerate(table.rows):
        if len(row) != width:
            facts = {"expected": width, "found": len(row)}
            issues.append(RowIssue(i + 1, table.line_numbers[i], "", "ORD-COLUMNS-COUNT", facts))
        elif suspect:
            issues.extend(_cell_faults(table, i, limits.max_cell_characters))
    return issues


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
