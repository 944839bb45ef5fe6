"""Days as they are written: ``2026/4/1``, ``20260401``, ``令和8年4月1日``, ``R8.4.1``, ``2026-04-01T09:30:00+09:00``.

The order of day and month is never guessed: ``04/05/2026`` is asked about unless the profile states the order, or the
calendar leaves one reading only. A point in time with an offset counts as its day in Japan.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum

from domain.values.reading import Reading, ReadingRule, narrow, refused

FORMAT = "ORD-DATE-FORMAT"
CALENDAR = "ORD-DATE-CALENDAR"
AMBIGUOUS = "ORD-DATE-AMBIGUOUS"
WITHOUT_YEAR = "ORD-DATE-NO-YEAR"
OUTSIDE_ERA = "ORD-DATE-ERA"
SERIAL = "ORD-EXCEL-SERIAL-DATE"

_JAPAN = timezone(timedelta(hours=9))


class DateOrder(StrEnum):
    """The order of the parts where the year does not come first with four digits, as the profile states it."""

    YMD = "ymd"  # 26/04/01
    MDY = "mdy"  # 04/01/2026
    DMY = "dmy"  # 01/04/2026


# First and last day of each era; a year 1 is also written 元.
_ERAS: dict[str, tuple[date, date]] = {
    "明治": (date(1868, 10, 23), date(1912, 7, 29)),
    "大正": (date(1912, 7, 30), date(1926, 12, 24)),
    "昭和": (date(1926, 12, 25), date(1989, 1, 7)),
    "平成": (date(1989, 1, 8), date(2019, 4, 30)),
    "令和": (date(2019, 5, 1), date.max),
}
_ERA_SIGNS = {
    **{name: name for name in _ERAS},
    **dict(zip("明大昭平令", _ERAS, strict=True)),
    **dict(zip("MTSHR", _ERAS, strict=True)),
    **dict(zip("㍾㍽㍼㍻㋿", _ERAS, strict=True)),
}
NAMES_OF_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: n for n, name in enumerate(NAMES_OF_MONTHS, start=1)}

_CLOCK = r"[0-9]{1,2}(?::|時)[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?|分(?:[0-9]{1,2}秒)?)?"
_TIME = rf"(?:[T\s]\s*(?P<clock>{_CLOCK})\s*(?P<offset>Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?"
_WEEKDAY = r"(?:\s*\(?(?:[日月火水木金土](?:曜日?)?|Sun|Mon|Tue|Wed|Thu|Fri|Sat)\)?)?"
_SIGN = "|".join(sorted(map(re.escape, _ERA_SIGNS), key=len, reverse=True))


def _form(body: str) -> re.Pattern[str]:
    return re.compile(body + _WEEKDAY + _TIME, re.IGNORECASE)


_YEAR_FIRST = _form(r"(?P<y>[0-9]{4})(?P<s>[-/.])(?P<m>[0-9]{1,2})(?P=s)(?P<d>[0-9]{1,2})")
_KANJI = _form(r"(?P<y>[0-9]{4})\s*年\s*(?P<m>[0-9]{1,2})\s*月\s*(?P<d>[0-9]{1,2})\s*日")
_COMPACT = _form(r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})")
_ERA = _form(
    rf"(?P<era>{_SIGN})\s*(?P<y>[0-9]{{1,2}}|元)\s*(?:年|[-/.])\s*(?P<m>[0-9]{{1,2}})\s*(?:月|[-/.])\s*(?P<d>[0-9]{{1,2}})日?"
)
_NAMED = _form(
    r"(?:(?P<d1>[0-9]{1,2})[-\s](?P<n1>[a-z]{3})[a-z]*[-\s,]+|(?P<n2>[a-z]{3})[a-z]*\.?\s(?P<d2>[0-9]{1,2}),?\s)(?P<y>[0-9]{4})"
)
_PARTS = _form(r"(?P<a>[0-9]{1,2})(?P<s>[-/.])(?P<b>[0-9]{1,2})(?P=s)(?P<c>[0-9]{4}|[0-9]{2})")
_NO_YEAR = re.compile(r"[0-9]{1,2}(?:/|-|月)[0-9]{1,2}日?")
_SERIAL_NUMBER = re.compile(r"[3-7][0-9]{4}(?:\.[0-9]+)?")


def read_day(text: str, order: DateOrder | None = None) -> Reading:
    """A day as ``YYYY-MM-DD``."""
    narrowed = narrow(text).strip()
    rules = (ReadingRule.WIDTH,) if narrowed != text.strip() else ()
    for form in (_YEAR_FIRST, _KANJI, _COMPACT):
        if found := form.fullmatch(narrowed):
            return _day(found, int(found["y"]), int(found["m"]), int(found["d"]), rules)
    if found := _ERA.fullmatch(narrowed):
        return _of_era(found, rules)
    if found := _NAMED.fullmatch(narrowed):
        return _of_named_month(found, rules)
    if found := _PARTS.fullmatch(narrowed):
        return _of_parts(found, order, rules)
    if _NO_YEAR.fullmatch(narrowed):
        return refused(WITHOUT_YEAR)
    return refused(SERIAL if _SERIAL_NUMBER.fullmatch(narrowed) else FORMAT)


def _day(
    found: re.Match[str], year: int, month: int, day: int, rules: tuple[ReadingRule, ...], *also: ReadingRule
) -> Reading:
    try:
        there = date(year, month, day)
        in_japan = _in_japan(found, there)
    except (ValueError, OverflowError):
        return refused(CALENDAR)
    steps = [*rules, *also]
    if ReadingRule.ERA not in steps:
        steps.append(ReadingRule.DATE_FORM)
    if found["clock"]:
        steps.append(ReadingRule.DAY_OF_TIME)
    return Reading(in_japan.isoformat(), tuple(steps))


def _in_japan(found: re.Match[str], there: date) -> date:
    """The day in Japan of a point in time with an offset; without one it was written in Japan."""
    if not found["clock"]:
        return there
    hour, minute = (int(part) for part in re.findall("[0-9]+", found["clock"])[:2])
    moment = datetime(there.year, there.month, there.day, hour, minute, tzinfo=_zone(found["offset"]))
    return moment.astimezone(_JAPAN).date()


def _zone(offset: str | None) -> timezone:
    if not offset:
        return _JAPAN
    if offset in "Zz":
        return UTC
    sign = -1 if offset[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:])))


def _of_era(found: re.Match[str], rules: tuple[ReadingRule, ...]) -> Reading:
    sign = found["era"]
    first, last = _ERAS[_ERA_SIGNS.get(sign) or _ERA_SIGNS[sign.upper()]]
    year = first.year - 1 + (1 if found["y"] == "元" else int(found["y"]))
    read = _day(found, year, int(found["m"]), int(found["d"]), rules, ReadingRule.ERA)
    # A year that the era never had is a mistake of writing, and which one cannot be known.
    if read.refusal is None and not first <= date.fromisoformat(read.plain) <= last:
        return refused(OUTSIDE_ERA)
    return read


def _of_named_month(found: re.Match[str], rules: tuple[ReadingRule, ...]) -> Reading:
    month = _MONTHS.get((found["n1"] or found["n2"]).casefold())
    if month is None:
        return refused(FORMAT)
    return _day(found, int(found["y"]), month, int(found["d1"] or found["d2"]), rules)


def _of_parts(found: re.Match[str], order: DateOrder | None, rules: tuple[ReadingRule, ...]) -> Reading:
    readings = {
        reading.plain: reading
        for possible in ([order] if order else _possible_orders(found["c"]))
        if (reading := _in_order(found, possible, rules)).refusal is None
    }
    if len(readings) == 1:
        return next(iter(readings.values()))
    return refused(AMBIGUOUS if readings else CALENDAR)


def _possible_orders(last_part: str) -> list[DateOrder]:
    return [DateOrder.MDY, DateOrder.DMY] if len(last_part) == 4 else list(DateOrder)


def _in_order(found: re.Match[str], order: DateOrder, rules: tuple[ReadingRule, ...]) -> Reading:
    a, b, c = (int(found[part]) for part in "abc")
    year, month, day = {DateOrder.YMD: (a, b, c), DateOrder.MDY: (c, a, b), DateOrder.DMY: (c, b, a)}[order]
    return _day(found, year if year > 99 else 2000 + year, month, day, rules)
