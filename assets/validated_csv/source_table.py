"""The rows of one file as they came, by columns: what reading hands to validation and to the vault.

Every cell is kept exactly; nothing is trimmed. No cell holds a NUL, for no file with one is read: so the cells of a row
joined by NUL are one text that splits into the same cells again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as arrow
import pyarrow.compute as compute

from domain.issues import RowIssue

Indexes = npt.NDArray[np.int64]

BETWEEN_CELLS = "\0"


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The cells of all data rows.

    ``joined`` has one text per row. ``columns`` has one array per header cell; entry ``k`` of each belongs to row
    ``whole_rows[k]``. A row of another width is in ``joined`` alone: of its cells none can be told for certain.
    """

    joined: arrow.LargeStringArray
    columns: tuple[arrow.LargeStringArray, ...]
    whole_rows: Indexes


@dataclass(frozen=True, slots=True, eq=False)
class SourceTable:
    """The data rows of one file. Row ``i`` is import row ``i + 1`` and begins at physical line ``line_numbers[i]``.

    ``sha256`` is the digest of the very bytes that were read. ``issues`` are the faults seen while reading.
    """

    header: tuple[str, ...]
    header_line: int
    column_map: dict[str, int]
    cells: Cells
    line_numbers: list[int]
    issues: list[RowIssue]
    sha256: bytes
    size_bytes: int
    encoding: str

    @property
    def row_count(self) -> int:
        """All data rows, those of another width too."""
        return len(self.line_numbers)

    @property
    def rows(self) -> list[list[str]]:
        """The cells of every row. Made anew each time, for those who look at single rows."""
        return [row.split(BETWEEN_CELLS) for row in self.cells.joined.to_pylist()]

    @property
    def unmapped(self) -> dict[str, int]:
        """Position of each column that is none of ours, by the file's own header (``#7`` where that is empty)."""
        mapped = set(self.column_map.values())
        return {column_label(self.header, i): i for i in range(len(self.header)) if i not in mapped}


def column_label(header: Sequence[str], position: int) -> str:
    """What people call the column: its header, or its place where that is empty."""
    return header[position].strip() or f"#{position + 1}"


def cells_of_rows(rows: Sequence[Sequence[str]], width: int) -> Cells:
    """The cells of rows that were read one by one, some of another width perhaps."""
    joined = arrow.array([BETWEEN_CELLS.join(row) for row in rows], arrow.large_string())
    whole = np.array([i for i, row in enumerate(rows) if len(row) == width], dtype=np.int64)
    # Split at once and dealt out: a Python list per column took up to 10 ms more per 10,000 rows.
    flat = compute.split_pattern(joined.take(arrow.array(whole)), BETWEEN_CELLS).flatten()
    places = np.arange(len(whole)) * width
    return Cells(joined, tuple(flat.take(arrow.array(places + at)) for at in range(width)), whole)


def cells_of_columns(columns: Sequence[arrow.LargeStringArray]) -> Cells:
    """The cells of columns that were read at once: every row is whole."""
    joined = compute.binary_join_element_wise(*columns, arrow.scalar(BETWEEN_CELLS, arrow.large_string()))
    return Cells(joined, tuple(columns), np.arange(len(joined), dtype=np.int64))
