"""Reads a workbook in a process of its own, for its parent ``workbook``: limits of memory and time, no environment.

Imports nothing of ours, for it runs alone: ``python -I -S workbook_child.py DESCRIPTOR LIBRARIES``. Requests and
answers are JSON lines on standard input and output; the cells follow as frames (``send_rows``). It says codes, counts
and places; cells go to nobody but its parent.

A workbook is a ZIP archive that strangers made. Nothing is unpacked by the library that reads it before every entry was
inflated once into nothing, counted, and found to be what the directory says. Also seen then: what that library passes
over in silence, cells whose value is an error, formulas whose result was not stored, numbers that show leading zeros.
"""

from __future__ import annotations

import datetime
import io
import json
import os
import re
import resource
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO
from xml.etree import ElementTree

SHOWN_ROWS = 40
"""Rows of each sheet that are shown first, for the header to be found."""

ROWS_PER_FRAME = 5_000
FRAME = struct.Struct("<III")
"""Rows, octets of their numbers (4 each, little-endian), octets of their cells (UTF-8, all of them joined by NUL)."""


class Refused(Exception):
    """A FILE-* code and its facts."""

    def __init__(self, code: str, **facts: int | str) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts


# -- the archive ------------------------------------------------------------------------------------------------------

_CHUNK = 1 << 20
_FORBIDDEN = (b"<!DOCTYPE", b"<!ENTITY")
_ERRORS, _FORMULAS, _HIDDEN = b't="e"', b"<f", b'hidden="1"'
_NOTABLE = (_ERRORS, _FORMULAS, _HIDDEN)
_OVERLAP = max(map(len, (*_FORBIDDEN, *_NOTABLE)))
_SMALL = 10_000_000  # below it nobody minds how well it was packed


@dataclass(slots=True)
class Archive:
    """An archive that was found to be harmless. ``notable`` has what each entry holds of `_NOTABLE`."""

    octets: bytes
    entries: dict[str, zipfile.ZipInfo] = field(default_factory=dict)
    notable: dict[str, set[bytes]] = field(default_factory=dict)

    def inflated(self, name: str) -> bytes:
        """One entry, empty where there is none."""
        entry = self.entries.get(name.lower())
        return b"".join(_inflate(self.octets, entry)) if entry is not None else b""


def checked_archive(octets: bytes, limits: dict[str, int]) -> Archive:
    """Look through the whole archive without keeping anything of it.

    Raises:
        Refused: FILE-WORKBOOK-TOO-LARGE, -PROTECTED, -UNSAFE or -BROKEN.
    """
    try:
        entries = zipfile.ZipFile(io.BytesIO(octets)).infolist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, struct.error):
        raise Refused("FILE-WORKBOOK-BROKEN") from None
    _refuse_directory(octets, entries, limits)
    archive, unpacked = Archive(octets), 0
    for entry in entries:
        name = entry.filename.lower()
        if name in archive.entries:  # readers differ in which of the two they take
            raise Refused("FILE-WORKBOOK-UNSAFE")
        archive.entries[name] = entry
        unpacked += _look_through(archive, name, entry)
    return archive


def _refuse_directory(octets: bytes, entries: list[zipfile.ZipInfo], limits: dict[str, int]) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > limits["entries"]:
        raise Refused("FILE-WORKBOOK-TOO-LARGE")
    if unpacked > limits["unpacked_bytes"] or unpacked > _SMALL + packed * limits["ratio"]:
        raise Refused("FILE-WORKBOOK-TOO-LARGE")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise Refused("FILE-WORKBOOK-PROTECTED")
    in_order = sorted(entries, key=lambda entry: entry.header_offset)
    ends = [(entry.header_offset, _data_begins(octets, entry) + entry.compress_size) for entry in in_order]
    if any(end > begin for (_, end), (begin, _) in pairwise(ends)):
        raise Refused("FILE-WORKBOOK-UNSAFE")  # entries that share octets unpack to more than any sum says


def _data_begins(octets: bytes, entry: zipfile.ZipInfo) -> int:
    begin = entry.header_offset
    head = octets[begin : begin + 30]
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise Refused("FILE-WORKBOOK-BROKEN")
    name, extra = struct.unpack("<HH", head[26:30])
    return int(begin + 30 + name + extra)


def _inflate(octets: bytes, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The entry in chunks, never more of it than its directory says."""
    begin = _data_begins(octets, entry)
    packed = memoryview(octets)[begin : begin + entry.compress_size]
    if entry.compress_type == zipfile.ZIP_STORED:
        if len(packed) != entry.file_size:
            raise Refused("FILE-WORKBOOK-BROKEN")
        yield bytes(packed)
        return
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise Refused("FILE-WORKBOOK-BROKEN")
    inflater, seen, left = zlib.decompressobj(-15), 0, bytes(packed)
    try:
        while not inflater.eof:
            chunk = inflater.decompress(left, _CHUNK)
            left = inflater.unconsumed_tail
            seen += len(chunk)
            if seen > entry.file_size or (not chunk and not inflater.eof):
                raise Refused("FILE-WORKBOOK-BROKEN")
            yield chunk
    except zlib.error:
        raise Refused("FILE-WORKBOOK-BROKEN") from None
    if seen != entry.file_size:
        raise Refused("FILE-WORKBOOK-BROKEN")


def _look_through(archive: Archive, name: str, entry: zipfile.ZipInfo) -> int:
    found: set[bytes] = set()
    size, before = 0, b""
    is_xml = name.endswith((".xml", ".rels"))
    for chunk in _inflate(archive.octets, entry):
        size += len(chunk)
        if is_xml:
            seen = before + chunk
            if any(sign in seen for sign in _FORBIDDEN):
                raise Refused("FILE-WORKBOOK-UNSAFE")
            found.update(sign for sign in _NOTABLE if sign in seen)
            before = chunk[-_OVERLAP:]
    archive.notable[name] = found
    return size


# -- what the reading library passes over -----------------------------------------------------------------------------

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LINK = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_CELL_WITH_ERROR = re.compile(rb'<(?:\w+:)?c\b([^>]*\bt="e"[^>]*)>')
_CELL_WITHOUT_RESULT = re.compile(
    rb"<(?:\w+:)?c\b([^>]*)>\s*<(?:\w+:)?f\b[^>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*(?:<(?:\w+:)?v\s*(?:/>|></(?:\w+:)?v>)\s*)?"
    rb"</(?:\w+:)?c>"
)
_HIDDEN_ROW = re.compile(rb'<(?:\w+:)?row\b[^>]*\bhidden="1"')
_VALUE = re.compile(rb"<(?:\w+:)?v>([^<]{1,20})</")
_REFERENCE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')


@dataclass(slots=True)
class Oddities:
    """Places are (row, column) from 0. ``shown_as`` has the format of numbers that show more digits than they have."""

    faults: list[tuple[int, int, str]] = field(default_factory=list)
    shown_as: dict[int, dict[int, str]] = field(default_factory=dict)
    errors: dict[int, dict[int, str]] = field(default_factory=dict)
    hidden_rows: int = 0


def oddities(archive: Archive, sheet_name: str) -> Oddities:
    """What is odd about one sheet of a workbook."""
    found = Oddities()
    part = _part_of(archive, sheet_name)
    notable = archive.notable.get(part.lower(), set())
    formats = _padding_formats(archive.inflated("xl/styles.xml"))
    if not notable and not formats:
        return found
    xml = archive.inflated(part)
    if _ERRORS in notable:
        for (row, column), _, end in _places(_CELL_WITH_ERROR, xml):
            found.faults.append((row, column, "ORD-EXCEL-ERROR-VALUE"))
            value = _VALUE.search(xml, end)
            found.errors.setdefault(row, {})[column] = value[1].decode("ascii", "replace") if value else "#ERROR!"
    if _FORMULAS in notable:
        for place, attributes, _ in _places(_CELL_WITHOUT_RESULT, xml):
            if b't="str"' not in attributes:  # a result that is an empty text
                found.faults.append((*place, "ORD-CELL-NO-RESULT"))
    if _HIDDEN in notable:
        found.hidden_rows = len(_HIDDEN_ROW.findall(xml))
    if formats:
        styles = b"|".join(b"%d" % style for style in formats)
        styled = re.compile(rb'<(?:\w+:)?c\b([^>]*\bs="(?:' + styles + rb')"[^>]*)>')
        for (row, column), attributes, _ in _places(styled, xml):
            style = re.search(rb'\bs="([0-9]+)"', attributes)
            if style is not None and b' t="' not in attributes:
                found.shown_as.setdefault(row, {})[column] = formats[int(style[1])]
    return found


def _places(pattern: re.Pattern[bytes], xml: bytes) -> Iterator[tuple[tuple[int, int], bytes, int]]:
    """Of each cell found: its place, its attributes, and where what was found ends."""
    for match in pattern.finditer(xml):
        reference = _REFERENCE.search(match[1])
        if reference is not None:
            yield (int(reference[2]) - 1, _column(reference[1])), match[1], match.end()


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _part_of(archive: Archive, sheet_name: str) -> str:
    """The entry that holds a sheet."""
    try:
        workbook = ElementTree.fromstring(archive.inflated("xl/workbook.xml"))
        links = ElementTree.fromstring(archive.inflated("xl/_rels/workbook.xml.rels"))
    except ElementTree.ParseError:
        return ""
    targets = {link.get("Id"): link.get("Target", "") for link in links}
    for sheet in workbook.iter(f"{_MAIN}sheet"):
        if sheet.get("name") == sheet_name:
            target = targets.get(sheet.get(_LINK), "")
            return target.lstrip("/") if target.startswith(("/", "xl/")) else f"xl/{target}"
    return ""


# -- numbers that show leading zeros ----------------------------------------------------------------------------------

_SECTION = re.compile(r'(?:\[[^\]]*\])*((?:[0#\-() ]|\\[\-() ]|"[\-() ]*")+)')
_CONDITION = re.compile(r"\[(<=|<|>=|>|=)([0-9.]+)\]")


def _padding_formats(styles: bytes) -> dict[int, str]:
    """The cell styles whose number format only pads or divides digits: 00000, 000-0000."""
    try:
        root = ElementTree.fromstring(styles)
    except ElementTree.ParseError:
        return {}
    codes = {item.get("numFmtId"): item.get("formatCode", "") for item in root.iter(f"{_MAIN}numFmt")}
    padding = {number: code for number, code in codes.items() if _only_digits(code)}
    cells = root.find(f"{_MAIN}cellXfs")
    if cells is None or not padding:
        return {}
    return {at: padding[number] for at, xf in enumerate(cells) if (number := xf.get("numFmtId")) in padding}


def _only_digits(code: str) -> bool:
    sections = code.split(";")
    if not all(_SECTION.fullmatch(section) for section in sections[:3]):
        return False
    plain = re.sub(r"\[[^\]]*\]", "", sections[0])
    return plain.count("0") > 1 or ("-" in plain and plain.count("#") + plain.count("0") > 1)


def shown(number: int, code: str) -> str:
    """A whole number as its format shows it, never negative."""
    sections = code.split(";")
    picked = next((section for section in sections if _holds(section, number)), sections[-1])
    match = _SECTION.fullmatch(picked)
    if match is None:
        return str(number)
    pattern = re.sub(r'\\(.)|"([^"]*)"', lambda found: found[1] or found[2] or "", match[1])
    digits, text = list(str(number)), ""
    for sign in reversed(pattern):
        if sign in "0#":
            text = (digits.pop() if digits else "0" if sign == "0" else "") + text
        elif digits or "0" in pattern[: len(pattern) - 1]:
            text = sign + text
    return "".join(digits) + text


def _holds(section: str, number: int) -> bool:
    condition = _CONDITION.search(section)
    if condition is None:
        return True
    limit = float(condition[2])
    compared = {"<=": number <= limit, "<": number < limit, ">=": number >= limit, ">": number > limit}
    return compared.get(condition[1], number == limit)


# -- cells as text ----------------------------------------------------------------------------------------------------

_EXACT = 1e15  # Excel keeps fifteen digits


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if value != value or abs(value) == float("inf"):
        return "#NUM!"
    return f"{value:.15G}"


def _duration(value: datetime.timedelta) -> str:
    minutes, seconds = divmod(round(value.total_seconds()), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


_AS_TEXT: dict[type, Callable[[Any], str]] = {
    float: _number,
    int: str,
    bool: lambda value: "TRUE" if value else "FALSE",
    datetime.date: datetime.date.isoformat,
    datetime.datetime: lambda value: value.isoformat(" ", "seconds"),
    datetime.time: lambda value: value.isoformat("seconds"),
    datetime.timedelta: _duration,
    type(None): lambda value: "",
}


def as_text(row: list[Any]) -> list[str]:
    """The cells of a row as text: whole numbers without a point, days as 2026-04-01."""
    return [cell if cell.__class__ is str else _AS_TEXT[cell.__class__](cell) for cell in row]


# -- the sheets -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sheet:
    """A sheet that may be taken, all of it in memory, and where its first row and column stand in the sheet."""

    name: str
    cells: Any
    width: int


def _sheets(octets: bytes, wish: str | None) -> tuple[list[Sheet], int]:
    """The visible sheets that have content, or the one wished for; and how many hidden ones have been left."""
    import python_calamine as calamine

    try:
        book = calamine.load_workbook(io.BytesIO(octets))
        sheets, hidden = [], 0
        for found in book.sheets_metadata:
            if found.typ != calamine.SheetTypeEnum.WorkSheet or (wish is not None and found.name != wish):
                continue
            if wish is None and found.visible != calamine.SheetVisibleEnum.Visible:
                hidden += 1
                continue
            cells = book.get_sheet_by_name(found.name)
            if cells.end is not None:
                sheets.append(Sheet(found.name, cells, cells.end[1] + 1))
        return sheets, hidden
    except calamine.PasswordError:
        raise Refused("FILE-WORKBOOK-PROTECTED") from None
    except calamine.CalamineError:
        raise Refused("FILE-WORKBOOK-BROKEN") from None


def _rows(sheet: Sheet, odd: Oddities) -> Iterator[tuple[int, list[str]]]:
    """Every row with content, by its number from 0."""
    left = sheet.cells.start[1]
    padding = [""] * left
    for number, row in enumerate(sheet.cells.iter_rows()):
        cells = padding + as_text(row) if left else as_text(row)
        for column, code in odd.shown_as.get(number, {}).items():
            if column < len(cells) and cells[column].isdigit():
                cells[column] = shown(int(cells[column]), code)
        for column, value in odd.errors.get(number, {}).items():
            if column < len(cells):
                cells[column] = value
        yield number, cells


def _merged(sheet: Sheet, below: int) -> Iterator[tuple[int, int, str]]:
    """The cells that others cover, below a row: what they would hold cannot be told."""
    bottom, right = sheet.cells.end
    for (top, left), (last_row, last_column) in sheet.cells.merged_cell_ranges or ():
        for row in range(max(top, below), min(last_row, bottom) + 1):
            for column in range(left, min(last_column, right) + 1):
                if (row, column) != (top, left):
                    yield row, column, "ORD-CELL-MERGED"


# -- the talk with the parent -----------------------------------------------------------------------------------------


def send_rows(out: BinaryIO, rows: Iterator[tuple[int, list[str]]], above: int) -> None:
    """All rows from number ``above`` on that have content, as frames; an empty frame ends them."""
    numbers: list[int] = []
    texts: list[str] = []
    for number, cells in rows:
        if number < above:
            continue
        text = "\0".join(cells)
        if text.count("\0") != len(cells) - 1:
            text = "\0".join(cell.replace("\0", "\ufffd") for cell in cells)
        if not text.replace("\0", " ").strip():
            continue
        numbers.append(number + 1)
        texts.append(text)
        if len(texts) == ROWS_PER_FRAME:
            _send_frame(out, numbers, texts)
            numbers, texts = [], []
    _send_frame(out, numbers, texts)
    if texts:
        _send_frame(out, [], [])


def _send_frame(out: BinaryIO, numbers: list[int], texts: list[str]) -> None:
    packed, cells = struct.pack(f"<{len(numbers)}I", *numbers), "\0".join(texts).encode("utf-8", "replace")
    out.write(FRAME.pack(len(numbers), len(packed), len(cells)))
    out.write(packed)
    out.write(cells)


def _say(out: BinaryIO, **said: Any) -> None:
    out.write(json.dumps(said).encode() + b"\n")
    out.flush()


def talk(descriptor: int, requests: BinaryIO, out: BinaryIO) -> None:
    """Show the sheets, hear which one and from which row, send it."""
    first = json.loads(requests.readline())
    _limit_ourselves(first["memory_bytes"], first["seconds"])
    octets = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    archive = checked_archive(octets, first) if octets.startswith(b"PK") else None
    sheets, hidden = _sheets(octets, first["sheet"])
    odd = {sheet.name: oddities(archive, sheet.name) if archive else Oddities() for sheet in sheets}
    _say(
        out,
        hidden_sheets=hidden,
        sheets=[
            {"name": sheet.name, "rows": [cells for _, cells in _first(_rows(sheet, odd[sheet.name]))]}
            for sheet in sheets
        ],
    )
    asked = json.loads(requests.readline())
    sheet = sheets[asked["sheet"]]
    found = odd[sheet.name]
    faults = [*found.faults, *_merged(sheet, asked["from_row"])]
    _say(out, width=sheet.width, hidden_rows=found.hidden_rows, faults=faults)
    send_rows(out, _rows(sheet, found), asked["from_row"])
    out.flush()


def _first(rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    for number, cells in rows:
        if number == SHOWN_ROWS:
            return
        yield number, cells


def _limit_ourselves(memory_bytes: int, seconds: int) -> None:
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (limit, limit))


def main() -> None:
    """Talk on standard input and output; a refusal is an answer too."""
    out = sys.stdout.buffer
    sys.path.append(sys.argv[2])
    try:
        talk(int(sys.argv[1]), sys.stdin.buffer, out)
    except Refused as refusal:
        _say(out, refused=refusal.code, facts=refusal.facts)
    except (MemoryError, RecursionError):
        _say(out, refused="FILE-WORKBOOK-TOO-LARGE", facts={})


if __name__ == "__main__":
    main()
