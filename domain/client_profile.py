"""What is settled about a client's files, so that nothing has to be guessed: the client's profile.

Everything in it is optional. Written by people (as YAML, see resources/client_profiles.py), checked as a whole,
recorded with every batch that was read by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from domain.cells import ValueRules
from domain.columns import BY_NAME
from domain.errors import FileRefused
from domain.headers import AmountIs, HeaderMap
from domain.values.amounts import Thousands
from domain.values.days import DateOrder


class AmountRule(StrEnum):
    """Where the amount of an order comes from."""

    STATED = "stated"  # the column of the amount alone: it may hold shipping or a discount
    QUANTITY_TIMES_PRICE = "quantity_times_price"  # calculated; the column of the amount is not looked at
    AGREE = "agree"  # either, and where both are there they must agree


class Lines(StrEnum):
    """What one line of the file is."""

    ONE = "one"  # an order
    MANY = "many"  # a part of an order: lines with one order number belong together, wherever they stand


class SideTotals(StrEnum):
    """Whether rows and yen come in a file beside the orders (``domain/side_totals.py``)."""

    REQUIRED = "required"  # without one, nothing is taken; left open, one that lies there is checked


MOST_DAYS = 366
"""That a near duplicate may be apart from what it resembles."""

ENCODINGS = ("utf-8", "cp932", "utf-16-le", "utf-16-be", "euc-jp", "iso-2022-jp", "windows-1252")
DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";"}


@dataclass(frozen=True, slots=True)
class ClientProfile:
    """What one client's files are; None where it is left to us. ``columns`` are header cells, several for parts."""

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    header_row: int | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    date_order: DateOrder | None = None
    thousands: Thousands | None = None
    amount: AmountRule | None = None
    lines: Lines | None = None
    amount_is: AmountIs | None = None
    totals: SideTotals | None = None
    near_duplicate_days: int | None = None

    @property
    def value_rules(self) -> ValueRules:
        """What it says about values."""
        return ValueRules(self.date_order, self.thousands or Thousands.COMMA)

    def amount_rule(self, header: HeaderMap) -> AmountRule:
        """As stated; else a known system's total of the order holds shipping and must not be calculated."""
        if self.amount is not None:
            return self.amount
        total = (self.amount_is or header.amount_is) is AmountIs.ORDER_TOTAL
        return AmountRule.STATED if total else AmountRule.AGREE

    def amount_of_lines(self, header: HeaderMap) -> AmountIs:
        """What the amount of one of several lines is: as stated, else as the known system writes it.

        Raises:
            FileRefused: FILE-LINES-AMOUNT, nobody says.
        """
        found = self.amount_is or header.amount_is
        if found is None:
            raise FileRefused("FILE-LINES-AMOUNT")
        return found

    def to_json(self) -> dict[str, Any]:
        """What is stated, and nothing else."""
        return {item.name: value for item in fields(self) if (value := getattr(self, item.name)) not in (None, {})}

    @property
    def version(self) -> str:
        """The same for the same content, whatever the file looks like."""
        content = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


NO_PROFILE = ClientProfile()


def profile_days(record: Mapping[str, Any] | None, otherwise: int) -> int:
    """How far apart near duplicates are in a batch with this record: as its profile said, or else so far."""
    stated = record["profile"].get("near_duplicate_days") if record is not None else None
    return otherwise if stated is None else int(stated)


def parse_profile(client: str, stated: object) -> ClientProfile:
    """The profile of ``client`` from what its file holds.

    Raises:
        FileRefused: FILE-PROFILE-INVALID, with the key and what is expected there.
    """

    def refused(key: str, expected: str) -> FileRefused:
        return FileRefused("FILE-PROFILE-INVALID", client=client, key=key, expected=expected)

    if not isinstance(stated, Mapping):
        raise refused("-", "key: value")
    values: dict[str, Any] = {}
    for key, value in stated.items():
        if key not in _KEYS:
            raise refused(_shown(key), " | ".join(_KEYS))
        if value is not None:  # a key that nobody filled in
            expected, parse = _KEYS[key]
            values[key] = parse(value)
            if values[key] is None:
                raise refused(key, expected)
    if at := _wrong_column(values.get("columns", {})):
        raise refused(*at)
    if at := _contradiction(values):
        raise refused(*at)
    return ClientProfile(**values)


# -- the keys ---------------------------------------------------------------------------------------------------------

_Parse = Callable[[Any], Any]
"""The value, or None when it is not what is expected."""

_LONGEST = 200


def _one_of(choices: Mapping[str, Any]) -> tuple[str, _Parse]:
    return " | ".join(choices), lambda value: choices.get(value) if isinstance(value, str) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() and len(value) <= _LONGEST else None


def _row(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000 else None


def _days(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_DAYS else None


def _columns(value: Any) -> dict[str, tuple[str, ...]] | None:
    if not isinstance(value, Mapping):
        return None
    return {
        str(name): tuple(cells) if isinstance(cells, list) else (cells,)
        for name, cells in value.items()
        if cells is not None
    }


def _wrong_column(columns: Mapping[str, tuple[Any, ...]]) -> tuple[str, str] | None:
    for name, cells in columns.items():
        if name not in BY_NAME:
            return f"columns.{_shown(name)}", " | ".join(BY_NAME)
        if not cells or not all(map(_text, cells)):
            return f"columns.{name}", '"text" | ["text", "text"]'
    return None


def _contradiction(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """A key that says nothing, or the contrary, beside another."""
    if "amount_is" in values and values.get("lines") is not Lines.MANY:
        return "lines", Lines.MANY.value
    calculated = values.get("amount") not in (None, AmountRule.STATED)
    if values.get("amount_is") is AmountIs.ORDER_TOTAL and calculated:  # quantity and price are those of a line
        return "amount", AmountRule.STATED.value
    return None


def _shown(key: Any) -> str:
    return str(key)[:40]


_KEYS: Mapping[str, tuple[str, _Parse]] = {
    "encoding": _one_of({name: name for name in ENCODINGS}),
    "delimiter": _one_of(DELIMITERS),
    "sheet": ('"text"', _text),
    "header_row": ("1, 2, 3, ...", _row),
    "columns": ('amount: "text"', _columns),
    "date_order": _one_of({order.value: order for order in DateOrder}),
    "thousands": _one_of({sign.value: sign for sign in Thousands}),
    "amount": _one_of({rule.value: rule for rule in AmountRule}),
    "lines": _one_of({lines.value: lines for lines in Lines}),
    "amount_is": _one_of({meaning.value: meaning for meaning in AmountIs}),
    "totals": _one_of({totals.value: totals for totals in SideTotals}),
    "near_duplicate_days": (f"0, 1, 2, ... {MOST_DAYS}", _days),
}
