"""A text read record by record with Python's strict CSV reader: it alone says what is wrong, and where.

Strict, for otherwise a quote that is not closed swallows the rest of the file in silence.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

from assets.validated_csv.reading.dialect import split_lines
from assets.validated_csv.reading.octets import MAX_LINE_OCTETS
from assets.validated_csv.reading.parts import Part, cells_of_rows, faults_of_rows
from domain.errors import FileRefused


@dataclass(frozen=True, slots=True)
class Read:
    """The rows of the whole records in a text, and how many octets and lines of it these are."""

    part: Part
    octets: int
    lines: int


def read_records(
    text: bytes, *, delimiter: str, width: int, first_line: int, max_cell_characters: int, at_end: bool
) -> Read:
    """Read whole lines, which are UTF-8, up to their last whole record; ``at_end`` when nothing follows them.

    Raises:
        FileRefused: FILE-QUOTE-UNCLOSED or FILE-LINE-TOO-LONG, with the line at which the record begins.
    """
    lines = split_lines(text.decode())
    for number, line in enumerate(lines):
        if len(line) > MAX_LINE_OCTETS:
            raise FileRefused("FILE-LINE-TOO-LONG", line=first_line + number)
    records, used = _records(lines, delimiter, first_line, at_end)
    rows = [cells for _, cells in records]
    faults = list(faults_of_rows(rows, width, max_cell_characters))
    part = Part(cells_of_rows(rows, width), [first_line + begin for begin, _ in records], faults)
    return Read(part, len("".join(lines[:used]).encode()), used)


def _records(
    lines: list[str], delimiter: str, first_line: int, at_end: bool
) -> tuple[list[tuple[int, list[str]]], int]:
    """Every record with content, and the lines before it; and how many lines all records take."""
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    found: list[tuple[int, list[str]]] = []
    begin = 0
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                found.append((begin, cells))
            begin = reader.line_num
    except csv.Error as error:
        if reader.line_num == len(lines) and not at_end and "unexpected end of data" in str(error):
            return found, begin  # the rest of the record is still to come
        # A closed quote that goes on, a quote never closed, or one that ran over the module's limit for one cell.
        too_long = reader.line_num <= begin + 1 and "larger" in str(error)
        code = "FILE-LINE-TOO-LONG" if too_long else "FILE-QUOTE-UNCLOSED"
        raise FileRefused(code, line=first_line + begin) from None
    return found, begin
