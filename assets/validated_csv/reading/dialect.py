"""How a text file is laid out: what separates its cells, and which line holds the column names.

Taken is the first line, among the first of the file, that names most of our columns, with the separator under which it
does: so titles above the header and a ``sep=`` line of Excel need no setting. What names columns is said by the caller.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

from assets.validated_csv.reading.taken import Wishes
from domain.errors import FileRefused

KnownColumns = Callable[[Sequence[str]], int]
"""How many of these cells name columns of ours."""

DELIMITERS = (",", "\t", ";")
ENOUGH_KNOWN = 3
HEADER_WITHIN = 30
"""Records with content among which the header is looked for."""

_EXCERPT_OCTETS = 1 << 16
_SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: where it begins and ends, as counts of lines before the one and up to the other, and its cells."""

    begin: int
    end: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Layout:
    """``data_at`` is the octet of the UTF-8 text, and ``data_line`` the line, at which what is below the header begins.

    ``header`` is empty when the file has no content at all.
    """

    delimiter: str
    header: tuple[str, ...]
    header_line: int
    data_at: int
    data_line: int


def split_lines(text: str) -> list[str]:
    """Lines with their ends: CR, LF or CRLF and nothing else, unlike `str.splitlines`."""
    return list(io.StringIO(text, newline=""))


def excerpt_of(begin: bytes) -> bytes:
    """The lines by which a layout is found: whole ones, if there is an end to them."""
    if len(begin) <= _EXCERPT_OCTETS:
        return begin
    end = max(begin.rfind(b"\n", 0, _EXCERPT_OCTETS), begin.rfind(b"\r", 0, _EXCERPT_OCTETS))
    return begin[: end + 1] or begin


def find_layout(begin: bytes, known: KnownColumns, wishes: Wishes) -> Layout:
    """The layout of a file by its beginning, of which `excerpt_of` is UTF-8.

    Raises:
        FileRefused: FILE-HEADER-NOT-FOUND, a line was set that holds none.
    """
    lines = split_lines(excerpt_of(begin).decode())
    separated = _SEP_LINE.fullmatch(lines[0]) if lines else None
    skipped = 1 if separated else 0
    certain = wishes.delimiter or (separated[1] if separated else None)
    readings = {
        delimiter: list(_records(lines, skipped, delimiter)) for delimiter in ([certain] if certain else DELIMITERS)
    }
    delimiter = _best(readings, known)
    header = _header(readings[delimiter], known, wishes.header_row)
    if header is None:
        return Layout(delimiter, (), 0, len(begin), 1)
    data_at = len("".join(lines[: header.end]).encode())
    return Layout(delimiter, tuple(header.cells), header.begin + 1, data_at, header.end + 1)


def _records(lines: list[str], skipped: int, delimiter: str) -> Iterator[Record]:
    """The first records with content, up to the first that cannot be read."""
    reader = csv.reader(lines[skipped:], strict=True, delimiter=delimiter)
    begin, seen = skipped, 0
    try:
        for cells in reader:
            end = skipped + reader.line_num
            if any(map(str.strip, cells)):
                yield Record(begin, end, cells)
                seen += 1
            if seen == HEADER_WITHIN:
                return
            begin = end
    except csv.Error:
        return


def _best(readings: dict[str, list[Record]], known: KnownColumns) -> str:
    """The delimiter under which most columns are known; where none is, the one that makes most cells."""

    def worth(delimiter: str) -> tuple[int, int]:
        records = readings[delimiter]
        width = median_low([len(record.cells) for record in records]) if records else 0
        return max((known(record.cells) for record in records), default=0), width

    for delimiter, records in readings.items():
        if records and known(records[0].cells) >= ENOUGH_KNOWN:  # the everyday file
            return delimiter
    return max(readings, key=worth)


def _header(records: list[Record], known: KnownColumns, wish: int | None) -> Record | None:
    if wish is not None:
        found = next((record for record in records if record.begin + 1 == wish), None)
        if found is None:
            raise FileRefused("FILE-HEADER-NOT-FOUND", line=wish)
        return found
    header: Record | None = None
    most = -1
    for record in records:
        # No line names more columns than it has cells: below a header of our own names nothing has to be looked up.
        if len(record.cells) > most and (named := known(record.cells)) > most:
            header, most = record, named
    return header
