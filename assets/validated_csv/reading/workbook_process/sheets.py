"""The sheets of a workbook that may hold orders, and their rows as text."""

from __future__ import annotations

import io

from assets.validated_csv.reading.workbook_process.archive import ERRORS, Archive
from assets.validated_csv.reading.workbook_process.cell_text import as_text
from assets.validated_csv.reading.workbook_process.oddities import Oddities, oddities
from assets.validated_csv.reading.workbook_process.parts import sheet_parts
from assets.validated_csv.reading.workbook_process.refusal import Refused

TYPE_CHECKING = False  # as typing's, without the time that its import takes
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_ENCRYPTED = "EncryptedPackage".encode("utf-16-le") + bytes(4)  # the name of the stream that holds the workbook


class Sheet:
    """A sheet that may be taken, all of it in memory, and what is odd about it."""

    def __init__(self, name: str, cells: Any, odd: Oddities) -> None:
        self.name, self.cells, self.odd = name, cells, odd

    @property
    def width(self) -> int:
        """Columns from the first of the sheet to the last with content."""
        return int(self.cells.end[1]) + 1

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every row with content, by its number from 0."""
        padding = [""] * self.cells.start[1]
        rows = enumerate(map(as_text, self.cells.iter_rows()))
        if padding:
            rows = ((number, padding + cells) for number, cells in rows)  # type: ignore[assignment] # both give the same
        return self._as_shown(rows) if self.odd.shown_as or self.odd.errors else rows

    def _as_shown(self, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
        from assets.validated_csv.reading.workbook_process.number_formats import shown

        for number, cells in rows:
            for column, code in self.odd.shown_as.get(number, {}).items():
                if column < len(cells) and cells[column].isdigit():
                    cells[column] = shown(int(cells[column]), code)
            for column, error in self.odd.errors.get(number, {}).items():
                if column < len(cells):
                    cells[column] = error
            yield number, cells

    def faults(self, below: int) -> list[tuple[int, int, str]]:
        """Row, column and code of each cell that is at fault; of covered cells those below a row."""
        return [*self.odd.faults, *self._covered(below)]

    def _covered(self, below: int) -> Iterator[tuple[int, int, str]]:
        """The cells that merged ones cover: what they would hold cannot be told."""
        bottom, right = self.cells.end
        for (top, left), (last_row, last_column) in self.cells.merged_cell_ranges or ():
            for row in range(max(top, below), min(last_row, bottom) + 1):
                for column in range(left, min(last_column, right) + 1):
                    if (row, column) != (top, left):
                        yield row, column, "ORD-CELL-MERGED"


def sheets_of(octets: bytes, archive: Archive | None, wish: str | None) -> tuple[list[Sheet], int]:
    """The visible sheets that have content, or the one wished for; and how many hidden ones have been left.

    ``archive`` is None for an old workbook, which is none.

    Raises:
        Refused: FILE-WORKBOOK-PROTECTED or -BROKEN.
    """
    import python_calamine as calamine

    if archive is None and _ENCRYPTED in octets:  # of which the library says that it is broken
        raise Refused("FILE-WORKBOOK-PROTECTED")
    parts = sheet_parts(archive) if archive is not None else {}
    try:
        book = calamine.load_workbook(io.BytesIO(octets if archive is None else _readable(archive, parts)))
        sheets, hidden = [], 0
        for found in book.sheets_metadata:
            if found.typ != calamine.SheetTypeEnum.WorkSheet or (wish is not None and found.name != wish):
                continue
            if wish is None and found.visible != calamine.SheetVisibleEnum.Visible:
                hidden += 1
                continue
            cells = book.get_sheet_by_name(found.name)
            if cells.end is not None:
                sheets.append(Sheet(found.name, cells, _odd(archive, parts, found.name)))
        return sheets, hidden
    except calamine.PasswordError:
        raise Refused("FILE-WORKBOOK-PROTECTED") from None
    except calamine.CalamineError:
        raise Refused("FILE-WORKBOOK-BROKEN") from None


def _readable(archive: Archive, parts: dict[str, str]) -> bytes:
    if not any(archive.holds(part, ERRORS) for part in parts.values()):
        return archive.octets
    from assets.validated_csv.reading.workbook_process.error_cells import with_known_errors

    return with_known_errors(archive, parts)


def _odd(archive: Archive | None, parts: dict[str, str], name: str) -> Oddities:
    if archive is None:
        return Oddities()
    if name not in parts:  # another format in an archive, such as .ods: nobody would see its errors
        raise Refused("FILE-WORKBOOK-BROKEN")
    return oddities(archive, parts[name])
