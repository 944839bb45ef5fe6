"""What the reading library passes over in silence.

Cells whose value is an error, formulas whose result was not stored, numbers that show leading zeros, hidden rows.
"""

from __future__ import annotations

from assets.validated_csv.reading.workbook_process.archive import ERRORS, FORMULAS, HIDDEN, Archive


class Oddities:
    """Places are (row, column) from 0. ``shown_as`` has the format of numbers that show more digits than they have."""

    def __init__(self) -> None:
        self.faults: list[tuple[int, int, str]] = []
        self.shown_as: dict[int, dict[int, str]] = {}
        self.errors: dict[int, dict[int, str]] = {}
        self.hidden_rows = 0


def oddities(archive: Archive, part: str) -> Oddities:
    """What is odd about the sheet in one entry of a workbook."""
    styles = archive.inflated("xl/styles.xml")
    if b"formatCode" not in styles and not archive.holds(part, (*ERRORS, *FORMULAS, *HIDDEN)):
        return Oddities()
    from assets.validated_csv.reading.workbook_process.odd_cells import odd_cells

    return odd_cells(archive, part, styles)
