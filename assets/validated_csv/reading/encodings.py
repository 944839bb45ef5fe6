"""Which encoding a text file is in, and why we say so. What cannot be told for certain is a question, never a guess.

A mark at the beginning decides; then the escapes of ISO-2022-JP; then what the first telling lines can be at all. Where
that leaves several, the one that makes Japanese of them is taken, and only when the others make rubbish. Whether the
rest of the file obeys is seen while it is read: one line in another encoding refuses the file, for half of it would
become mojibake.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from assets.validated_csv.reading import japanese
from domain.errors import FileRefused

UTF_8, CP932, EUC_JP, ISO_2022_JP = "utf-8", "cp932", "euc-jp", "iso-2022-jp"
UTF_16_LE, UTF_16_BE, WINDOWS_1252 = "utf-16-le", "utf-16-be", "windows-1252"

ENCODINGS = (UTF_8, CP932, UTF_16_LE, UTF_16_BE, EUC_JP, ISO_2022_JP, WINDOWS_1252)
"""What may be set for a client or a file. The last is never recognised: too many files would read as it."""

EXCERPT_OCTETS = 16_384
"""How much is looked at to recognise an encoding."""

_MARKS = {UTF_8: b"\xef\xbb\xbf", UTF_16_LE: b"\xff\xfe", UTF_16_BE: b"\xfe\xff"}
_BY_OCTETS = (UTF_8, CP932, EUC_JP)
_TRANSPARENT = (*_BY_OCTETS, WINDOWS_1252)


@dataclass(frozen=True, slots=True)
class Recognised:
    """An encoding, the mark that stands before the text, and the code of why we say so (``domain/catalogue.py``)."""

    name: str
    mark: bytes
    reason: str

    @property
    def is_transparent(self) -> bool:
        """Whether an octet below 0x40 always is the ASCII sign: then the octets themselves show cells and lines."""
        return self.name in _TRANSPARENT


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What an encoding is recognised by, at most ``EXCERPT_OCTETS`` each.

    ``begin`` is the beginning of the file; ``telling`` are whole lines from the first one that is not ASCII, empty when
    all are; ``line`` is the number of that line.
    """

    begin: bytes
    telling: bytes
    line: int


def recognise(excerpt: Excerpt, wish: str | None = None) -> Recognised:
    """The encoding of a file; ``wish`` is what a person has set for it.

    Raises:
        FileRefused: FILE-BINARY, FILE-ENCODING (none that we know), -UNSURE (several), -SET (not the one set).
    """
    marked = next((name for name, mark in _MARKS.items() if excerpt.begin.startswith(mark)), None)
    if wish is not None:
        if marked not in (None, wish):
            raise FileRefused("FILE-ENCODING-SET", encoding=wish, line=1)
        return Recognised(wish, _MARKS[wish] if marked else b"", "READ-ENCODING-SET")
    if marked is not None:
        return Recognised(marked, _MARKS[marked], "READ-ENCODING-MARK")
    if b"\0" in excerpt.begin:
        return Recognised(_utf_16_without_mark(excerpt.begin), b"", "READ-ENCODING-ZEROS")
    if japanese.SHIFTS.search(excerpt.begin) is not None and not excerpt.telling:
        return Recognised(ISO_2022_JP, b"", "READ-ENCODING-ESCAPES")
    if not excerpt.telling:
        return Recognised(UTF_8, b"", "READ-ENCODING-ASCII")
    return _by_octets(excerpt)


def _utf_16_without_mark(begin: bytes) -> str:
    """By the zeros of its commas, digits and line breaks: nearly all at even places, or nearly all at odd ones."""
    zeros = [begin[place::2].count(b"\0") for place in (0, 1)]
    if min(zeros) * 10 <= max(zeros) and sum(zeros) * 10 >= len(begin):
        return UTF_16_BE if zeros[0] > zeros[1] else UTF_16_LE
    raise FileRefused("FILE-BINARY")


# -- reading octets ---------------------------------------------------------------------------------------------------


def decoded(octets: bytes, name: str) -> str:
    """Whole characters in one of the encodings that need no memory.

    Raises:
        UnicodeDecodeError: with the place.
    """
    if name == EUC_JP:
        return japanese.decode_euc_jp(octets)
    return japanese.decode_cp932(octets) if name == CP932 else octets.decode(name)


def lines_before(octets: bytes, place: int) -> int:
    """How many line breaks there are before ``place``: CR, LF, or both together."""
    return sum(octets.count(end, 0, place) for end in (b"\r", b"\n")) - octets.count(b"\r\n", 0, place)


def undecodable(encoding: Recognised, octets: bytes, place: int, first_line: int) -> FileRefused:
    """Why whole lines are not in the encoding of their file at ``place``; they begin at line ``first_line``."""
    number, line = _line_around(octets, place)
    number += first_line - 1
    if encoding.reason == "READ-ENCODING-SET":
        return FileRefused("FILE-ENCODING-SET", encoding=encoding.name, line=number)
    for other in _BY_OCTETS:
        if other != encoding.name and encoding.is_transparent and _makes_japanese(line, other):
            return FileRefused("FILE-ENCODING-MIXED", line=number, encoding=encoding.name, other=other)
    return FileRefused("FILE-ENCODING", line=number)


def _can_be(octets: bytes, name: str) -> bool:
    try:
        decoded(octets, name)
    except UnicodeDecodeError:
        return False
    return True


def _line_around(octets: bytes, place: int) -> tuple[int, bytes]:
    """The number of the line at ``place``, from 1, and its octets."""
    begin = max(octets.rfind(b"\n", 0, place), octets.rfind(b"\r", 0, place)) + 1
    ends = [end for end in (octets.find(b"\n", place), octets.find(b"\r", place)) if end >= 0]
    return 1 + lines_before(octets, place), octets[begin : min(ends, default=len(octets))]


def refuse_mixed(octets: bytes, encoding: Recognised, first_line: int) -> None:
    """Refuse whole lines in CP932 or EUC-JP among which one certainly is something else.

    Their octets are nearly always possible in each other's encoding, so nothing else would notice.
    """
    for other, places in _foreign_places(octets, encoding.name):
        for place in places:
            number, line = _line_around(octets, place)
            if _makes_japanese(line, other):
                line_number = first_line + number - 1
                raise FileRefused("FILE-ENCODING-MIXED", line=line_number, encoding=encoding.name, other=other)


def _foreign_places(octets: bytes, name: str) -> list[tuple[str, list[int]]]:
    """Where two UTF-8 characters begin behind ASCII, and where two kana of EUC-JP follow each other (3 ms per MB)."""
    signs = np.frombuffer(octets, np.uint8)
    if len(signs) < 4:
        return []
    here, second, third, fourth = signs[:-3], signs[1:-2], signs[2:-1], signs[3:]
    utf_8 = (here - np.uint8(0xE3) < 7) & (fourth - np.uint8(0xE3) < 7) & (second >> 6 == 2) & (third >> 6 == 2)
    places = np.flatnonzero(utf_8)
    found = [(UTF_8, places[(places == 0) | (signs[places - 1] < 0x80)].tolist())]
    if name == CP932:
        kana = ((here | 1) == 0xA5) & ((third | 1) == 0xA5) & (second > 0xA0) & (fourth > 0xA0)
        found.append((EUC_JP, np.flatnonzero(kana).tolist()))
    return found


# -- what the octets can be -------------------------------------------------------------------------------------------


def _by_octets(excerpt: Excerpt) -> Recognised:
    possible = [name for name in _BY_OCTETS if _can_be(excerpt.telling, name)]
    if not possible:
        raise _unreadable(excerpt)
    if (name := _most_likely(excerpt.telling, possible)) is None:
        western = [WINDOWS_1252] if _can_be(excerpt.telling, WINDOWS_1252) else []
        raise FileRefused("FILE-ENCODING-UNSURE", candidates=", ".join([*possible, *western]), line=excerpt.line)
    return Recognised(name, b"", "READ-ENCODING-ONLY" if possible == [name] else "READ-ENCODING-LIKELY")


def _unreadable(excerpt: Excerpt) -> FileRefused:
    """The encoding that came farthest is meant."""
    failed: dict[str, int] = {}
    for name in _BY_OCTETS:
        try:
            decoded(excerpt.telling, name)
        except UnicodeDecodeError as error:
            failed[name] = error.start
    name = max(failed, key=lambda name: failed[name])
    return undecodable(Recognised(name, b"", ""), excerpt.telling, failed[name], excerpt.line)


_KANA_ENOUGH = 6
_EUC_KANJI_ENOUGH, _EUC_KANA_ENOUGH = 4, 2
_FREQUENT_TO_RARE = 9


@cache
def _frequent() -> re.Pattern[str]:
    """Full-width signs, kana and the kanji of level 1: what nearly all Japanese text is made of."""
    pairs = (bytes((lead, trail)) for lead in range(0x81, 0x99) for trail in range(0x40, 0xFD))
    signs = (pair.decode(CP932, "backslashreplace") for pair in pairs)
    return re.compile(f"[{''.join(sign for sign in signs if len(sign) == 1)}]")


_KANA = re.compile("[ぁ-んァ-ヶ]")
_KANJI = re.compile("[\u3400-\u9fff]")
_HALF_WIDTH = re.compile("[｡-ﾟ]")
# What western text becomes when it is read as CP932: half-width kana beside letters, or one sign between them. A run of
# kana is tried from its beginning alone: from each of its signs, a line of a million would take hours.
_AMONG_LETTERS = re.compile("(?<=[A-Za-z])[｡-ﾟ]+|(?<![｡-ﾟ])[｡-ﾟ]++(?=[A-Za-z])|(?<=[A-Za-z])[^\x00-\x7f](?![^\x00-\x7f])")


@dataclass(frozen=True, slots=True)
class _Makeup:
    """How many signs of each kind a reading has."""

    frequent: int
    kana: int
    rare_kanji: int
    half_width: int
    among_letters: int


def _makeup(octets: bytes, name: str) -> _Makeup:
    text = decoded(octets, name)
    frequent = "".join(_frequent().findall(text))
    rare = len(_KANJI.findall(text)) - len(_KANJI.findall(frequent))
    among_letters = sum(map(len, _AMONG_LETTERS.findall(text)))
    return _Makeup(len(frequent), len(_KANA.findall(text)), rare, len(_HALF_WIDTH.findall(text)), among_letters)


def _makes_japanese(octets: bytes, name: str) -> bool:
    if not _can_be(octets, name):
        return False
    makeup = _makeup(octets, name)
    return makeup.frequent >= 2 and makeup.frequent > makeup.rare_kanji + makeup.half_width


def _most_likely(octets: bytes, possible: list[str]) -> str | None:
    if UTF_8 in possible and _frequent().search(octets.decode()) is not None:
        return UTF_8
    makeups = {name: _makeup(octets, name) for name in possible}
    if UTF_8 in possible:
        return UTF_8 if _is_utf_8(makeups.get(CP932)) else None
    if EUC_JP not in possible:
        return CP932 if _is_cp932(makeups[CP932]) else None
    euc = makeups[EUC_JP]
    if euc.frequent >= _FREQUENT_TO_RARE * euc.rare_kanji and (
        euc.frequent >= _EUC_KANJI_ENOUGH or euc.kana >= _EUC_KANA_ENOUGH
    ):
        return EUC_JP
    only_kana = CP932 in possible and makeups[CP932].half_width >= _KANA_ENOUGH
    return CP932 if only_kana and euc.rare_kanji * 3 > euc.frequent else None


def _is_utf_8(as_cp932: _Makeup | None) -> bool:
    """Without Japanese in it. What is UTF-8 by chance is short, and in truth half-width kana alone in their cells."""
    return as_cp932 is None or as_cp932.rare_kanji > 0 or as_cp932.among_letters >= as_cp932.half_width


def _is_cp932(makeup: _Makeup) -> bool:
    if makeup.frequent:
        return makeup.among_letters <= makeup.frequent
    return makeup.half_width >= _KANA_ENOUGH and makeup.among_letters == 0
