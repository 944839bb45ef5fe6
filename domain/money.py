"""Whole yen in an int, and the one decision on what counts as a plain number in a cell.

A plain number is ASCII digits and nothing else: no sign, no separators, no point, no currency mark. ``\\d``, ``int()``
and ``str.isdigit`` take full-width, Arabic and other digits, ``int('1_000')`` is 1000 and ``$`` accepts a newline at
the end; so nothing here relies on them: patterns are used with ``fullmatch`` only.
"""

from __future__ import annotations

import re

MIN_JPY = 100
"""Smallest amount of one payment, in yen (R-14)."""

MAX_JPY = 1_000_000
"""Largest amount of one payment, in yen (R-14)."""

PLAIN_NUMBER = r"0|[1-9][0-9]*"
"""Use with ``fullmatch``. No leading zeros: ``0100`` is as likely a code as an amount."""

_PLAIN_NUMBER = re.compile(PLAIN_NUMBER)


def parse_yen(text: str) -> int | None:
    """The number in a trimmed cell, or None when it is no plain number. The range is not checked here."""
    return int(text) if _PLAIN_NUMBER.fullmatch(text) else None


def format_yen(amount_jpy: int) -> str:
    """``1234567`` as ``1,234,567``, for people."""
    return f"{amount_jpy:,}"
