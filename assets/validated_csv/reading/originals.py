"""The client's own octets of single records and cells of a text file, so that what is given back is what came.

Characters that have two codes (`髙`), user-defined ones and odd quoting survive only as octets: what nobody touched is
never decoded and encoded again.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.validated_csv.reading import japanese
from assets.validated_csv.reading.dialect import split_lines
from assets.validated_csv.reading.encodings import CP932, EUC_JP, ISO_2022_JP, UTF_16_BE, UTF_16_LE, decoded
from assets.validated_csv.reading.octets import Deadline, Octets
from assets.validated_csv.reading.taken import Taken
from resources.regular_files import open_regular

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_NO_DEADLINE = float("inf")


@dataclass(frozen=True, slots=True)
class _Line:
    octets: bytes
    text: str


def original_beginning(path: Path, taken: Taken) -> bytes:
    """Everything down to and with the header: mark, ``sep=`` line, titles, column names, with their line ends."""
    lines = _lines(path, taken)
    above = [next(lines).octets for _ in range(taken.header_row - 1)]
    return b"".join([*above, _record(lines, taken)])


def original_records(path: Path, taken: Taken, line_numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """The records that begin at these lines, which ascend: line number and octets, line end included.

    ``taken`` is how the file was read; it is the very file that was.
    """
    lines, passed = _lines(path, taken), 0
    for number in line_numbers:
        for _ in range(number - passed - 1):
            next(lines)
        counted = _Counted(lines)
        yield number, _record(counted, taken)
        passed = number - 1 + counted.count


def redacted(path: Path, taken: Taken, line_numbers: Collection[int]) -> Iterator[bytes]:
    """The whole file, piece by piece, with nothing to be read in the records that begin at these lines.

    Each octet of theirs is an x, but for line ends: every other line is where it was, and as long.
    """
    lines, number = _lines(path, taken), 0
    while True:
        number += 1
        counted = _Counted(lines)
        try:
            if number in line_numbers:
                yield _nothing_to_read(_record(counted, taken), taken.encoding)
                number += counted.count - 1
            else:
                yield next(counted).octets
        except StopIteration:
            return


def _nothing_to_read(record: bytes, encoding: str) -> bytes:
    if encoding in (UTF_16_LE, UTF_16_BE):
        return re.sub(r"[^\r\n]", "x", record.decode(encoding, "replace")).encode(encoding)
    return re.sub(rb"[^\r\n]", b"x", record)


def original_cells(record: bytes, taken: Taken) -> list[bytes]:
    """The cells of a record with their quotes; joined by the delimiter, and with its line end, they are the record."""
    unit = 2 if taken.encoding in (UTF_16_LE, UTF_16_BE) else 1
    text = _searchable(record, taken.encoding)
    delimiter = re.escape(taken.delimiter)
    cells = re.compile(f'"[^"]*(?:""[^"]*)*"|[^{delimiter}\r\n]*')
    found, at = [], 0
    while True:
        match = cells.match(text, at)
        assert match is not None  # an empty cell matches too
        found.append(record[match.start() * unit : match.end() * unit])
        at = match.end() + 1
        if not text.startswith(taken.delimiter, match.end()):
            return found


def encode(text: str, encoding: str) -> bytes:
    """Text of ours in the client's encoding; a character that it does not have becomes a question mark."""
    if encoding == CP932:
        return japanese.encode_cp932(text, "replace")
    if encoding in (EUC_JP, ISO_2022_JP):
        return text.translate(japanese.AS_OTHERS).encode(encoding, "replace")
    return text.encode(encoding, "replace")


# -- lines and records ------------------------------------------------------------------------------------------------


class _Counted:
    """Counts what is taken of an iterator."""

    def __init__(self, lines: Iterator[_Line]) -> None:
        self._lines = lines
        self.count = 0

    def __iter__(self) -> Iterator[_Line]:
        return self

    def __next__(self) -> _Line:
        line = next(self._lines)
        self.count += 1
        return line


def _record(lines: Iterator[_Line], taken: Taken) -> bytes:
    taken_lines: list[bytes] = []

    def texts() -> Iterator[str]:
        for line in lines:
            taken_lines.append(line.octets)
            yield line.text

    next(csv.reader(texts(), strict=True, delimiter=taken.delimiter))
    return b"".join(taken_lines)


def _lines(path: Path, taken: Taken) -> Iterator[_Line]:
    """Each physical line: its octets, and its text without the mark."""
    with open(open_regular(path), "rb") as file:
        blocks = iter(Octets(file.fileno(), Deadline(_NO_DEADLINE)))
        lines = _wide(blocks, taken.encoding) if taken.encoding in (UTF_16_LE, UTF_16_BE) else _narrow(blocks, taken)
        first = next(lines)
        yield _Line(first.octets, first.text.removeprefix("\ufeff"))
        yield from lines


def _narrow(blocks: Iterator[bytes], taken: Taken) -> Iterator[_Line]:
    jis = japanese.Iso2022Jp() if taken.encoding == ISO_2022_JP else None
    for octets in _split(blocks):
        text = jis.decode(octets, final=True) if jis is not None else decoded(octets, taken.encoding)
        yield _Line(octets, text)


def _split(blocks: Iterator[bytes]) -> Iterator[bytes]:
    kept = b""
    for block in blocks:
        found = _LINE.findall(kept + block)
        kept = found.pop()  # more of it may come, were it only the LF to its CR
        yield from found
    if kept:
        yield kept


def _wide(blocks: Iterator[bytes], encoding: str) -> Iterator[_Line]:
    decoder, kept = codecs.getincrementaldecoder(encoding)(), ""
    for block in blocks:
        found = split_lines(kept + decoder.decode(block))
        kept = found.pop() if found else ""
        yield from (_Line(text.encode(encoding), text) for text in found)
    if kept:
        yield _Line(kept.encode(encoding), kept)


def _searchable(record: bytes, encoding: str) -> str:
    """A text with one sign for each unit of the record, in which quotes and delimiters are where they are there."""
    if encoding in (UTF_16_LE, UTF_16_BE):
        units = memoryview(record).cast("H") if encoding == UTF_16_LE else memoryview(_swapped(record)).cast("H")
        return "".join(map(chr, units))
    if encoding == ISO_2022_JP:
        record = re.sub(rb"\x1b(?:\$[@B]|\(I)[^\x1b\r\n]*", lambda found: b"\x1b" * len(found[0]), record)
    return record.decode("latin-1")


def _swapped(record: bytes) -> bytes:
    pairs = bytearray(record)
    pairs[::2], pairs[1::2] = record[1::2], record[::2]
    return bytes(pairs)
