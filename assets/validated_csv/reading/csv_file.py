"""A text file of orders, read part by part: memory grows with the part, not with the file.

Each part is read by columns where that is certain, else record by record; the next part is tried by columns again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import pyarrow as arrow

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.reading.csv_columns import marks_of, read_columns
from assets.validated_csv.reading.csv_records import Read, read_records
from assets.validated_csv.reading.dialect import KnownColumns, Layout, excerpt_of, find_layout
from assets.validated_csv.reading.encodings import (
    EXCERPT_OCTETS,
    UTF_8,
    Excerpt,
    Recognised,
    lines_before,
    recognise,
    undecodable,
)
from assets.validated_csv.reading.octets import BLOCK_OCTETS, MAX_LINE_OCTETS, Octets
from assets.validated_csv.reading.parts import Opened, Part
from assets.validated_csv.reading.taken import Taken, Wishes
from assets.validated_csv.reading.transcoding import to_utf_8
from domain.errors import FileRefused

_LONGEST_RECORD_OCTETS = 6 * BLOCK_OCTETS
_LINES_OF_PART = 200_000
_OCTETS_OF_FEW_LINES = 1 << 19


def open_csv(octets: Octets, known: KnownColumns, wishes: Wishes, limits: ReadingLimits) -> Opened:
    """Recognise encoding and layout of a file.

    Raises:
        FileRefused: what this file is cannot be told, or it has no content. Iterating the parts raises it too, for what
            is wrong further down.
    """
    encoding = recognise(_excerpt(octets), wishes.encoding)
    texts = to_utf_8(iter(octets), encoding)
    begin = _first_block(texts)
    _refuse_other_octets(excerpt_of(begin if len(begin) < BLOCK_OCTETS else _whole_lines(begin)), encoding, 1)
    layout = find_layout(begin, known, wishes)
    if not layout.header:
        raise _without_content(begin if len(begin) < BLOCK_OCTETS else _whole_lines(begin), encoding)
    taken = Taken(
        kind="csv",
        header_row=layout.header_line,
        encoding=encoding.name,
        encoding_reason=encoding.reason,
        marked=bool(encoding.mark),
        delimiter=layout.delimiter,
    )
    return Opened(taken, layout.header, _parts(begin, texts, layout, encoding, limits))


def _without_content(begin: bytes, encoding: Recognised) -> FileRefused:
    """Why there is not even a header."""
    try:
        _refuse_other_octets(begin, encoding, 1)
        read_records(begin, delimiter=",", width=1, first_line=1, max_cell_characters=1, at_end=True)
    except FileRefused as refusal:
        return refusal
    return FileRefused("FILE-EMPTY")


def _excerpt(octets: Octets) -> Excerpt:
    """The beginning, and the first lines that are not ASCII, wherever in the file they are."""
    begin = octets.at(0, EXCERPT_OCTETS)
    at, line = 0, 1
    while block := octets.at(at, BLOCK_OCTETS):
        if not block.isascii():
            place = int(np.argmax(np.frombuffer(block, np.uint8) > 0x7F))
            start = max(block.rfind(b"\n", 0, place), block.rfind(b"\r", 0, place)) + 1
            telling = _lines_at(octets, at + start)
            return Excerpt(begin, telling, line + lines_before(block, start))
        line += lines_before(block, len(block))
        at += len(block)
    return Excerpt(begin, b"", line)


def _lines_at(octets: Octets, place: int) -> bytes:
    """Some whole lines; of one that is longer than an excerpt all, for half a character is in no encoding."""
    lines = octets.at(place, EXCERPT_OCTETS)
    if len(lines) < EXCERPT_OCTETS:
        return lines
    if b"\n" not in lines and b"\r" not in lines:
        lines = octets.at(place, MAX_LINE_OCTETS)
        return re.split(b"[\r\n]", lines, maxsplit=1)[0]
    return _whole_lines(lines)


def _whole_lines(text: bytes) -> bytes:
    """Without the last line, which may be cut off, unless there is no other."""
    return text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1] or text


def _first_block(texts: Iterator[bytes]) -> bytes:
    """As much text as is held at once, and more while there is nothing in it."""
    begin = b""
    for text in texts:
        begin += text
        if len(begin) >= BLOCK_OCTETS and begin.strip():
            break
    return begin


def _parts(
    text: bytes, texts: Iterator[bytes], layout: Layout, encoding: Recognised, limits: ReadingLimits
) -> Iterator[Part]:
    text, line, wanted = text[layout.data_at :], layout.data_line, BLOCK_OCTETS
    at_end = False
    while text or not at_end:
        while len(text) < wanted and not at_end:
            following = next(texts, None)
            at_end = following is None
            text += following or b""
        piece = _few_lines(text)
        read = _next_part(piece, line, at_end and len(piece) == len(text), layout, encoding, limits)
        if not read.octets and len(piece) < len(text):  # one record of more lines than that
            read = _next_part(text, line, at_end, layout, encoding, limits)
        wanted = BLOCK_OCTETS if read.octets else len(text) + BLOCK_OCTETS  # a record longer than what we have
        if wanted > _LONGEST_RECORD_OCTETS:
            raise FileRefused("FILE-QUOTE-UNCLOSED", line=line)
        text, line = text[read.octets :], line + read.lines
        if read.part.line_numbers:
            yield read.part


def _few_lines(text: bytes) -> bytes:
    """As many whole lines as are read at once: four megabytes of rows of three letters would take a gigabyte."""
    end = b"\n" if b"\n" in text else b"\r"
    for begin in (text[:_OCTETS_OF_FEW_LINES], text):  # all of it only where lines are not that short
        if begin.count(end) > _LINES_OF_PART:
            ends = np.flatnonzero(np.frombuffer(begin, np.uint8) == end[0])
            return text[: int(ends[_LINES_OF_PART - 1]) + 1]
    return text


class _Form(TypedDict):
    delimiter: str
    width: int
    first_line: int
    max_cell_characters: int


def _next_part(
    text: bytes, line: int, at_end: bool, layout: Layout, encoding: Recognised, limits: ReadingLimits
) -> Read:
    marks = marks_of(text)
    whole = len(text) if at_end else marks.whole_octets
    form = _Form(
        delimiter=layout.delimiter,
        width=len(layout.header),
        first_line=line,
        max_cell_characters=limits.max_cell_characters,
    )
    if whole:
        piece = text[:whole]
        _refuse_other_octets(piece, encoding, line)
        marks = marks if at_end else marks.up_to(whole)
        if (part := read_columns(piece, marks, **form)) is not None:
            return Read(part, whole, len(marks.line_ends))
    if not at_end:  # a CR may be half of a line end
        text = text[: max(text.rfind(b"\n"), text.rfind(b"\r", 0, -1)) + 1]
    _refuse_other_octets(text, encoding, line)
    return read_records(text, **form, at_end=at_end)


def _refuse_other_octets(piece: bytes, encoding: Recognised, line: int) -> None:
    """Whole lines with a zero, or not in UTF-8."""
    if b"\0" in piece:
        raise FileRefused("FILE-BINARY")
    if encoding.name != UTF_8:  # made by us
        return
    try:
        arrow.array([piece], arrow.large_binary()).cast(arrow.large_string())
    except arrow.ArrowInvalid:
        raise _no_utf_8(piece, encoding, line) from None


def _no_utf_8(piece: bytes, encoding: Recognised, line: int) -> FileRefused:
    try:
        piece.decode()
    except UnicodeDecodeError as error:
        return undecodable(encoding, piece, error.start, line)
    return FileRefused("FILE-ENCODING", line=line)
