"""Japanese encodings as Windows and the WHATWG define them, where Python's codecs say otherwise.

Decoding: CP932 without the single octets that Python makes private characters of; EUC-JP and ISO-2022-JP with the
vendor characters that Python lacks (`①㈱髙`), and with Windows' signs (`～`, not `〜`), so that a name reads alike in
whatever encoding it came. User-defined characters (外字) become U+E000 and up, and go back as they came.

Encoding to CP932: where several codes give one character, Windows' choice (`髙` is FBFC; Python takes EEE0, and 397
others differently).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import cache

# -- CP932 ------------------------------------------------------------------------------------------------------------

_NO_TEXT = "\x80\uf8f0\uf8f1\uf8f2\uf8f3"  # what Python makes of the octets 80, A0, FD, FE and FF


def decode_cp932(octets: bytes) -> str:
    """CP932 without the octets that no Japanese text has.

    Raises:
        UnicodeDecodeError: with the place.
    """
    text = octets.decode("cp932")
    places = [text.index(sign) for sign in _NO_TEXT if sign in text]
    if places:
        start = len(text[: min(places)].encode("cp932"))  # as many octets as it was made of, if not the same
        raise UnicodeDecodeError("cp932", octets, start, start + 1, "no character")
    return text


_NEC_CHOICE_OF_IBM = range(0xED, 0xEF)  # lead octets of the copies that Windows never writes
_IBM = range(0xFA, 0xFD)


@cache
def _windows_choices() -> dict[str, bytes]:
    """Characters that Windows writes otherwise than Python's codec."""
    chosen: dict[str, bytes] = {}
    for lead in _IBM:
        for trail in range(0x40, 0xFD):
            raw = bytes((lead, trail))
            sign = raw.decode("cp932", "backslashreplace")
            if len(sign) == 1 and sign.encode("cp932")[0] in _NEC_CHOICE_OF_IBM:
                chosen[sign] = raw
    return chosen


@cache
def _other_choice() -> re.Pattern[str]:
    return re.compile(f"[{''.join(_windows_choices())}]")


def encode_cp932(text: str, errors: str = "strict") -> bytes:
    """CP932 as Windows writes it.

    Raises:
        UnicodeEncodeError: a character that CP932 does not have, unless ``errors`` says otherwise.
    """
    if _other_choice().search(text) is None:
        return text.encode("cp932", errors)
    choices, parts, done = _windows_choices(), bytearray(), 0
    for found in _other_choice().finditer(text):
        parts += text[done : found.start()].encode("cp932", errors)
        parts += choices[found[0]]
        done = found.end()
    return bytes(parts + text[done:].encode("cp932", errors))


# -- EUC-JP -----------------------------------------------------------------------------------------------------------

# The signs for which Windows has others, in rows 1 and 2 of JIS X 0208.
_OTHERS, _WINDOWS = "\u301c\u2016\u2212\xa2\xa3\xac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2"
_AS_WINDOWS = str.maketrans(_OTHERS, _WINDOWS)
_IN_OTHER_FORM = re.compile(f"[{_OTHERS}]")

AS_OTHERS = str.maketrans(_WINDOWS, _OTHERS)
"""Back, for Python's own encoders."""

_TWO_OCTETS = 2


def _shift_jis(first: int, second: int) -> bytes:
    """The Shift_JIS octets of the character with these EUC-JP octets."""
    row = first - 0xA1
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = second - 0xA1 + 0x9F if row % 2 else second - 0xA1 + (0x40 if second < 0xE0 else 0x41)
    return bytes((lead, trail))


def _vendor_character(error: UnicodeError) -> tuple[str, int]:
    """A character that Python's EUC-JP lacks and Windows has."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    octets = error.object[error.start : error.start + _TWO_OCTETS]
    if len(octets) == _TWO_OCTETS and min(octets) >= 0xA1 and max(octets) < 0xFF:
        sign = _shift_jis(*octets).decode("cp932", "backslashreplace")
        if len(sign) == 1:
            return sign, error.start + _TWO_OCTETS
    raise error


codecs.register_error("bulk-orders-vendor", _vendor_character)


def decode_euc_jp(data: bytes) -> str:
    """EUC-JP as the WHATWG defines it.

    Raises:
        UnicodeDecodeError: what is none, at its place in ``data``.
    """
    text = data.decode("euc_jp", "bulk-orders-vendor")
    return text if _IN_OTHER_FORM.search(text) is None else text.translate(_AS_WINDOWS)


# -- ISO-2022-JP ------------------------------------------------------------------------------------------------------

SHIFTS = re.compile(rb"\x1b(?:\([BJI]|\$[@B])")
ASCII = b"\x1b(B"


class Iso2022Jp:
    """Decodes ISO-2022-JP piece by piece; keeps the character set that is shifted in between them."""

    def __init__(self) -> None:
        self._shift = ASCII
        self._kept = b""

    @property
    def kept(self) -> int:
        """Octets of a line whose end has not come yet."""
        return len(self._kept)

    def decode(self, data: bytes, final: bool = False) -> str:
        """The text of the next octets; what is cut in the middle waits for the next.

        Raises:
            UnicodeDecodeError: the octets and the place in it are those of ``data`` with what was kept before it.
        """
        data = self._kept + data
        whole = len(data) if final else _last_safe_end(data)
        self._kept, data = data[whole:], data[:whole]
        parts, at = [], 0
        for shift in SHIFTS.finditer(data):
            parts.append(_decode_shifted(data, at, shift.start(), self._shift))
            self._shift, at = shift[0], shift.end()
        parts.append(_decode_shifted(data, at, len(data), self._shift))
        return "".join(parts)


def _last_safe_end(data: bytes) -> int:
    """Up to where nothing is cut: behind the last line break, else nowhere."""
    end = data.rfind(b"\n") + 1
    return end or max(data.rfind(b"\r"), 0)


def _decode_shifted(data: bytes, start: int, end: int, shift: bytes) -> str:
    """The text between two shifts. Line breaks stand for themselves in every set."""
    if start == end:
        return ""
    parts = []
    for piece in re.compile(rb"[\r\n]+|[^\r\n]+").finditer(data, start, end):
        octets = piece[0]
        try:
            if not octets.isascii() or b"\x1b" in octets:
                raise UnicodeError
            parts.append(octets.decode() if octets[0] in b"\r\n" else _DECODED[shift](octets))
        except UnicodeError:
            raise UnicodeDecodeError("iso-2022-jp", data, piece.start(), piece.end(), "not in this set") from None
    return "".join(parts)


_HIGH = bytes(octet | 0x80 for octet in range(256))
_ROMAN_SIGNS = str.maketrans("\\~", "\xa5\u203e")


def _kanji(octets: bytes) -> str:
    return decode_euc_jp(octets.translate(_HIGH))


_DECODED: dict[bytes, Callable[[bytes], str]] = {
    ASCII: lambda octets: octets.decode("ascii"),
    b"\x1b(J": lambda octets: octets.decode("ascii").translate(_ROMAN_SIGNS),
    b"\x1b(I": lambda octets: decode_euc_jp(b"".join(b"\x8e%c" % octet for octet in octets.translate(_HIGH))),
    b"\x1b$B": _kanji,
    b"\x1b$@": _kanji,
}
