"""The currency as it is written: ``円``, ``¥``, ``yen`` are JPY."""

from __future__ import annotations

from domain.values.reading import Reading, ReadingRule, narrow

_YEN = frozenset({"円", "¥", "\\", "yen", "jpy", "日本円"})


def read_currency(text: str) -> Reading:
    """``JPY`` where yen is meant; anything else as it is, for the schema to judge."""
    if narrow(text).strip().casefold() in _YEN:
        return Reading("JPY", (ReadingRule.CURRENCY,))
    return Reading(text)
