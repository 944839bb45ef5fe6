"""How much of a file we are willing to read. Apart from the reading: every process knows the limits, few read files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """Beyond these the file, or for a cell its row, is refused."""

    max_rows: int = 10_000
    max_bytes: int = 50_000_000
    max_columns: int = 200
    max_cell_characters: int = 4_000
