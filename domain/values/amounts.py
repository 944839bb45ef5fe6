"""Amounts, prices and quantities as they are written: ``１，０００円``, ``¥1,000``, ``1000.00``."""

from __future__ import annotations

import re
from enum import StrEnum

from domain.money import parse_yen
from domain.values.reading import Reading, ReadingRule, narrow, plain_hyphens, refused

FORMAT = "ORD-AMOUNT-FORMAT"
NEGATIVE = "ORD-AMOUNT-NEGATIVE"
AMBIGUOUS = "ORD-AMOUNT-AMBIGUOUS"
ROUNDED_BY_EXCEL = "ORD-EXCEL-ROUNDED"


class Thousands(StrEnum):
    """The sign between thousands, as the client's profile states it."""

    COMMA = "comma"  # 1,000
    POINT = "point"  # 1.000


# The backslash is the yen sign of CP932, and looks like one on Japanese screens.
_MARKS_BEFORE = re.compile(r"(?:JPY|[¥\\])\s*", re.IGNORECASE)
# From the first of several spaces alone: tried from each, a cell of 4,000 took a second.
_MARKS_AFTER = re.compile(r"(?<!\s)\s*(?:円也|円|JPY|yen)\s*\Z", re.IGNORECASE)
_CLOSING_STROKE = re.compile(r"(.*[0-9])[-/]")  # ¥1,000- closes the sum; without the yen mark it may be a minus
_NEGATIVE = re.compile(r"[-▲△].+|\(.+\)")
_SCIENTIFIC = re.compile(r"[0-9]+(?:[.,][0-9]+)?E\+?[0-9]+", re.IGNORECASE)
_GROUPED = {
    Thousands.COMMA: re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+"),
    Thousands.POINT: re.compile(r"[1-9][0-9]{0,2}(?:\.[0-9]{3})+"),
}
_ZERO_FRACTION = {Thousands.COMMA: re.compile(r"(.+)\.00?"), Thousands.POINT: re.compile(r"(.+),00?")}
_LOOKS_GROUPED_OTHERWISE = {
    Thousands.COMMA: _GROUPED[Thousands.POINT],
    Thousands.POINT: _GROUPED[Thousands.COMMA],
}


def read_number(text: str, thousands: Thousands = Thousands.COMMA) -> Reading:
    """A whole number of yen or pieces in plain digits. Its range is not checked here.

    ``1.000`` is a thousand or one, so it is asked about unless the profile states what the point means.
    """
    rules: list[ReadingRule] = []
    number = _without_width(text, rules)
    if _SCIENTIFIC.fullmatch(number):
        return refused(ROUNDED_BY_EXCEL)
    number = _without_marks(number, rules)
    if _NEGATIVE.fullmatch(number):
        return refused(NEGATIVE)
    if _LOOKS_GROUPED_OTHERWISE[thousands].fullmatch(number) or _CLOSING_STROKE.fullmatch(number):
        return refused(AMBIGUOUS)
    number = _without_fraction(number, thousands, rules)
    number = _without_separators(number, thousands, rules)
    return Reading(number, tuple(rules)) if parse_yen(number) is not None else refused(FORMAT)


def _without_width(text: str, rules: list[ReadingRule]) -> str:
    # A dash among digits is a minus however it was typed.
    number = plain_hyphens(narrow(text)).strip()
    if number != text.strip():
        rules.append(ReadingRule.WIDTH)
    return number


def _without_marks(number: str, rules: list[ReadingRule]) -> str:
    bare = number
    if found := _MARKS_BEFORE.match(bare):
        bare = bare[found.end() :]
        if closed := _CLOSING_STROKE.fullmatch(bare):
            bare = closed.group(1)
    if found := _MARKS_AFTER.search(bare):
        bare = bare[: found.start()]
    if bare != number:
        rules.append(ReadingRule.CURRENCY)
    return bare


def _without_fraction(number: str, thousands: Thousands, rules: list[ReadingRule]) -> str:
    if found := _ZERO_FRACTION[thousands].fullmatch(number):
        rules.append(ReadingRule.ZERO_FRACTION)
        return found.group(1)
    return number


def _without_separators(number: str, thousands: Thousands, rules: list[ReadingRule]) -> str:
    if _GROUPED[thousands].fullmatch(number):
        rules.append(ReadingRule.THOUSANDS)
        return number.replace("," if thousands is Thousands.COMMA else ".", "")
    return number
