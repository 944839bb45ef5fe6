"""What reading a cell gives: the plain form of its value and the rules that led there, or why it has none.

A reader is asked only about cells that are not in plain form already. It never guesses: what can be read in two ways
is refused with a code that says so.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum


class ReadingRule(StrEnum):
    """What was done to a cell to read it. Stored with the row and shown to people; never the value itself."""

    WIDTH = "width"  # full-width letters and digits as half-width ones
    KANA = "kana"  # half-width kana as full-width ones
    CURRENCY = "currency"  # a yen mark, 円 or JPY left out
    THOUSANDS = "thousands"  # separators of thousands left out
    ZERO_FRACTION = "zero_fraction"  # .0 or .00 left out
    DATE_FORM = "date_form"  # another way of writing a day
    ERA = "era"  # a Japanese era as a year
    DAY_OF_TIME = "day_of_time"  # the day of a point in time, in Japan
    LEADING_ZERO = "leading_zero"  # a zero that a spreadsheet took away
    MARK = "mark"  # a sign that is no part of the value, such as 〒


def code_of(rule: str) -> str:
    """The code of the catalogue under which people read what the rule does."""
    return f"READ-CELL-{rule.upper().replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class Reading:
    """The plain form of a cell and how it was reached; or, with ``refusal``, the code of why it has none."""

    plain: str = ""
    rules: tuple[ReadingRule, ...] = ()
    refusal: str | None = None


def refused(code: str) -> Reading:
    """A cell that cannot be read for certain."""
    return Reading(refusal=code)


_HALF_WIDTH_KANA = re.compile(r"[\uff61-\uff9f]+")
_FULL_WIDTH_ASCII = re.compile(r"[\uff01-\uff5e\u3000\uffe5]")
_HYPHENS = re.compile(r"[\u2010-\u2015\u2212\u30fc\uff0d\uff70]")


def narrow(text: str) -> str:
    """Full-width letters, digits, signs and spaces as half-width ones; nothing else changes (①, ㈱ and kanji stay)."""
    return _FULL_WIDTH_ASCII.sub(lambda found: unicodedata.normalize("NFKC", found.group()), text)


def plain_hyphens(text: str) -> str:
    """The many dashes of Japanese input as ``-``. For numbers only: in words ``ー`` is a sound."""
    return _HYPHENS.sub("-", text)


def read_kana(text: str) -> Reading:
    """Half-width kana as full-width ones, with their sound marks joined."""
    widened = _HALF_WIDTH_KANA.sub(lambda found: unicodedata.normalize("NFKC", found.group()), text)
    return Reading(widened, (ReadingRule.KANA,) if widened != text else ())
