"""The one entry to reading: a file is opened once, recognised by its octets, and given as header and parts.

    with open_source(path, limits, known) as source:
        source.taken, source.header
        for part in source.parts: ...          # 4 MB of text each: memory does not grow with the file
        source.sha256, source.size_bytes       # of the very octets that were read; complete after the last part

What cannot be read for certain refuses the whole file; what concerns one cell or row is a fault of its part, and the
other rows go on. Rows without any content are no rows. Nothing here knows what columns mean: the caller says by
``known`` how many cells of a line are names of columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.reading.csv_file import open_csv
from assets.validated_csv.reading.dialect import KnownColumns
from assets.validated_csv.reading.octets import Deadline, Octets
from assets.validated_csv.reading.parts import Opened, Part, holds_unwanted
from assets.validated_csv.reading.taken import Taken, Wishes
from assets.validated_csv.reading.workbook import open_workbook
from domain.errors import FileRefused
from domain.repair import is_added
from resources.regular_files import open_regular

_ZIP, _OLE = (b"PK\x03\x04", b"PK\x05\x06"), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NO_ORDERS = (
    *(b"%PDF-", b"\x89PNG", b"\x1f\x8b", b"\xff\xd8\xff", b"GIF8", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ"),
    *(b"\x28\xb5\x2f\xfd", b"\x7fELF", b"{\\rtf", b"SQLite format 3", b"\xd0\xcf\x11\xe0"),
)
_NO_WISHES = Wishes()


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An open file. ``parts`` can be read once, in order, and raises ``FileRefused`` for what is wrong further down."""

    taken: Taken
    header: tuple[str, ...]
    parts: Iterator[Part]
    _octets: Octets

    @property
    def sha256(self) -> bytes:
        """Digest of the octets read so far."""
        return self._octets.sha256

    @property
    def size_bytes(self) -> int:
        """Number of the octets read so far."""
        return self._octets.size


@contextmanager
def open_source(
    path: Path, limits: ReadingLimits, known: KnownColumns, wishes: Wishes = _NO_WISHES
) -> Iterator[Source]:
    """Open a file of orders of any kind we read.

    Raises:
        FileRefused: with a FILE-* code; its facts are counts, line numbers, encodings and sheets, never cells.
    """
    descriptor = open_regular(path)
    try:
        octets = Octets(descriptor, Deadline(limits.max_seconds))
        _refuse_size(descriptor, limits.max_bytes)
        opened = _opener(octets)(octets, known, wishes, limits)
        try:
            _refuse_header(opened, limits.max_columns)
            yield Source(opened.taken, opened.header, _limited(opened.parts, limits.max_rows, octets.deadline), octets)
        finally:
            opened.close()
    finally:
        os.close(descriptor)


def _opener(octets: Octets) -> Callable[[Octets, KnownColumns, Wishes, ReadingLimits], Opened]:
    """By the first octets, whatever the file is called."""
    begin = octets.at(0, 16)
    if begin.startswith((*_ZIP, _OLE)):
        return open_workbook
    if begin.startswith(_NO_ORDERS):
        raise FileRefused("FILE-BINARY")
    return open_csv


def _refuse_size(descriptor: int, max_bytes: int) -> None:
    if os.fstat(descriptor).st_size > max_bytes:
        raise FileRefused("FILE-TOO-LARGE", limit_mb=max(1, max_bytes // 1_000_000))


def _refuse_header(opened: Opened, max_columns: int) -> None:
    columns = sum(not is_added(cell) for cell in opened.header)  # ours in a repair file are no fault of the client's
    if columns > max_columns:
        raise FileRefused("FILE-TOO-MANY-COLUMNS", columns=columns, limit=max_columns)
    if any(map(holds_unwanted, opened.header)):
        raise FileRefused("FILE-HEADER-UNREADABLE", line=opened.taken.header_row)


def _limited(parts: Iterator[Part], max_rows: int, deadline: Deadline) -> Iterator[Part]:
    """The parts as long as their rows are not too many; what comes then is not even read."""
    rows = 0
    for part in parts:
        rows += len(part.line_numbers)
        if rows > max_rows:
            raise FileRefused("FILE-TOO-MANY-ROWS", rows=rows, limit=max_rows)
        with deadline.standing_still():
            yield part
    if rows == 0:
        raise FileRefused("FILE-NO-ROWS")
