"""Whole records read by columns: a fifth of the time of reading them one by one, and silent about what is in doubt.

Gives an answer only where every quote opens or closes a cell, and every line ends alike. In any other case it gives
None, and ``csv_records`` reads record by record. Wherever this one answers, that one says the same; a test proves it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as arrow
import pyarrow.compute as compute
import pyarrow.csv

from assets.validated_csv.reading.octets import MAX_LINE_OCTETS
from assets.validated_csv.reading.parts import (
    BETWEEN_CELLS,
    UNWANTED,
    WANTED_OCTETS,
    CellFault,
    Cells,
    Indexes,
    Part,
    blank_rows,
    cells_of_columns,
    faults_of_columns,
)

Octets = npt.NDArray[np.uint8]

_QUOTE, _CR, _LF = b'"\r\n'
_MANY_RAGGED = 2_000  # one by one they take five times as long as record by record


@dataclass(frozen=True, slots=True)
class Marks:
    """The places of what structures a text: quotes, line ends, and the line ends that end a record."""

    octets: Octets
    quotes: Indexes
    line_ends: Indexes
    ending: Indexes  # positions in line_ends

    @property
    def record_ends(self) -> Indexes:
        """The places of the line ends that end a record."""
        return self.line_ends[self.ending]

    @property
    def whole_octets(self) -> int:
        """Up to where there are whole records, if every quote opens or closes a cell."""
        return int(self.line_ends[self.ending[-1]]) + 1 if len(self.ending) else 0

    def up_to(self, octets: int) -> Marks:
        """The marks of the first ``octets`` of the text."""
        quotes, line_ends = (places[: np.searchsorted(places, octets)] for places in (self.quotes, self.line_ends))
        return Marks(
            self.octets[:octets], quotes, line_ends, self.ending[: np.searchsorted(self.ending, len(line_ends))]
        )


def marks_of(text: bytes) -> Marks:
    """A line end with an even number of quotes before it ends a record."""
    octets = np.frombuffer(text, np.uint8)
    quotes, line_ends = np.flatnonzero(octets == _QUOTE), np.flatnonzero(octets == _LF)
    return Marks(octets, quotes, line_ends, np.flatnonzero(np.searchsorted(quotes, line_ends) % 2 == 0))


def read_columns(
    text: bytes, marks: Marks, *, delimiter: str, width: int, first_line: int, max_cell_characters: int
) -> Part | None:
    """The records in ``text``, which is UTF-8 and ends with one; None in any doubt. It begins at ``first_line``."""
    if not (_lines_are_plain(marks) and _quotes_are_at_cell_borders(marks, ord(delimiter))):
        return None
    spans = _spans(marks)
    try:
        columns, others = _parsed(text, delimiter, width)
        ragged = {at: _record(text[spans.begins[at] : spans.ends[at]], delimiter) for at in others}
    except (arrow.ArrowInvalid, csv.Error, IndexError):
        return None
    if len(columns[0]) + len(ragged) != len(spans.begins) or _longest(columns) > csv.field_size_limit():
        return None
    if any(len(cells) == width for cells in ragged.values()):
        return None
    cells, kept = _with_content(columns, ragged, len(spans.begins))
    lines = first_line + spans.lines_before[kept]
    rows = np.flatnonzero(np.isin(kept, list(ragged)))
    faults = [_of_another_width(int(row), width, len(ragged[int(kept[row])])) for row in rows]
    if _longest(columns) > max_cell_characters or _holds_unwanted(text):
        faults = sorted(faults + faults_of_columns(cells, max_cell_characters), key=lambda fault: fault.row)
    return Part(cells, lines.tolist(), faults)


def _of_another_width(row: int, expected: int, found: int) -> CellFault:
    return CellFault(row, -1, "ORD-COLUMNS-COUNT", {"expected": expected, "found": found})


# -- form -------------------------------------------------------------------------------------------------------------


def _lines_are_plain(marks: Marks) -> bool:
    """A CR alone ends a line too, but not for pyarrow; an endless line is no line of orders."""
    octets, ends = marks.octets, marks.line_ends
    returns = np.flatnonzero(octets == _CR)
    together = bool((octets[np.minimum(returns + 1, len(octets) - 1)] == _LF).all())
    return together and int(np.diff(ends, prepend=-1, append=len(octets)).max()) <= MAX_LINE_OCTETS


def _quotes_are_at_cell_borders(marks: Marks, delimiter: int) -> bool:
    """Whether every odd quote opens a cell and every even one closes it; a doubled one closes and opens it again.

    By the places of the quotes alone (1 ms for 10,000 rows; a regular expression took 60).
    """
    octets, quotes = marks.octets, marks.quotes
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = octets[opening - 1]  # of a quote at the very beginning: the last octet, and that is said apart
    doubled = np.isin(opening - 1, closing, assume_unique=True)
    opens = (opening == 0) | doubled | (before == delimiter) | (before == _LF)
    after = octets[np.minimum(closing + 1, len(octets) - 1)]
    reopened = np.isin(closing + 1, opening, assume_unique=True)
    closes = (closing == len(octets) - 1) | reopened | (after == delimiter) | (after == _CR) | (after == _LF)
    return bool(opens.all() and closes.all())


@dataclass(frozen=True, slots=True)
class _Spans:
    """Where the records that are no blank lines begin and end, their line ends left out; and the lines before each."""

    begins: Indexes
    ends: Indexes
    lines_before: Indexes


def _spans(marks: Marks) -> _Spans:
    octets = marks.octets
    unended = np.array([len(octets)] if marks.whole_octets < len(octets) else [], dtype=np.int64)
    ends = np.concatenate([marks.record_ends, unended])
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    ends = ends - ((ends > begins) & (octets[ends - 1] == _CR))
    lines_before = np.concatenate([np.zeros(1, np.int64), marks.ending + 1])[: len(begins)]
    filled = ends > begins
    return _Spans(begins[filled], ends[filled], lines_before[filled])


# -- cells ------------------------------------------------------------------------------------------------------------


def _parsed(text: bytes, delimiter: str, width: int) -> tuple[list[arrow.LargeStringArray], list[int]]:
    """The cells of all records that have ``width`` of them, and the numbers of the others, unless there are many.

    Blank lines are no records.
    """
    others: list[int] = []

    def leave_out(row: arrow.csv.InvalidRow) -> str:
        others.append(row.number - 1)
        return "skip" if len(others) <= _MANY_RAGGED else "error"

    names = [str(at) for at in range(width)]
    table = pyarrow.csv.read_csv(
        arrow.BufferReader(text),
        # In one thread rows are counted.
        arrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
        arrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=leave_out),
        arrow.csv.ConvertOptions(column_types=dict.fromkeys(names, arrow.large_string()), check_utf8=False),
    )
    return [column.combine_chunks() for column in table.columns], others


def _record(text: bytes, delimiter: str) -> list[str]:
    """The cells of one record, as the strict reader sees them."""
    (cells,) = csv.reader(io.StringIO(text.decode(), newline=""), strict=True, delimiter=delimiter)
    return cells


def _with_content(
    columns: Sequence[arrow.LargeStringArray], ragged: dict[int, list[str]], records: int
) -> tuple[Cells, Indexes]:
    """The cells of the records that have content, and which records those are."""
    whole = np.setdiff1d(np.arange(records), np.array(list(ragged), dtype=np.int64), assume_unique=True)
    if blank := blank_rows(columns):
        left = np.delete(np.arange(len(whole)), blank)
        whole, columns = whole[left], [column.take(arrow.array(left)) for column in columns]
    cells = cells_of_columns(columns)
    others = {at: BETWEEN_CELLS.join(row) for at, row in ragged.items() if any(map(str.strip, row))}
    if not others:
        return cells, whole
    kept = np.concatenate([whole, np.array(list(others), dtype=np.int64)])
    order = np.argsort(kept)
    joined = arrow.concat_arrays([cells.joined, arrow.array(others.values(), arrow.large_string())])
    kept = kept[order]
    return Cells(joined.take(arrow.array(order)), cells.columns, np.searchsorted(kept, whole)), kept


def _longest(columns: Sequence[arrow.LargeStringArray]) -> int:
    """Octets of the longest cell: never less than its characters."""
    return max(compute.max(compute.binary_length(column)).as_py() or 0 for column in columns)


def _holds_unwanted(text: bytes) -> bool:
    if not text.translate(None, WANTED_OCTETS):
        return False
    whole = arrow.array([text], arrow.large_binary()).view(arrow.large_string())
    return bool(compute.match_substring_regex(whole, UNWANTED)[0].as_py())
