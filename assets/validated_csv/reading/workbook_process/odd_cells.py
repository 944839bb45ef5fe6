"""What is odd about a sheet, told from its XML. Apart: most sheets have nothing, and patterns take long to import."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from assets.validated_csv.reading.workbook_process.archive import ERRORS, FORMULAS, HIDDEN, Archive
from assets.validated_csv.reading.workbook_process.error_cells import errors_in
from assets.validated_csv.reading.workbook_process.number_formats import padding_formats
from assets.validated_csv.reading.workbook_process.oddities import Oddities

_CELL_WITHOUT_RESULT = re.compile(
    rb"<(?:\w+:)?c\b([^<>]*)>\s*<(?:\w+:)?f\b[^<>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*"
    rb"(?:<(?:\w+:)?v\s*(?:/>|></(?:\w+:)?v>)\s*)?</(?:\w+:)?c>"
)
_HIDDEN_ROW = re.compile(rb"<(?:\w+:)?row\b[^<>]*\bhidden=[\"'](?:1|true)[\"']")
_REFERENCE = re.compile(rb"\br=[\"']([A-Z]{1,3})([0-9]{1,7})[\"']")
_STYLE = re.compile(rb"\bs=[\"']([0-9]+)[\"']")
_TYPE_BUT_NUMBER = re.compile(rb"\st=[\"'](?!n[\"'])")  # a number may say that it is one
_TEXT_OR_ERROR = re.compile(rb"\st=[\"'](?:str|e)[\"']")

Place = tuple[int, int]


def odd_cells(archive: Archive, part: str, styles: bytes) -> Oddities:
    """Look for all of it in the sheet in one entry of a workbook."""
    found = Oddities()
    formats = padding_formats(styles)
    if not formats and not archive.holds(part, (*ERRORS, *FORMULAS, *HIDDEN)):
        return found
    sheet = archive.inflated(part)
    if archive.holds(part, ERRORS):
        for (row, column), error in _placed(errors_in(sheet)):
            found.faults.append((row, column, "ORD-EXCEL-ERROR-VALUE"))
            found.errors.setdefault(row, {})[column] = error
    if archive.holds(part, FORMULAS):
        found.faults += ((*place, "ORD-CELL-NO-RESULT") for place, _ in _placed(_without_result(sheet)))
    if archive.holds(part, HIDDEN):
        found.hidden_rows = len(_HIDDEN_ROW.findall(sheet))
    for (row, column), code in _placed(_formatted(sheet, formats)):
        found.shown_as.setdefault(row, {})[column] = code
    return found


def _placed(cells: Iterable[tuple[bytes, str]]) -> Iterator[tuple[Place, str]]:
    """The cells, of which the attributes are given, by their places."""
    for attributes, what in cells:
        reference = _REFERENCE.search(attributes)
        if reference is not None:
            yield (int(reference[2]) - 1, _column(reference[1])), what


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _without_result(sheet: bytes) -> Iterator[tuple[bytes, str]]:
    for cell in _CELL_WITHOUT_RESULT.finditer(sheet):
        if _TEXT_OR_ERROR.search(cell[1]) is None:  # these are results: an empty text, an error that is told apart
            yield cell[1], ""


def _formatted(sheet: bytes, formats: dict[int, str]) -> Iterator[tuple[bytes, str]]:
    """The cells with a number in one of these formats, by number of cell style."""
    if not formats:
        return
    styles = b"|".join(b"%d" % style for style in formats)
    for cell in re.finditer(rb"<(?:\w+:)?c\b([^<>]*\bs=[\"'](?:" + styles + rb")[\"'][^<>]*)>", sheet):
        style = _STYLE.search(cell[1])
        if style is not None and int(style[1]) in formats and _TYPE_BUT_NUMBER.search(cell[1]) is None:
            yield cell[1], formats[int(style[1])]
