"""The octets of a text file as UTF-8, block by block: memory does not grow with the file."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Protocol

from assets.validated_csv.reading.encodings import (
    CP932,
    EUC_JP,
    ISO_2022_JP,
    UTF_8,
    Recognised,
    decoded,
    lines_before,
    refuse_mixed,
    undecodable,
)
from assets.validated_csv.reading.japanese import Iso2022Jp
from assets.validated_csv.reading.octets import MAX_LINE_OCTETS
from domain.errors import FileRefused


def to_utf_8(blocks: Iterator[bytes], encoding: Recognised) -> Iterator[bytes]:
    """The text without its mark, in blocks of whole characters.

    What is UTF-8 already goes through unlooked at and ends anywhere: whoever cuts it into lines checks it.

    Raises:
        FileRefused: FILE-ENCODING, -SET or -MIXED, with the line.
    """
    blocks = _without_mark(blocks, encoding.mark)
    if encoding.name == UTF_8:
        return blocks
    return _by_lines(blocks, encoding) if encoding.is_transparent else _in_order(blocks, encoding)


def _without_mark(blocks: Iterator[bytes], mark: bytes) -> Iterator[bytes]:
    yield next(blocks, b"").removeprefix(mark)
    yield from blocks


def _by_lines(blocks: Iterator[bytes], encoding: Recognised) -> Iterator[bytes]:
    """Cut behind line breaks: in these encodings there is no character across them."""
    line, kept = 1, b""
    for block in blocks:
        block = kept + block
        end = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        piece, kept = block[:end], block[end:]
        yield _piece(piece, encoding, line)
        line += lines_before(piece, len(piece))
        _refuse_long_line(len(kept), line)
    yield _piece(kept, encoding, line)


def _refuse_long_line(octets: int, line: int) -> None:
    """A line is held until its end has come: one without end must not be held for ever."""
    if octets > MAX_LINE_OCTETS:
        raise FileRefused("FILE-LINE-TOO-LONG", line=line)


def _piece(octets: bytes, encoding: Recognised, line: int) -> bytes:
    try:
        text = decoded(octets, encoding.name)
    except UnicodeDecodeError as error:
        raise undecodable(encoding, octets, error.start, line) from None
    if encoding.name in (CP932, EUC_JP):
        refuse_mixed(octets, encoding, line)
    return text.encode()


class _Decoder(Protocol):
    def decode(self, data: bytes, final: bool = False) -> str: ...


def _in_order(blocks: Iterator[bytes], encoding: Recognised) -> Iterator[bytes]:
    """Encodings that know where they are only from what came before."""
    iso = encoding.name == ISO_2022_JP
    decoder: _Decoder = Iso2022Jp() if iso else codecs.getincrementaldecoder(encoding.name)()
    line = 1
    try:
        for block in blocks:
            piece = decoder.decode(block).encode()
            yield piece
            line += lines_before(piece, len(piece))
            if isinstance(decoder, Iso2022Jp):
                _refuse_long_line(decoder.kept, line)
        yield decoder.decode(b"", final=True).encode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        read = before if iso else before.decode(encoding.name, "ignore").encode()
        raise undecodable(encoding, read, len(read), line) from None
