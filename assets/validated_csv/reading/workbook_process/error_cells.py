"""Cells whose value is an error: what each one says, and errors that the reading library has never heard of.

Excel has had seven errors for decades; newer ones (#SPILL!, #CALC!, #FIELD!) make the library give up the whole sheet.
They are handed to it as #N/A; what the cell really says is told from the sheet as it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from assets.validated_csv.reading.workbook_process.archive import ERRORS, Archive

_LONGEST = 20
_UNREADABLE = "#ERROR!"
_KNOWN = frozenset((b"#DIV/0!", b"#N/A", b"#NAME?", b"#NULL!", b"#NUM!", b"#REF!", b"#VALUE!"))
_CELL = re.compile(rb"<(?:\w+:)?c\b([^<>]*\bt=[\"']e[\"'][^<>]*)>")
_VALUE = re.compile(
    rb"\s*(?:<(?:\w+:)?f\b[^<>]*(?:/>|>[^<]*</(?:\w+:)?f\s*>)\s*)?<(?:\w+:)?v\b[^<>]*(?<!/)>([^<]*)(?=</)"
)


def errors_in(sheet: bytes) -> Iterator[tuple[bytes, str]]:
    """Of each cell with an error: its attributes, and the error as a person sees it."""
    for cell in _CELL.finditer(sheet):
        value = _value_of(cell)
        text = value[1].strip().decode("ascii", "replace") if value else ""
        yield cell[1], text if 0 < len(text) <= _LONGEST else _UNREADABLE


def _value_of(cell: re.Match[bytes]) -> re.Match[bytes] | None:
    return None if cell[1].endswith(b"/") else _VALUE.match(cell.string, cell.end())


def with_known_errors(archive: Archive, parts: dict[str, str]) -> bytes:
    """The archive for the library: as it came, unless one of its sheets has an error that is new to it."""
    changed: dict[str, bytes] = {}
    for part in parts.values():
        if archive.holds(part, ERRORS):
            sheet = archive.inflated(part)
            unknown = [
                value.span(1) for value in map(_value_of, _CELL.finditer(sheet)) if value and value[1] not in _KNOWN
            ]
            if unknown:
                changed[part] = _replaced(sheet, unknown)
    return archive.with_parts(changed) if changed else archive.octets


def _replaced(sheet: bytes, spans: list[tuple[int, int]]) -> bytes:
    pieces, at = [], 0
    for begin, end in spans:
        pieces += [sheet[at:begin], b"#N/A"]
        at = end
    return b"".join([*pieces, sheet[at:]])
