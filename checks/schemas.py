"""Pandera schemas of the stages, built of rules whose names are issue codes: one source for checks and issues.

    ORDER_TEXT        every row that has the right number of cells, trimmed text, "" where a cell is empty
    TYPED_ORDERS      the same rows, typed; null where a cell was empty or unreadable, which ORDER_TEXT has already said
    VALIDATED_ORDERS  the accepted rows: what the next stage may rely on

Columns are typed before, never coerced here: coercion of bad cells costs fifty times the validation. `Stage.broken`
calls each Pandera check itself and takes its mask; the schema as a whole would turn every broken row into a record of
failure cases, which hold customers' values. A test holds both to the same findings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
import pyarrow.compute as compute
from pandera.dtypes import immutable
from pandera.engines import pandas_engine
from pandera.errors import SchemaErrors

from domain.columns import BY_NAME, COLUMNS, Column
from domain.money import MAX_JPY, MIN_JPY, PLAIN_NUMBER

Mask = npt.NDArray[np.bool_]
Fault = tuple[str, str, Mask]
"""Column, issue code, and which rows have it."""

TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
"""What pandas calls ``str``."""


@immutable
class ArrowText(pandas_engine.DataType):
    """The column type ``TEXT`` for Pandera, whose own asks each cell whether it is a string (15 ms per 10,000 rows)."""

    type = TEXT

    def check(self, pandera_dtype: Any, data_container: Any = None) -> bool:
        """Whether a column is stored as ``TEXT``, which can hold nothing but strings and nulls."""
        return data_container is not None and bool(data_container.dtype == TEXT)


ARROW_TEXT = ArrowText()  # type: ignore[call-arg]  # Pandera's base makes its own __init__ of ``type``


MAX_QUANTITY = 1_000_000
FIRST_DAY, LAST_DAY = "2000-01-01", "2099-12-31"
"""Orders outside these days are mistakes. Fixed, not relative to today: the same file always validates the same way."""

# One @; what Japanese carriers issued (`a..b.@docomo.ne.jp`) is accepted, display names, quotes, commas, spaces and
# non-ASCII letters that look like others are not. Linear in RE2 and in `re`; the length is limited by its column.
EMAIL = (
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*\.)+[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]"
)
ISO_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


@dataclass(frozen=True)
class Rule:
    """What must hold, for a column or for several columns of a frame; ``code`` is the issue of a row that breaks it.

    ``test`` says it of each row, or with one ``True`` of all of them.
    """

    code: str
    test: Callable[[Any], Any]

    @cached_property
    def check(self) -> pa.Check:
        """The rule as Pandera runs it. With ignore_na it would drop nulls first; our tests judge them."""
        return pa.Check(self.test, name=self.code, error=self.code, ignore_na=False)

    def broken_in(self, column: str, checked: Any) -> Iterator[Fault]:
        """Nothing when all hold, else which rows break the rule."""
        passed = np.asarray(self.check(checked).check_output, dtype=bool)
        if not passed.all():
            yield column, self.code, ~passed


@dataclass(frozen=True)
class Stage:
    """A frame at one stage: per column its type and rules; rules over several columns, under the one they concern."""

    columns: Mapping[str, tuple[str | ArrowText, Sequence[Rule]]]
    across: Mapping[str, Rule] = field(default_factory=dict)
    nullable: Collection[str] = frozenset()

    @cached_property
    def schema(self) -> pa.DataFrameSchema:
        """The same as a Pandera schema."""
        columns = {
            name: pa.Column(kind, [rule.check for rule in rules], nullable=name in self.nullable)
            for name, (kind, rules) in self.columns.items()
        }
        across = [rule.check for rule in self.across.values()]
        return pa.DataFrameSchema(columns, checks=across, strict=True, ordered=True)

    def broken(self, frame: pd.DataFrame) -> Iterator[Fault]:
        """For every rule that some row breaks: the column, the issue code, and which rows break it."""
        for name, (_, rules) in self.columns.items():
            for rule in rules:
                yield from rule.broken_in(name, frame[name])
        for name, rule in self.across.items():
            yield from rule.broken_in(name, frame)


def _matches(pattern: str) -> Callable[[Any], Any]:
    whole = f"^(?:{pattern})?$"  # RE2: ^ and $ are the ends of the whole text

    def test(cells: pd.Series[str]) -> Any:
        # Arrow itself: pandas reads the pattern anew for each column, and 10,000 rows took 4 ms more.
        found = compute.match_substring_regex(arrow.array(cells), whole)
        return pd.Series(np.asarray(compute.fill_null(found, False)), index=cells.index)

    return test


def days(cells: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """The day in each ``YYYY-MM-DD`` cell; null where there is none, or none that the calendar has."""
    kinds, distinct = pd.factorize(cells)  # 10,000 orders fall on few days
    found = np.array([_day_in(cell) for cell in distinct.tolist()], dtype="datetime64[s]")
    return pd.Series(found[kinds], index=cells.index)


def _in_calendar(cells: pd.Series[str]) -> Any:
    kinds, distinct = pd.factorize(cells)
    found = np.array(
        [not _SHAPED.fullmatch(cell) or _day_in(cell) is not None for cell in distinct.tolist()], dtype=bool
    )
    return pd.Series(found[kinds], index=cells.index)


_SHAPED = re.compile(ISO_DATE)


def _day_in(cell: str) -> date | None:
    try:
        return date.fromisoformat(cell) if _SHAPED.fullmatch(cell) else None
    except ValueError:
        return None


_BREAKS = (b"\n", b"\r", b"\t")


def _in_one_line(cells: pd.Series[str]) -> Any:
    octets = arrow.array(cells).buffers()[-1]
    whole = octets.to_pybytes() if octets is not None else b""  # as a rule no single cell has to be looked at
    if not any(sign in whole for sign in _BREAKS):
        return True
    return ~cells.str.contains(r"[\r\n\t]")


def _no_longer_than(characters: int) -> Callable[[Any], Any]:
    def test(cells: pd.Series[str]) -> Any:
        octets = compute.max(compute.binary_length(arrow.array(cells))).as_py() or 0
        return True if octets <= characters else cells.str.len() <= characters

    return test


def _within(low: object, high: object) -> Callable[[Any], Any]:
    return lambda values: values.isna() | values.between(low, high)


_MISSING = {"order_number": "ORD-NUMBER-MISSING", "customer_name": "ORD-NAME-MISSING", "email": "ORD-EMAIL-MISSING"}

_FORMAT = {
    "email": Rule("ORD-EMAIL-FORMAT", _matches(EMAIL)),
    "quantity": Rule("ORD-QUANTITY-FORMAT", _matches(PLAIN_NUMBER)),
    "unit_price": Rule("ORD-PRICE-FORMAT", _matches(PLAIN_NUMBER)),
    "amount": Rule("ORD-AMOUNT-FORMAT", _matches(PLAIN_NUMBER)),
    "currency": Rule("ORD-CURRENCY-UNKNOWN", lambda cells: cells.isin(["", "JPY", "jpy"])),
    "ordered_on": Rule("ORD-DATE-FORMAT", _matches(ISO_DATE)),
}
"""Columns with a form of their own: a line break in them breaks the form too."""


def _present(column: Column) -> Rule:
    return Rule(_MISSING[column.name], lambda cells: cells != "")


def _short_enough(column: Column) -> Rule:
    return Rule("ORD-CELL-TOO-LONG", _no_longer_than(column.max_length))


def _text_rules(column: Column) -> list[Rule]:
    rules = [_short_enough(column)]
    if column.name in _MISSING:
        rules.append(_present(column))
    if column.name in _FORMAT:
        rules.append(_FORMAT[column.name])
    elif column.single_line:
        rules.append(Rule("ORD-CELL-LINE-BREAK", _in_one_line))
    return rules


REAL_DAY = Rule("ORD-DATE-CALENDAR", _in_calendar)
NOT_TWICE = Rule("ORD-NUMBER-DUPLICATE", lambda cells: (cells == "") | ~cells.duplicated())
"""The first occurrence in the file stands, whatever else is wrong with it; each later one is refused."""

NOT_SEVERAL = Rule("ORD-LINES-SEVERAL", lambda cells: (cells == "") | ~cells.duplicated(keep=False))
"""Where amounts are those of lines, the first line of several is not the order."""

AMOUNT_PRESENT = Rule(
    "ORD-AMOUNT-MISSING",
    lambda rows: (rows["amount"] != "") | ((rows["quantity"] != "") & (rows["unit_price"] != "")),
)
AMOUNT_STATED = Rule("ORD-AMOUNT-MISSING", lambda rows: rows["amount"] != "")

_ALSO = {"order_number": [NOT_TWICE], "ordered_on": [REAL_DAY]}

ORDER_TEXT = Stage(
    {column.name: (ARROW_TEXT, [*_text_rules(column), *_ALSO.get(column.name, [])]) for column in COLUMNS},
    across={"amount": AMOUNT_PRESENT},
)

STATED_ORDER_TEXT = replace(ORDER_TEXT, across={"amount": AMOUNT_STATED})
"""The same where an amount is what is stated and never calculated."""

QUANTITY_RANGE = Rule("ORD-QUANTITY-RANGE", _within(1, MAX_QUANTITY))
PRICE_RANGE = Rule("ORD-PRICE-RANGE", _within(0, MAX_JPY))
AMOUNT_RANGE = Rule("ORD-AMOUNT-RANGE", _within(MIN_JPY, MAX_JPY))
DATE_RANGE = Rule("ORD-DATE-RANGE", _within(pd.Timestamp(FIRST_DAY), pd.Timestamp(LAST_DAY)))


def _amounts_agree(rows: pd.DataFrame) -> Any:
    product = rows["quantity"] * rows["unit_price"]
    return (product == rows["amount"]).fillna(True)  # null: one of the three is absent or unreadable


AMOUNTS_AGREE = Rule("ORD-AMOUNT-MISMATCH", _amounts_agree)

TYPED_ORDERS = Stage(
    {
        "quantity": ("Int64", [QUANTITY_RANGE]),
        "unit_price": ("Int64", [PRICE_RANGE]),
        "amount": ("Int64", [AMOUNT_RANGE]),
        "ordered_on": ("datetime64[s]", [DATE_RANGE]),
    },
    across={"amount": AMOUNTS_AGREE},
    nullable={"quantity", "unit_price", "amount", "ordered_on"},
)

STATED_TYPED_ORDERS = replace(TYPED_ORDERS, across={})

_POSITIVE = Rule("ROW-POSITION", lambda numbers: (numbers > 0) & ~numbers.duplicated())

VALIDATED_ORDERS = Stage(
    {
        "import_row_number": ("int64", [_POSITIVE]),
        "line_number": ("int64", [_POSITIVE]),
        "order_number": (ARROW_TEXT, [*_text_rules(BY_NAME["order_number"]), NOT_TWICE]),
        "customer_name": (ARROW_TEXT, _text_rules(BY_NAME["customer_name"])),
        "email": (ARROW_TEXT, _text_rules(BY_NAME["email"])),
        "item_code": (ARROW_TEXT, _text_rules(BY_NAME["item_code"])),
        "item_name": (ARROW_TEXT, _text_rules(BY_NAME["item_name"])),
        "quantity": ("Int64", [QUANTITY_RANGE]),
        "unit_price_jpy": ("Int64", [PRICE_RANGE]),
        "amount_jpy": ("int64", [AMOUNT_RANGE]),
        "currency": (ARROW_TEXT, [Rule("ORD-CURRENCY-UNKNOWN", lambda cells: cells == "JPY")]),
        "ordered_on": ("datetime64[s]", [DATE_RANGE]),
        "phone": (ARROW_TEXT, _text_rules(BY_NAME["phone"])),
        "postal_code": (ARROW_TEXT, _text_rules(BY_NAME["postal_code"])),
        "address": (ARROW_TEXT, _text_rules(BY_NAME["address"])),
        "note": (ARROW_TEXT, _text_rules(BY_NAME["note"])),
    },
    nullable={"quantity", "unit_price_jpy", "ordered_on"},
)


def not_taken(numbers: Collection[str]) -> Rule:
    """The rule against earlier batches of the same client."""
    taken = list(numbers)
    return Rule("ORD-NUMBER-EARLIER", lambda cells: ~cells.isin(taken))


def validated_order_problems(orders: pd.DataFrame) -> list[str]:
    """What is wrong with accepted rows, as ``column: check``; empty when all is well. Holds no values."""
    try:
        VALIDATED_ORDERS.schema.validate(orders, lazy=True)
    except SchemaErrors as errors:
        found = {f"{_column_of(problem)}: {_name_of(problem)}" for problem in errors.schema_errors}
        return sorted(found)
    return []


def _column_of(problem: Any) -> str:
    return str(getattr(problem.schema, "name", None) or "row")


def _name_of(problem: Any) -> str:
    name = getattr(problem.check, "name", None)
    return str(name or problem.reason_code.name.lower())
