"""From the cells of a row to the plain values of our columns: joined where they come in parts, then read.

The same for everyone who looks at a row: validation, the mail, the list of what was read. Nothing that has its plain
form already is touched, and whoever works on whole columns asks by the same patterns (`asked_by`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from domain.columns import canonical
from domain.money import PLAIN_NUMBER
from domain.values import amounts, damage, days
from domain.values.amounts import Thousands, read_number
from domain.values.contacts import read_mail_address, read_phone, read_postal_code
from domain.values.currencies import read_currency
from domain.values.days import DateOrder, read_day
from domain.values.reading import Reading, ReadingRule, narrow, read_kana, refused


@dataclass(frozen=True, slots=True)
class ValueRules:
    """What the client's profile says about values that can be read in two ways."""

    date_order: DateOrder | None = None
    thousands: Thousands = Thousands.COMMA


PLAIN_RULES = ValueRules()

# -- which cells are read ---------------------------------------------------------------------------------------------

# Of these columns every cell is read but one of this form. In trimmed cells RE2 and `re` understand the same by them.
_PLAIN = {
    **dict.fromkeys(("quantity", "unit_price", "amount"), PLAIN_NUMBER),
    "ordered_on": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "currency": "JPY|jpy",
    "phone": "0[0-9-]*",
    "postal_code": "[0-9]{3}-[0-9]{4}",
    "email": '[!"$-~][!-~]*',
}
_MONTH = f"(?:{'|'.join(days.NAMES_OF_MONTHS)})"
_CODE = (
    r"^(?:#|[0-9](?:\.[0-9]+)?[Ee][+-]?[0-9]+$|[0-9]{1,2}月[0-9]{1,2}日$"
    rf"|[0-9]{{1,2}}-(?i:{_MONTH})|(?i:{_MONTH})-[0-9])"
    "|[\uff01-\uff5e\u3000\uffe5]"
)
_WORDS = "[\uff61-\uff9f]|^#"
# Of these columns no cell is read but one with this in it.
_TELLING = {
    **dict.fromkeys(("order_number", "item_code"), _CODE),
    **dict.fromkeys(("customer_name", "item_name", "address", "note"), _WORDS),
}


def asked_by(column: str) -> tuple[str, bool]:
    """An RE2 pattern to search a trimmed cell for, and what finding it means: whether the cell has to be read."""
    if column in _PLAIN:
        return f"^(?:{_PLAIN[column]})?$", False
    return _TELLING[column], True


def may_ask(column: str, octets: bytes) -> bool:
    """Whether a cell of a column with these octets (UTF-8) may have to be read: a quick look at all of them at once."""
    if column in _HARMLESS:
        return bool(octets.translate(None, _HARMLESS[column]))
    if column in _WORDY:
        return any(sign in octets for sign in _SIGNS_OF_WORDS)
    if column in _CODED and octets.isascii():
        lower = octets.lower()
        there = set(lower.translate(None, b"0123456789"))  # mostly few: then few signs have to be searched for
        return any(there.issuperset(sign) and sign in lower for sign in _SIGNS_OF_DAMAGE)
    return True


_HARMLESS = {
    **dict.fromkeys(("quantity", "unit_price", "amount"), b"0123456789"),
    "currency": b"JPY",
    "email": bytes(octet for octet in range(0x21, 0x7F) if octet != ord("#")),
}
_WORDY = frozenset({"customer_name", "item_name", "address", "note"})
_CODED = frozenset({"order_number", "item_code"})
_SIGNS_OF_DAMAGE = (b"#", b".", b"e+", b"e-", *(month.encode() for month in days.NAMES_OF_MONTHS))
_SIGNS_OF_WORDS = (b"#", b"\xef\xbd", b"\xef\xbe")  # the first octets of half-width kana


@cache
def _compiled(column: str) -> tuple[re.Pattern[str], bool]:
    pattern, means = asked_by(column)
    return re.compile(pattern), means


# -- how they are read ------------------------------------------------------------------------------------------------

# Said by the rules of the column itself, in its own words.
_LEFT_TO_THE_SCHEMA = frozenset({amounts.FORMAT, days.FORMAT})


def read_cell(column: str, cell: str, rules: ValueRules = PLAIN_RULES) -> Reading:
    """The plain form of a trimmed cell; what no rule reads stays as it is, for the schema to judge."""
    pattern, means = _compiled(column)
    if (pattern.search(cell) is not None) is not means:
        return Reading(cell)
    if damage.is_error_value(cell):
        return refused(damage.ERROR_VALUE)
    if column in damage.KEY_COLUMNS and (code := damage.damage_of(cell)) is not None:
        return refused(code)
    read = _READERS[column](cell, rules)
    return Reading(cell) if read.refusal in _LEFT_TO_THE_SCHEMA or (not read.refusal and read.plain == cell) else read


def _read_code(cell: str) -> Reading:
    return Reading(narrow(cell).strip(), (ReadingRule.WIDTH,))


_Reader = Callable[[str, ValueRules], Reading]


def _always(reader: Callable[[str], Reading]) -> _Reader:
    return lambda cell, rules: reader(cell)


_READERS: Mapping[str, _Reader] = {
    **dict.fromkeys(("quantity", "unit_price", "amount"), lambda cell, rules: read_number(cell, rules.thousands)),
    "ordered_on": lambda cell, rules: read_day(cell, rules.date_order),
    "currency": _always(read_currency),
    "phone": _always(read_phone),
    "postal_code": _always(read_postal_code),
    "email": _always(read_mail_address),
    **dict.fromkeys(("order_number", "item_code"), _always(_read_code)),
    **dict.fromkeys(("customer_name", "item_name", "address"), _always(read_kana)),
    "note": _always(Reading),  # for people only: left as it is written
}


# -- columns in parts -------------------------------------------------------------------------------------------------

_HYPHENATED = frozenset({"phone", "postal_code"})


def join_parts(column: str, parts: Sequence[str]) -> str:
    """One cell of several: phones and postal codes with ``-``; else a space where Latin letters or digits would meet.

    So 山田 and 太郎 are 山田太郎, Taro and Yamada are two words, and 丸の内1-2-3 and 101 stay two numbers.
    """
    whole = ""
    for part in filter(None, map(str.strip, parts)):
        if whole and (column in _HYPHENATED or _meet(whole, part)):
            whole += "-" if column in _HYPHENATED else " "
        whole += part
    return whole


def _meet(before: str, after: str) -> bool:
    return before[-1].isascii() and after[0].isascii()


@dataclass(frozen=True, slots=True)
class CellReader:
    """Reads single rows: the positions of our columns in them, and the rules."""

    positions: Mapping[str, tuple[int, ...]]
    rules: ValueRules = PLAIN_RULES

    def written(self, column: str, cells: Sequence[str]) -> str:
        """What the row says, in one piece."""
        at = self.positions.get(column, ())
        return cells[at[0]].strip() if len(at) == 1 else join_parts(column, [cells[i] for i in at])

    def value(self, column: str, cells: Sequence[str]) -> str:
        """What it was read as."""
        written = self.written(column, cells)
        read = read_cell(column, written, self.rules)
        return written if read.refusal else read.plain


def reader_of(record: Mapping[str, Any] | None, header: Sequence[str]) -> CellReader:
    """The reader of a batch by what was recorded of it; a batch from before such records was read by our own names."""
    if record is None:
        return CellReader({name: (at,) for at, cell in enumerate(header) if (name := canonical(cell)) is not None})
    order, thousands = record["values"]["date_order"], record["values"]["thousands"]
    return CellReader(
        {name: tuple(found["at"]) for name, found in record["columns"].items()},
        ValueRules(DateOrder(order) if order else None, Thousands(thousands)),
    )
