"""A workbook (.xlsx, .xls), read by ``workbook_process`` in a process of its own (LIM-002).

Whatever a hostile workbook does there, it does within that process's limits, without our keys, connections and
environment: it costs its own import and nothing else. Which sheet and which row hold the orders is decided here.
"""

from __future__ import annotations

import importlib.util
import json
import math
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as arrow
import pyarrow.compute as compute

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.reading.dialect import KnownColumns
from assets.validated_csv.reading.octets import Deadline, Octets
from assets.validated_csv.reading.parts import BETWEEN_CELLS, CellFault, Cells, Opened, Part, faults_of_columns
from assets.validated_csv.reading.taken import Taken, Wishes
from assets.validated_csv.reading.workbook_process.talk import CHOICE, FRAME, LIMITS
from domain.errors import FileRefused, TerminalError
from domain.headers import has_orders
from resources.file_labels import safe_label

_PROGRAM = Path(__file__).with_name("workbook_process") / "__main__.py"
_ROOT = Path(__file__).parents[3]


def open_workbook(octets: Octets, known: KnownColumns, wishes: Wishes, limits: ReadingLimits) -> Opened:
    """Start reading a workbook.

    Raises:
        FileRefused: FILE-WORKBOOK-* or FILE-SHEET-*, FILE-HEADER-NOT-FOUND, FILE-EMPTY. Iterating the parts raises it
            too.
    """
    for _ in octets:  # counted and digested; the child reads the same file anew
        pass
    child = _Child(octets.descriptor, octets.deadline)
    try:
        return _opened(child, octets.at(0, 2), known, wishes, limits)
    except BaseException:
        child.close()
        raise


def _opened(child: _Child, first: bytes, known: KnownColumns, wishes: Wishes, limits: ReadingLimits) -> Opened:
    answer = child.ask(_limits_and_wish(limits, wishes.sheet))
    at, row, reason = _choose(answer["sheets"], known, wishes)
    about = child.ask(CHOICE.pack(at, row + 1))
    notes = {"hidden_rows": about["hidden_rows"], "hidden_sheets": answer["hidden_sheets"]}
    taken = Taken(
        kind="xlsx" if first.startswith(b"PK") else "xls",
        header_row=row + 1,
        sheet=safe_label(answer["sheets"][at]["name"]),
        sheet_reason=reason,
        notes=tuple((what, count) for what, count in notes.items() if count),
    )
    width = about["width"]
    header = _fitted(answer["sheets"][at]["rows"][row], width)
    faults = [(number + 1, column, code) for number, column, code in about["faults"]]
    return Opened(taken, tuple(header), _parts(child, width, faults, limits.max_cell_characters), child.close)


def _limits_and_wish(limits: ReadingLimits, sheet: str | None) -> bytes:
    name = sheet.encode() if sheet is not None else b""
    of_archive = limits.max_workbook_entries, limits.max_workbook_unpacked_bytes, limits.max_workbook_ratio
    of_process = limits.max_workbook_memory_bytes, math.ceil(limits.max_seconds)
    return LIMITS.pack(*of_archive, *of_process, len(name) if sheet is not None else -1) + name


def _fitted(cells: list[str], width: int) -> list[str]:
    return cells + [""] * (width - len(cells))


# -- which sheet, which row -------------------------------------------------------------------------------------------


def _choose(sheets: Sequence[dict[str, Any]], known: KnownColumns, wishes: Wishes) -> tuple[int, int, str]:
    """The sheet, its row with the column names, and why this sheet."""
    if not sheets:
        raise FileRefused("FILE-SHEET-NOT-FOUND" if wishes.sheet else "FILE-EMPTY")
    headers = [_header(sheet["rows"], known, wishes.header_row) for sheet in sheets]
    worth = [known(sheet["rows"][row]) if row >= 0 else -1 for sheet, row in zip(sheets, headers, strict=True)]
    best = max(worth)
    if best < 0:
        raise FileRefused("FILE-HEADER-NOT-FOUND", line=wishes.header_row or 1)
    # As good as the best; or all that an order needs, as one month may have where another has a memo besides.
    chosen = [
        at for at, row in enumerate(headers) if worth[at] == best or (row >= 0 and has_orders(sheets[at]["rows"][row]))
    ]
    if len(chosen) > 1:
        names = ", ".join(safe_label(sheets[at]["name"]) for at in chosen)
        raise FileRefused("FILE-SHEET-UNSURE", sheets=names)
    at = chosen[0]
    if wishes.sheet is not None:
        return at, headers[at], "READ-SHEET-SET"
    return at, headers[at], "READ-SHEET-ONLY" if len(sheets) == 1 else "READ-SHEET-BEST"


def _header(rows: list[list[str]], known: KnownColumns, wish: int | None) -> int:
    """The first row that names most columns, or -1."""
    if wish is not None:
        return wish - 1 if wish <= len(rows) and any(map(str.strip, rows[wish - 1])) else -1
    with_content = [at for at, row in enumerate(rows) if any(map(str.strip, row))]
    return max(with_content, key=lambda at: known(rows[at]), default=-1)


# -- the cells --------------------------------------------------------------------------------------------------------


def _parts(child: _Child, width: int, faults: list[tuple[int, int, str]], max_characters: int) -> Iterator[Part]:
    by_row: dict[int, list[tuple[int, str]]] = {}
    for number, column, code in faults:
        by_row.setdefault(number, []).append((column, code))
    for numbers, text in child.frames():
        cells = _cells(text, width)
        found = faults_of_columns(cells, max_characters)
        if by_row:
            found += (
                CellFault(row, column, code)
                for row, number in enumerate(numbers)
                for column, code in by_row.get(number, ())
                if column < width
            )
            found.sort(key=lambda fault: (fault.row, fault.position))
        yield Part(cells, numbers, found)


def _cells(text: bytes, width: int) -> Cells:
    """All cells of some rows from one text in which NUL is between them."""
    whole = arrow.array([text], arrow.large_binary()).cast(arrow.large_string())
    flat = compute.split_pattern(whole, BETWEEN_CELLS).flatten()
    places = np.arange(len(flat) // width) * width
    columns = [flat.take(arrow.array(places + at)) for at in range(width)]
    joined = compute.binary_join_element_wise(*columns, arrow.scalar(BETWEEN_CELLS, arrow.large_string()))
    return Cells(joined, tuple(columns), np.arange(len(places), dtype=np.int64))


# -- the process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pipes:
    requests: IO[bytes]
    answers: IO[bytes]


def _library_folder() -> str:
    """Where the reading library is: without the search for all others the process starts in half the time."""
    found = importlib.util.find_spec("python_calamine")
    if found is None or found.origin is None:
        raise TerminalError("SYS-LIBRARY-MISSING", library="python-calamine")
    return str(Path(found.origin).parents[1])


class _Child:
    """The process that reads. It is ended when its time is over; then, and when it breaks, the file is refused."""

    def __init__(self, descriptor: int, deadline: Deadline) -> None:
        self._deadline = deadline
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_PROGRAM), str(descriptor), str(_ROOT), _library_folder()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(descriptor,),
            env={},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._pipes = _Pipes(self._process.stdin, self._process.stdout)
        self._timer = self._watched()

    def ask(self, request: bytes) -> dict[str, Any]:
        """One request and its answer."""
        try:
            self._pipes.requests.write(request)
            self._pipes.requests.flush()
        except BrokenPipeError:
            raise self._broken() from None
        line = self._pipes.answers.readline()
        if not line.endswith(b"\n"):
            raise self._broken()
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise FileRefused(answer["refused"], **answer["facts"])
        return answer

    def frames(self) -> Iterator[tuple[list[int], bytes]]:
        """The row numbers and the cells of some rows at a time."""
        while True:
            rows, octets_of_numbers, octets_of_cells = FRAME.unpack(self._read(FRAME.size))
            if rows == 0:
                return
            numbers = np.frombuffer(self._read(octets_of_numbers), np.dtype("<u4")).tolist()
            yield numbers, self._read(octets_of_cells)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._timer.cancel()
        self._process.kill()
        self._pipes.answers.close()
        with suppress(BrokenPipeError):  # something was still to be written to it
            self._pipes.requests.close()
        self._process.wait()

    def _watched(self) -> threading.Timer:
        timer = threading.Timer(self._deadline.left, self._end_in_time)
        timer.daemon = True
        timer.start()
        return timer

    def _end_in_time(self) -> None:
        if self._deadline.left == 0:
            self._process.kill()
        elif self._process.poll() is None:  # the clock stood still while others worked
            self._timer = self._watched()

    def _read(self, octets: int) -> bytes:
        found = self._pipes.answers.read(octets)
        if len(found) < octets:
            raise self._broken()
        return found

    def _broken(self) -> FileRefused:
        """It ended without a word: out of time, out of memory, or something in the file broke it."""
        ended = self._process.wait()
        if self._deadline.left == 0 or ended == -signal.SIGXCPU:
            return self._deadline.refusal()
        return FileRefused("FILE-WORKBOOK-BROKEN" if ended > 0 else "FILE-WORKBOOK-TOO-LARGE")
