"""Finds canaries in octets: raw, escaped, encoded and compressed, in any case, width and kana.

What is looked at is turned, layer by layer, into texts; each is normalised and searched for tokens. A token counts only
when a canary of that number was planted. How it was hidden is told with it.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import io
import quopri
import re
import unicodedata
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from evidence.leaks.canaries import _KANA, _LETTERS, KANA_MARK, LETTER_MARK, PHONE_MARK, Flock, number_of

_TOKENS = re.compile(
    f"{LETTER_MARK}([{_LETTERS}]{{6}})|{KANA_MARK}([{_KANA}]{{6}})"
    rf"|(?<![0-9a-z]){PHONE_MARK[:3]}[-. ]?{PHONE_MARK[3:]}([0-9]{{3}})[-. ]?([0-9]{{4}})(?![0-9a-z])"
)
# Hiragana as katakana, and what nobody sees as nothing.
_ALIKE: dict[int, int | None] = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_ALIKE |= dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))
_DEEPEST = 3
_MOST_UNPACKED = 200_000_000

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){9,}")
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_QUOTED = re.compile(rb"=[0-9A-F]{2}")
_ENTITY = re.compile(rb"&(?:#[0-9]+|#x[0-9a-fA-F]+|[a-z]+);")
_ESCAPE = re.compile(rb"\\+(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[0-7]{3})")
_UNICODE_ESCAPE = re.compile(rb"\\+u([0-9a-fA-F]{4})")
_OCTET_ESCAPE = re.compile(rb"\\+x([0-9a-fA-F]{2})")
_OCTAL_ESCAPE = re.compile(rb"\\+([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A canary where none may be. ``hidden``: the layers it was under, as it is told to people."""

    sink: str
    where: str
    number: int
    hidden: str

    def said(self, flock: Flock) -> str:
        """One line, with no value in it."""
        at = flock.planted[self.number]
        return f"{self.sink}: {self.where}: {at.column} of {at.place} ({self.hidden})"


def search(flock: Flock, sink: str, where: str, octets: bytes) -> Iterator[Found]:
    """Every canary in these octets, each once."""
    seen: set[int] = set()
    for hidden, text in _texts(octets, "", 0):
        for number in _numbers(text):
            if number in flock.planted and number not in seen:
                seen.add(number)
                yield Found(sink, where, number, hidden or "as it is")


_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "cp932", "euc_jp")
_MARKS = sorted(
    {mark.encode(encoding) for encoding in _ENCODINGS for mark in (LETTER_MARK, LETTER_MARK.upper(), KANA_MARK)}
)
_AROUND = 64
_PHONE = re.compile(rb"090[-. ]?7[0-9]{3}")
_PACKED = (b"\x1f\x8b", b"\x78\x9c", b"\x78\x01", b"\x78\xda", b"PK")


def search_raw(flock: Flock, sink: str, where: str, octets: bytes) -> Iterator[Found]:
    """The same for large files of a foreign format: only what stands there uncompressed, in some encoding."""
    seen: set[int] = set()
    for near in _near_marks(octets):
        for encoding in _ENCODINGS:
            for number in _numbers(near.decode(encoding, errors="replace")):
                if number in flock.planted and number not in seen:
                    seen.add(number)
                    yield Found(sink, where, number, encoding)


def _near_marks(octets: bytes) -> Iterator[bytes]:
    """What follows each mark. Mark by mark: an expression of all of them takes twenty times as long."""
    for mark in _MARKS:
        at = octets.find(mark)
        while at >= 0:
            yield octets[at : at + _AROUND]
            at = octets.find(mark, at + 1)


def _numbers(text: str) -> Iterator[int]:
    plain = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold().translate(_ALIKE)
    for in_letters, in_kana, first, last in _TOKENS.findall(plain):
        if in_letters:
            yield number_of(in_letters, _LETTERS)
        elif in_kana:
            yield number_of(in_kana, _KANA)
        else:
            yield int(first + last)


def _texts(octets: bytes, hidden: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every way to read these octets as text. What is UTF-8 throughout is nothing else, unless there are NULs in it."""
    is_utf8 = _is_utf8(octets)
    yield hidden, octets.decode("utf-8", errors="replace")
    if not is_utf8:
        for encoding in ("cp932", "euc_jp"):
            yield _under(hidden, encoding), octets.decode(encoding, errors="replace")
    if not is_utf8 or b"\0" in octets:
        for encoding in ("utf-16-le", "utf-16-be"):
            for start in (0, 1):
                yield _under(hidden, encoding), octets[start:].decode(encoding, errors="replace")
    if depth < _DEEPEST:
        for how, inner in _layers(octets):
            # What is no text only happens to look escaped here and there: one layer of that is enough.
            packed = how.startswith(("gzip", "zlib", "zip"))
            yield from _texts(inner, _under(hidden, how), depth + 1 if is_utf8 or packed else _DEEPEST)


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _under(hidden: str, how: str) -> str:
    return f"{hidden}, {how}" if hidden else how


def _layers(octets: bytes) -> Iterator[tuple[str, bytes]]:
    """What is inside when one layer is taken away."""
    if _ESCAPE.search(octets):
        yield "escaped", _unescaped(octets)
    if _PERCENT.search(octets):
        yield "URL-encoded", urllib.parse.unquote_to_bytes(octets.replace(b"+", b" "))
    if _ENTITY.search(octets):
        yield "HTML-escaped", html.unescape(octets.decode("utf-8", errors="replace")).encode(errors="replace")
    if _QUOTED.search(octets):
        yield "quoted-printable", quopri.decodestring(octets)
    if runs := [inner for run in set(_HEX.findall(octets)) if _tells(inner := binascii.unhexlify(run))]:
        yield "hexadecimal", b"\n".join(runs)
    if runs := [inner for run in set(_BASE64.findall(octets)) for inner in _of_base64(run) if _tells(inner)]:
        yield "base64", b"\n".join(runs)
    yield from _unpacked(octets)


def _unescaped(octets: bytes) -> bytes:
    text = _UNICODE_ESCAPE.sub(lambda found: _unit(found[1]), octets)
    text = _OCTET_ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text)
    return _OCTAL_ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), text)


def _unit(digits: bytes) -> bytes:
    return chr(int(digits, 16)).encode(errors="replace")


def _tells(octets: bytes) -> bool:
    """Whether decoded octets can be anything: most runs of letters are words and digests, and decode to rubbish."""
    if octets[:2] in _PACKED or any(mark in octets for mark in _MARKS) or _PHONE.search(octets):
        return True
    try:
        return octets.decode().isprintable() or b"\n" in octets
    except UnicodeDecodeError:
        return False


def _of_base64(run: bytes) -> Iterator[bytes]:
    """From each of the four places at which a group may begin: what stands before it belongs to something else."""
    standard = run.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    for start in range(4):
        part = standard[start:]
        with suppress(binascii.Error, ValueError):
            yield base64.b64decode(part[: len(part) // 4 * 4] + _tail(part))


def _tail(part: bytes) -> bytes:
    rest = part[len(part) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _unpacked(octets: bytes) -> Iterator[tuple[str, bytes]]:
    if octets[:2] == b"\x1f\x8b":
        with suppress(OSError, EOFError, zlib.error):
            yield "gzip", gzip.GzipFile(fileobj=io.BytesIO(octets)).read(_MOST_UNPACKED)
    if octets[:2] in _PACKED:
        with suppress(zlib.error):
            yield "zlib", zlib.decompressobj().decompress(octets, _MOST_UNPACKED)
    if octets[:4] == b"PK\x03\x04":
        # What only begins like a ZIP, or is packed or locked so that nobody can read it, is searched as it is.
        with suppress(zipfile.BadZipFile, OSError, zlib.error, NotImplementedError, RuntimeError):
            with zipfile.ZipFile(io.BytesIO(octets)) as archive:
                for entry in archive.infolist():
                    yield f"zip {entry.filename}", archive.read(entry)
