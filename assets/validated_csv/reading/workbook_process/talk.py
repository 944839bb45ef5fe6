"""The talk with the parent: requests in structures on standard input, answers as JSON lines on standard output.

The sheets are shown, one is asked for, and its cells follow as frames.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from itertools import takewhile

from assets.validated_csv.reading.workbook_process.archive import checked_archive
from assets.validated_csv.reading.workbook_process.refusal import Refused
from assets.validated_csv.reading.workbook_process.sheets import sheets_of

TYPE_CHECKING = False  # as typing's, without the time that its import takes
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

LIMITS = struct.Struct("<5Qi")
"""The first request: entries, unpacked octets, ratio, octets of memory, seconds; octets of the sheet's name, which
follows in UTF-8, or -1 for none."""

CHOICE = struct.Struct("<2I")
"""The second: number of the sheet among those shown, and of the row from which on it is wanted, both from 0."""

SHOWN_ROWS = 40
"""Rows of each sheet that are shown first, for the header to be found."""

ROWS_PER_FRAME = 20_000
SIGNS_PER_FRAME = 4 << 20
FRAME = struct.Struct("<III")
"""Rows, octets of their numbers (4 each, little-endian), octets of their cells (UTF-8, all of them joined by NUL)."""


def main(descriptor: int) -> None:
    """Read the workbook that is open under ``descriptor``; a refusal is an answer too."""
    out = sys.stdout.buffer
    try:
        _talk(descriptor, sys.stdin.buffer, out)
    except Refused as refusal:
        _say(out, refused=refusal.code, facts=refusal.facts)
    except (MemoryError, RecursionError):
        _say(out, refused="FILE-WORKBOOK-TOO-LARGE", facts={})


def _talk(descriptor: int, requests: BinaryIO, out: BinaryIO) -> None:
    """Show the sheets, hear which one and from which row, send it."""
    entries, unpacked, ratio, memory, seconds, name = LIMITS.unpack(requests.read(LIMITS.size))
    wish = requests.read(name).decode() if name >= 0 else None
    _limit_ourselves(memory, seconds)
    octets = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    limits = {"entries": entries, "unpacked_bytes": unpacked, "ratio": ratio}
    archive = checked_archive(octets, limits) if octets.startswith(b"PK") else None
    sheets, hidden = sheets_of(octets, archive, wish)
    _say(
        out,
        hidden_sheets=hidden,
        sheets=[{"name": sheet.name, "rows": _first_rows(sheet.rows())} for sheet in sheets],
    )
    at, from_row = CHOICE.unpack(requests.read(CHOICE.size))
    sheet = sheets[at]
    _say(out, width=sheet.width, hidden_rows=sheet.odd.hidden_rows, faults=sheet.faults(from_row))
    _send_rows(out, sheet.rows(), from_row)
    out.flush()


def _limit_ourselves(memory_bytes: int, seconds: int) -> None:
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (limit, limit))


def _first_rows(rows: Iterator[tuple[int, list[str]]]) -> list[list[str]]:
    return [cells for _, cells in takewhile(lambda row: row[0] < SHOWN_ROWS, rows)]


def _send_rows(out: BinaryIO, rows: Iterator[tuple[int, list[str]]], above: int) -> None:
    """All rows from number ``above`` on that have content, as frames; an empty frame ends them."""
    numbers: list[int] = []
    texts: list[str] = []
    signs = 0
    for number, cells in rows:
        if number < above or not any(map(str.strip, cells)):
            continue
        text = "\0".join(cells)
        if text.count("\0") != len(cells) - 1:
            text = "\0".join(cell.replace("\0", "\ufffd") for cell in cells)
        numbers.append(number + 1)
        texts.append(text)
        signs += len(text)
        if len(texts) == ROWS_PER_FRAME or signs >= SIGNS_PER_FRAME:
            _send_frame(out, numbers, texts)
            numbers, texts, signs = [], [], 0
    _send_frame(out, numbers, texts)
    if texts:
        _send_frame(out, [], [])


def _send_frame(out: BinaryIO, numbers: list[int], texts: list[str]) -> None:
    packed, cells = struct.pack(f"<{len(numbers)}I", *numbers), "\0".join(texts).encode("utf-8", "replace")
    out.write(FRAME.pack(len(numbers), len(packed), len(cells)))
    out.write(packed)
    out.write(cells)


def _say(out: BinaryIO, **said: Any) -> None:
    out.write(as_json(said).encode("utf-8", "replace") + b"\n")
    out.flush()


_ESCAPED = {sign: f"\\u{sign:04x}" for sign in (*range(0x20), ord('"'), ord("\\"))}


def as_json(said: Any) -> str:
    """Texts, whole numbers, and lists and dicts of them. Python's own module takes 15 ms to import."""
    if isinstance(said, str):
        return f'"{said.translate(_ESCAPED)}"'
    if isinstance(said, dict):
        return f"{{{','.join(f'{as_json(key)}:{as_json(value)}' for key, value in said.items())}}}"
    return f"[{','.join(map(as_json, said))}]" if isinstance(said, (list, tuple)) else str(said)
