"""How much of a file we are willing to read. Apart from the reading: every process knows the limits, few read files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """Beyond these the file, or for a cell its row, is refused.

    A workbook is a ZIP archive: what it unpacks to is limited too, and the memory of the process that reads it. Only a
    test system takes de-identified files.
    """

    max_rows: int = 10_000
    max_bytes: int = 50_000_000
    max_columns: int = 200
    max_cell_characters: int = 4_000
    max_seconds: float = 60.0
    max_workbook_entries: int = 1_000
    max_workbook_unpacked_bytes: int = 300_000_000
    max_workbook_ratio: int = 100
    max_workbook_memory_bytes: int = 2_000_000_000
    test_system: bool = False
