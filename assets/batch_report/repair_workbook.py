"""The repair file as a workbook: every cell is text, the bad ones are filled, and a comment on each says what to do.

Nothing in it is a number, a date or a formula, so Excel changes nothing that nobody touched. The same rows give the
same octets.
"""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

import xlsxwriter

from assets.batch_report.faults import ShownFault
from assets.batch_report.repair_sheet import RepairRow, RepairSheet
from domain import catalogue, repair
from domain.issues import RowIssue

_LANGUAGES = ("ja", "en")
_LONGEST_CELL = 32_767  # Excel's own limits
_MOST_ROWS = 30_000  # far below Excel's: with its comments, all of it is made in memory, some 10 KB for each
_LONGEST_NAME = 31
_NO_SHEET_NAME = re.compile(r"[\[\]:*?/\\]")
_BAD, _OURS = "#FFC7CE", "#F2F2F2"
_WIDTHS = {repair.LINE: 8, repair.COLUMN: 16, repair.CODE: 22, repair.MARK: 20}
_WIDTH, _TEXT_WIDTH = 16, 48


def fits_workbook(sheet: RepairSheet) -> bool:
    """Whether Excel can hold the rows as they are."""
    longest = max((len(cell) for row in sheet.rows for cell in row.cells), default=0)
    return len(sheet.rows) <= _MOST_ROWS and longest < _LONGEST_CELL


def workbook_octets(sheet: RepairSheet) -> bytes:
    """The workbook."""
    octets = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(octets, options) as book:
        created = sheet.batch.created_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
        book.set_properties({"created": created})
        _SheetWriter(book, sheet).write()
    return octets.getvalue()


class _SheetWriter:
    def __init__(self, book: Any, sheet: RepairSheet) -> None:
        self._sheet = sheet
        self._added = repair.added_columns(_LANGUAGES)
        self._first = (sheet.record.get("profile") or {}).get("header_row", 1) - 1
        self._page = book.add_worksheet(_name(sheet))
        text = {"num_format": "@", "valign": "top"}
        self._plain = book.add_format(text)
        self._bad = book.add_format(text | {"bg_color": _BAD, "border": 1})
        self._ours = book.add_format(text | {"bg_color": _OURS})
        self._names = book.add_format(text | {"bold": True, "bottom": 1})

    def write(self) -> None:
        self._layout()
        self._row(self._first, self._sheet.client_header(), self._names)
        self._row(self._first, self._added, self._names, self._sheet.columns)
        for name in (repair.CODE, repair.MARK):
            self._comment(self._first, self._sheet.columns + self._added.index(name), [_how_to()])
        for at, row in enumerate(self._sheet.rows, start=self._first + 1):
            faults = self._faults(row)
            self._row(at, self._sheet.client_cells(row), self._plain, bad=faults)
            self._row(at, self._sheet.added_cells(row, _LANGUAGES), self._ours, self._sheet.columns)
            self._comments(at, faults)

    def _layout(self) -> None:
        self._page.set_column(0, self._sheet.columns - 1, _WIDTH, self._plain)
        for at, name in enumerate(self._added, start=self._sheet.columns):
            self._page.set_column(at, at, _WIDTHS.get(name, _TEXT_WIDTH))
        self._page.freeze_panes(self._first + 1, 0)
        self._page.ignore_errors({"number_stored_as_text": "A1:XFD1048576"})

    def _row(
        self, at: int, cells: Sequence[str], cell_format: Any, first: int = 0, bad: Collection[int] = frozenset()
    ) -> None:
        for column, cell in enumerate(cells, start=first):
            if cell or column in bad:  # an empty one has the format of its column
                self._page.write_string(at, column, cell, self._bad if column in bad else cell_format)

    def _faults(self, row: RepairRow) -> dict[int, list[ShownFault]]:
        """The faults of a row by the columns that they fill."""
        found: dict[int, list[ShownFault]] = defaultdict(list)
        for issue, fault in zip(row.issues, self._sheet.faults(row), strict=True):
            for column in self._columns(issue):
                found[column].append(fault)
        return found

    def _comments(self, at: int, faults: Mapping[int, Sequence[ShownFault]]) -> None:
        """A fault of the row as a whole, or of a column in parts, fills several cells; it is said once."""
        said: set[int] = set()
        for column in sorted(faults):
            new = [fault for fault in faults[column] if id(fault) not in said]
            said |= {id(fault) for fault in new}
            if new:
                self._comment(at, column, [_said(fault) for fault in new])

    def _columns(self, issue: RowIssue) -> Iterator[int]:
        """The columns of a fault; all of them where it is the row's as a whole."""
        header = self._sheet.header
        if not issue.column:
            yield from range(self._sheet.columns)
        elif issue.column in self._sheet.reader.positions:
            yield from self._sheet.reader.positions[issue.column]
        else:
            names = [cell.strip() or f"#{at}" for at, cell in enumerate(header, start=1)]
            yield from (at for at, name in enumerate(names) if name == issue.column)

    def _comment(self, at: int, column: int, texts: Sequence[str]) -> None:
        options = {"x_scale": 2.5, "y_scale": min(6.0, 1.5 * len(texts)), "author": ""}
        self._page.write_comment(at, column, "\n\n".join(texts)[:_LONGEST_CELL], options)


def _said(fault: ShownFault) -> str:
    texts = [fault.text(language) for language in _LANGUAGES]
    return "\n".join([fault.code, *(f"{text.message} {text.remedy}" for text in texts)])


def _how_to() -> str:
    texts = [catalogue.fill("READ-REPAIR-FILE", {}, language) for language in _LANGUAGES]
    return "\n".join(f"{text.message} {text.remedy}" for text in texts)


def _name(sheet: RepairSheet) -> str:
    """The name that the client's profile states, else that of the sheet that came."""
    stated = (sheet.record.get("profile") or {}).get("sheet")
    name = stated or (sheet.record.get("file") or {}).get("sheet") or "repair"
    return _NO_SHEET_NAME.sub("_", name)[:_LONGEST_NAME].strip("'") or "repair"
