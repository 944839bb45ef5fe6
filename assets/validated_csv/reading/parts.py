"""Some rows of a file that follow each other, as they came: what every reader gives, for text and for workbooks.

Every cell is kept exactly; nothing is trimmed. No cell holds a NUL, for no file with one is read: so the cells of a row
joined by NUL are one text that splits into the same cells again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as arrow
import pyarrow.compute as compute

from assets.validated_csv.reading.taken import Taken

Indexes = npt.NDArray[np.int64]

BETWEEN_CELLS = "\0"


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The cells of some rows.

    ``joined`` has one text per row. ``columns`` has one array per header cell; entry ``k`` of each belongs to row
    ``whole_rows[k]``. A row of another width is in ``joined`` alone: of its cells none can be told for certain.
    """

    joined: arrow.LargeStringArray
    columns: tuple[arrow.LargeStringArray, ...]
    whole_rows: Indexes


@dataclass(frozen=True, slots=True)
class CellFault:
    """What reading saw in one cell: row within its part, position of the column, code; position -1 is the whole row."""

    row: int
    position: int
    code: str
    facts: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Row ``i`` begins at physical line, or is row of the sheet, ``line_numbers[i]``. ``faults`` come in row order."""

    cells: Cells
    line_numbers: list[int]
    faults: list[CellFault]


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A file whose layout is known. ``parts`` is iterated once; ``close`` ends whatever works on it."""

    taken: Taken
    header: tuple[str, ...]
    parts: Iterator[Part]
    close: Callable[[], None] = _nothing


# -- cells ------------------------------------------------------------------------------------------------------------


def cells_of_rows(rows: Sequence[Sequence[str]], width: int) -> Cells:
    """The cells of rows that were read one by one, some of another width perhaps."""
    joined = arrow.array([BETWEEN_CELLS.join(row) for row in rows], arrow.large_string())
    whole = np.array([i for i, row in enumerate(rows) if len(row) == width], dtype=np.int64)
    return Cells(joined, split(joined.take(arrow.array(whole)), width), whole)


def split(joined: arrow.LargeStringArray, width: int) -> tuple[arrow.LargeStringArray, ...]:
    """The columns of rows that all have ``width`` cells."""
    # Split at once and dealt out: a Python list per column took up to 10 ms more per 10,000 rows.
    flat = compute.split_pattern(joined, BETWEEN_CELLS).flatten()
    places = np.arange(len(joined)) * width
    return tuple(flat.take(arrow.array(places + at)) for at in range(width))


def cells_of_columns(columns: Sequence[arrow.LargeStringArray]) -> Cells:
    """The cells of columns that were read at once: every row is whole."""
    joined = compute.binary_join_element_wise(*columns, arrow.scalar(BETWEEN_CELLS, arrow.large_string()))
    return Cells(joined, tuple(columns), np.arange(len(joined), dtype=np.int64))


def blank_rows(columns: Sequence[arrow.LargeStringArray]) -> list[int]:
    """The rows without any content."""
    blank = _maybe_blank(columns[0])
    for column in columns:
        if not blank:  # as a rule before the first column
            break
        cells = column.take(arrow.array(blank)).to_pylist()
        blank = [at for at, cell in zip(blank, cells, strict=True) if not cell.strip()]
    return blank


def _maybe_blank(column: arrow.LargeStringArray) -> list[int]:
    """The cells that are empty or begin with an octet of a space: all that are blank, and few others."""
    if not len(column):
        return []
    _, offsets, octets = column.buffers()
    begins = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    signs = np.frombuffer(octets or b"", np.uint8)
    first = signs[np.minimum(begins[:-1], len(signs) - 1)] if len(signs) else np.zeros(len(column), np.uint8)
    return np.flatnonzero((begins[1:] == begins[:-1]) | _OF_SPACES[first]).tolist()


_OF_SPACES = np.zeros(256, dtype=bool)
_OF_SPACES[[*range(0x21), *(chr(sign).encode()[0] for sign in range(0x80, 0x3001) if chr(sign).isspace())]] = True


# -- faults of single cells -------------------------------------------------------------------------------------------

_REPLACEMENT = "\ufffd"
# Control characters but tab and line breaks; what is invisible or turns the reading direction (U+200C and U+200D are
# left alone: some scripts and emoji need them); the replacement character, which says that text was lost before.
UNWANTED = (
    "[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ufffd]"
)
_UNWANTED = re.compile(UNWANTED)

WANTED_OCTETS = b"\t\n\r" + bytes(octet for octet in range(0x20, 0x100) if octet not in b"\x7f\xc2\xd8\xe2\xef")
"""Octets with which no unwanted character begins in UTF-8: a text of these alone needs no pattern (1 ms, not 4)."""

MOST_UNWANTED = 20
"""Cells of one row of which unwanted characters are said. One refuses the row; 10,000 rows of 200 took half a minute
and 780 MB."""


def holds_unwanted(text: str) -> bool:
    """Whether an unwanted character is in it."""
    return _UNWANTED.search(text) is not None


def faults_of_columns(cells: Cells, max_characters: int) -> list[CellFault]:
    """The faults in the cells of whole rows."""
    found: list[CellFault] = []
    for position, column in enumerate(cells.columns):
        # As a rule no cell has more octets than it may have characters; then its characters need no counting.
        if (compute.max(compute.binary_length(column)).as_py() or 0) > max_characters:
            long = np.flatnonzero(np.asarray(compute.greater(compute.utf8_length(column), max_characters)))
            rows = cells.whole_rows[long].tolist()
            found += (CellFault(row, position, "ORD-CELL-TOO-LONG", {"limit": max_characters}) for row in rows)
    # By rows first: by columns it took three times as long.
    unwanted = np.flatnonzero(np.asarray(compute.match_substring_regex(cells.joined, UNWANTED)))
    for row in np.intersect1d(unwanted, cells.whole_rows, assume_unique=True).tolist():
        found += _unwanted_in(row, cells.joined[row].as_py())
    return sorted(found, key=lambda fault: (fault.row, fault.position))


def faults_of_rows(rows: Sequence[Sequence[str]], width: int, max_characters: int) -> Iterator[CellFault]:
    """Of a row of another width nothing else is said: its cells cannot be told apart."""
    for i, row in enumerate(rows):
        if len(row) != width:
            yield CellFault(i, -1, "ORD-COLUMNS-COUNT", {"expected": width, "found": len(row)})
        else:
            text = "".join(row)  # as one text first: cell by cell, 10,000 rows took 100 ms more
            if len(text) > max_characters or _UNWANTED.search(text) is not None:
                yield from sorted(_faults_of_cells(i, row, max_characters), key=lambda fault: fault.position)


def _faults_of_cells(i: int, row: Sequence[str], max_characters: int) -> Iterator[CellFault]:
    for position, cell in enumerate(row):
        if len(cell) > max_characters:
            yield CellFault(i, position, "ORD-CELL-TOO-LONG", {"limit": max_characters})
    yield from _unwanted_in(i, BETWEEN_CELLS.join(row))


def _unwanted_in(i: int, joined: str) -> Iterator[CellFault]:
    """One per cell, of the first cells that have any. Each sign is looked at once: a cell may hold 100,000 of them."""
    at, position = 0, 0
    for _ in range(MOST_UNWANTED):
        found = _UNWANTED.search(joined, at)
        if found is None:
            return
        position += joined.count(BETWEEN_CELLS, at, found.start())
        end = joined.find(BETWEEN_CELLS, found.start())
        at = end if end >= 0 else len(joined)
        garbled = joined.find(_REPLACEMENT, found.start(), at) >= 0
        yield CellFault(i, position, "ORD-CELL-GARBLED" if garbled else "ORD-CELL-CONTROL")
