"""Pandera schemas of the stages. The name of every check is the code of the issue that it finds: one source for both.

    ORDER_TEXT        every row that has the right number of cells, trimmed text, "" where a cell is empty
    TYPED_ORDERS      the same rows, typed; null where a cell was empty or unreadable, which ORDER_TEXT has already said
    VALIDATED_ORDERS  the accepted rows: what the next stage may rely on

Columns are typed before, never coerced here: coercion of bad cells costs fifty times the validation. `broken` runs the
checks themselves and gives masks; it never builds Pandera's failure cases, which hold customers' values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from domain.columns import COLUMNS, Column
from domain.money import MAX_JPY, MIN_JPY, PLAIN_NUMBER

Mask = npt.NDArray[np.bool_]

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


def _check(code: str, test: Callable[[Any], Any], column: str | None = None) -> pa.Check:
    """A check named by its issue code; ``column`` says where a check over several columns belongs."""
    # With ignore_na Pandera drops null cells first and the mask no longer fits the rows; every test here judges nulls.
    return pa.Check(test, name=code, error=code, title=column, ignore_na=False)


def _matches(pattern: str) -> Callable[[Any], Any]:
    return lambda cells: (cells == "") | cells.str.fullmatch(pattern)


def days(cells: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    """The day in each ``YYYY-MM-DD`` cell; null where there is none, or none that the calendar has."""
    shaped = cells.where(cells.str.fullmatch(ISO_DATE))
    return pd.to_datetime(shaped, format="%Y-%m-%d", errors="coerce").astype("datetime64[s]")


def _within(low: object, high: object) -> Callable[[Any], Any]:
    return lambda values: values.isna() | values.between(low, high)


_MISSING = {"order_number": "ORD-NUMBER-MISSING", "customer_name": "ORD-NAME-MISSING", "email": "ORD-EMAIL-MISSING"}

_FORMAT = {
    "email": _check("ORD-EMAIL-FORMAT", _matches(EMAIL)),
    "quantity": _check("ORD-QUANTITY-FORMAT", _matches(PLAIN_NUMBER)),
    "unit_price": _check("ORD-PRICE-FORMAT", _matches(PLAIN_NUMBER)),
    "amount": _check("ORD-AMOUNT-FORMAT", _matches(PLAIN_NUMBER)),
    "currency": _check("ORD-CURRENCY-UNKNOWN", lambda cells: cells.isin(["", "JPY", "jpy"])),
    "ordered_on": _check("ORD-DATE-FORMAT", _matches(ISO_DATE)),
}
"""Columns with a form of their own: a line break in them breaks the form too."""


def _present(column: Column) -> pa.Check:
    return _check(_MISSING[column.name], lambda cells: cells != "")


def _short_enough(column: Column) -> pa.Check:
    return _check("ORD-CELL-TOO-LONG", lambda cells: cells.str.len() <= column.max_length)


def _text_checks(column: Column) -> list[pa.Check]:
    checks = [_short_enough(column)]
    if column.name in _MISSING:
        checks.append(_present(column))
    if column.name in _FORMAT:
        checks.append(_FORMAT[column.name])
    elif column.single_line:
        checks.append(_check("ORD-CELL-LINE-BREAK", lambda cells: ~cells.str.contains(r"[\r\n\t]")))
    return checks


REAL_DAY = _check("ORD-DATE-CALENDAR", lambda cells: days(cells).notna() | ~cells.str.fullmatch(ISO_DATE))
NOT_TWICE = _check("ORD-NUMBER-DUPLICATE", lambda cells: (cells == "") | ~cells.duplicated())
"""The first occurrence in the file stands, whatever else is wrong with it; each later one is refused."""

AMOUNT_PRESENT = _check(
    "ORD-AMOUNT-MISSING",
    lambda rows: (rows["amount"] != "") | ((rows["quantity"] != "") & (rows["unit_price"] != "")),
    column="amount",
)

_ALSO = {"order_number": [NOT_TWICE], "ordered_on": [REAL_DAY]}

ORDER_TEXT = pa.DataFrameSchema(
    {column.name: pa.Column("str", [*_text_checks(column), *_ALSO.get(column.name, [])]) for column in COLUMNS},
    checks=[AMOUNT_PRESENT],
    strict=True,
)

QUANTITY_RANGE = _check("ORD-QUANTITY-RANGE", _within(1, MAX_QUANTITY))
PRICE_RANGE = _check("ORD-PRICE-RANGE", _within(0, MAX_JPY))
AMOUNT_RANGE = _check("ORD-AMOUNT-RANGE", _within(MIN_JPY, MAX_JPY))
DATE_RANGE = _check("ORD-DATE-RANGE", _within(pd.Timestamp(FIRST_DAY), pd.Timestamp(LAST_DAY)))


def _amounts_agree(rows: pd.DataFrame) -> Any:
    product = rows["quantity"] * rows["unit_price"]
    return (product == rows["amount"]).fillna(True)  # null: one of the three is absent or unreadable


AMOUNTS_AGREE = _check("ORD-AMOUNT-MISMATCH", _amounts_agree, column="amount")

TYPED_ORDERS = pa.DataFrameSchema(
    {
        "quantity": pa.Column("Int64", QUANTITY_RANGE, nullable=True),
        "unit_price": pa.Column("Int64", PRICE_RANGE, nullable=True),
        "amount": pa.Column("Int64", AMOUNT_RANGE, nullable=True),
        "ordered_on": pa.Column("datetime64[s]", DATE_RANGE, nullable=True),
    },
    checks=[AMOUNTS_AGREE],
)


def _kept(name: str, *checks: pa.Check) -> pa.Column:
    return pa.Column("str", [*checks, _short_enough(next(column for column in COLUMNS if column.name == name))])


VALIDATED_ORDERS = pa.DataFrameSchema(
    {
        "import_row_number": pa.Column("int64", pa.Check.ge(1), unique=True),
        "line_number": pa.Column("int64", pa.Check.ge(2)),
        "order_number": _kept("order_number", _present(COLUMNS[0]), NOT_TWICE),
        "customer_name": _kept("customer_name", _present(COLUMNS[1])),
        "email": _kept("email", _present(COLUMNS[2]), _FORMAT["email"]),
        "item_code": _kept("item_code"),
        "item_name": _kept("item_name"),
        "quantity": pa.Column("Int64", QUANTITY_RANGE, nullable=True),
        "unit_price_jpy": pa.Column("Int64", PRICE_RANGE, nullable=True),
        "amount_jpy": pa.Column("int64", AMOUNT_RANGE),
        "currency": pa.Column("str", pa.Check.isin(["JPY"])),
        "ordered_on": pa.Column("datetime64[s]", DATE_RANGE, nullable=True),
        "phone": _kept("phone"),
        "postal_code": _kept("postal_code"),
        "address": _kept("address"),
        "note": _kept("note"),
    },
    strict=True,
    ordered=True,
)


def not_taken(numbers: Collection[str]) -> pa.Check:
    """The check against earlier batches of the same client."""
    taken = list(numbers)
    return _check("ORD-NUMBER-EARLIER", lambda cells: ~cells.isin(taken))


def broken(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> Iterator[tuple[str, str, Mask]]:
    """For every check that some row breaks: the column, the issue code, and which rows break it."""
    for name, column in schema.columns.items():
        for check in column.checks:
            yield from broken_by(check, str(name), frame[name])
    for check in schema.checks:
        yield from broken_by(check, check.title or "", frame)


def broken_by(check: Any, column: str, checked: Any) -> Iterator[tuple[str, str, Mask]]:
    """The same for one check of one column, or of several columns of a frame."""
    passed = np.asarray(check(checked).check_output, dtype=bool)
    if not passed.all():
        yield column, str(check.name), ~passed


def validated_order_problems(orders: pd.DataFrame) -> list[str]:
    """What is wrong with accepted rows, as ``column: check``; empty when all is well. Holds no values."""
    try:
        VALIDATED_ORDERS.validate(orders, lazy=True)
    except SchemaErrors as errors:
        found = {f"{_column_of(problem)}: {_name_of(problem)}" for problem in errors.schema_errors}
        return sorted(found)
    return []


def _column_of(problem: Any) -> str:
    return str(getattr(problem.schema, "name", None) or "row")


def _name_of(problem: Any) -> str:
    name = getattr(problem.check, "name", None)
    return str(name or problem.reason_code.name.lower())
