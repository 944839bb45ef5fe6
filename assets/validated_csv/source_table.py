"""The rows of one file with the meaning of its columns: what reading hands to validation and to the vault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assets.validated_csv.reading.parts import BETWEEN_CELLS, Cells
from assets.validated_csv.reading.taken import Taken
from domain.client_profile import ClientProfile
from domain.headers import HeaderMap
from domain.issues import RowIssue
from domain.trailer import Totals


@dataclass(frozen=True, slots=True, eq=False)
class SourceTable:
    """The data rows of one file, or some of them that follow each other.

    Row ``i`` is import row ``rows_before + i + 1`` and begins at physical line (of a workbook: is row of its sheet)
    ``line_numbers[i]``. ``header_map`` says which columns are ours and why, ``profile`` what was settled for the client
    before. ``declared`` is what a line of totals says, which is no row. ``issues`` are the faults seen while reading.
    ``sha256`` is the digest of the very bytes that were read so far: of the file once all of its rows were.
    """

    header: tuple[str, ...]
    taken: Taken
    header_map: HeaderMap
    profile: ClientProfile
    cells: Cells
    line_numbers: list[int]
    issues: list[RowIssue]
    sha256: bytes
    size_bytes: int
    rows_before: int = 0
    declared: Totals | None = None

    @property
    def column_map(self) -> Mapping[str, tuple[int, ...]]:
        """Positions of each of our columns that the file has; several where it comes in parts."""
        return self.header_map.columns

    @property
    def header_line(self) -> int:
        """The physical line, or the row of the sheet, at which the header begins."""
        return self.taken.header_row

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
        mapped = {at for positions in self.column_map.values() for at in positions}
        return {column_label(self.header, i): i for i in range(len(self.header)) if i not in mapped}


def column_label(header: Sequence[str], position: int) -> str:
    """What people call the column: its header, or its place where that is empty."""
    return header[position].strip() or f"#{position + 1}"
