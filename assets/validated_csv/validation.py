"""Every fault of every row in one pass, and the rows without any as typed orders.

The rules are the checks of ``checks/schemas.py``; here cells are trimmed, read as plain values, typed and judged by
them, and what they find becomes one issue per row, column and code. Pure: the same table and the same earlier numbers
give the same result, in the same order. After the reported rows are removed from a file, a second validation finds
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

from assets.validated_csv.cell_values import ReadCells, read_cells
from assets.validated_csv.reading.parts import Indexes
from assets.validated_csv.source_table import SourceTable
from checks import schemas
from domain import columns
from domain.cells import join_parts
from domain.client_profile import AmountRule
from domain.headers import AmountIs
from domain.issues import CellReading, RowIssue
from domain.money import PLAIN_NUMBER

EarlierNumbers = Collection[str] | Callable[[list[str]], Collection[str]]


@dataclass(frozen=True, slots=True)
class Validation:
    """What became of the rows of one file.

    ``accepted`` has the columns and types of ``checks.schemas.VALIDATED_ORDERS``; ``issues`` are ordered by row, column
    and code; ``readings`` are the cells that were read as something else than is written, of any row;
    ``declared_amount_jpy`` is the sum of all amounts that could be read, those of rejected rows too, and
    ``unread_amounts`` the rows whose amount could not.
    """

    accepted: pd.DataFrame
    issues: list[RowIssue]
    readings: list[CellReading]
    rows: int
    declared_amount_jpy: int
    unread_amounts: int

    @property
    def rejected_rows(self) -> list[int]:
        """Import row numbers with at least one issue, ascending."""
        return sorted({issue.import_row_number for issue in self.issues})

    @property
    def amount_jpy(self) -> int:
        """Sum of the accepted rows, in yen."""
        return int(self.accepted["amount_jpy"].sum())


def validate(table: SourceTable, taken_order_numbers: EarlierNumbers = frozenset()) -> Validation:
    """Judge every row of ``table``.

    ``taken_order_numbers`` are the order numbers of the client's earlier batches; a callable is asked once, with the
    distinct numbers of this file, and gives back those that are taken.
    """
    rows = table.cells.whole_rows
    read = read_cells(_trimmed_text(table), table.profile.value_rules)
    rule = table.profile.amount_rule(table.header_map)
    text = _with_amount_by(rule, read.text)
    typed = _typed(text, rule)
    broken = _of_lines(table, text, _broken(text, typed, rule, taken_order_numbers))
    faults = [*read.refused, *read.without_refused(broken)]
    issues = _issues(table, rows, faults, text["order_number"])
    accepted = _accepted(table, rows, _without_fault(table, rows, faults), text, typed)
    declared = int(typed["amount"].clip(upper=_CEILING).sum())
    unread = table.row_count - int(typed["amount"].notna().sum())
    return Validation(accepted, issues, _readings(rows, read), table.row_count, declared, unread)


def _broken(
    text: pd.DataFrame, typed: pd.DataFrame, rule: AmountRule, taken: EarlierNumbers
) -> Iterator[schemas.Fault]:
    stated = rule is AmountRule.STATED
    yield from (schemas.STATED_ORDER_TEXT if stated else schemas.ORDER_TEXT).broken(text)
    yield from (schemas.STATED_TYPED_ORDERS if stated else schemas.TYPED_ORDERS).broken(typed)
    yield from _earlier(text["order_number"], taken)


def _of_lines(table: SourceTable, text: pd.DataFrame, faults: Iterator[schemas.Fault]) -> Iterator[schemas.Fault]:
    """Where each line has its own amount, all lines of an order are refused: the first alone would be too little."""
    by_line = table.header_map.amount_is is AmountIs.LINE_TOTAL
    yield from (fault for fault in faults if not (by_line and fault[1] == schemas.NOT_TWICE.code))
    if by_line:
        yield from schemas.NOT_SEVERAL.broken_in("order_number", text["order_number"])


def _earlier(numbers: pd.Series[str], taken: EarlierNumbers) -> Iterator[schemas.Fault]:
    if callable(taken):
        taken = taken(sorted(set(numbers) - {""}))
    if taken:
        yield from schemas.not_taken(taken).broken_in("order_number", numbers)


# -- from cells to typed columns --------------------------------------------------------------------------------------

_LONGEST_NUMBER = 10
_CEILING = 1_000_000_000  # above every limit, and the product of two such numbers still fits 64 bits


def _trimmed_text(table: SourceTable) -> pd.DataFrame:
    """All canonical columns of the rows with every cell, trimmed; one that the file does not have is empty."""
    empty = arrow.repeat(arrow.scalar("", arrow.large_string()), len(table.cells.whole_rows))
    found = {name: table.column_map.get(name, ()) for name in columns.NAMES}
    return pd.DataFrame(
        {name: _series(_cells_of(table, name, at) if at else empty) for name, at in found.items()}, copy=False
    )


def _cells_of(table: SourceTable, name: str, positions: tuple[int, ...]) -> arrow.LargeStringArray:
    """One of our columns, its parts joined."""
    if len(positions) == 1:
        return compute.utf8_trim_whitespace(table.cells.columns[positions[0]])
    parts = zip(*(table.cells.columns[at].to_pylist() for at in positions), strict=True)
    return arrow.array([join_parts(name, row) for row in parts], arrow.large_string())


def _series(cells: arrow.LargeStringArray) -> pd.Series[str]:
    return pd.Series(pd.arrays.ArrowStringArray(cells, dtype=schemas.TEXT))  # type: ignore[call-arg] # stubs lack dtype


def _with_amount_by(rule: AmountRule, text: pd.DataFrame) -> pd.DataFrame:
    """Where the amount is calculated, what its column says is not looked at."""
    if rule is not AmountRule.QUANTITY_TIMES_PRICE:
        return text
    return text.assign(amount=_series(arrow.repeat(arrow.scalar("", arrow.large_string()), len(text))))


def _typed(text: pd.DataFrame, rule: AmountRule = AmountRule.AGREE) -> pd.DataFrame:
    quantity, unit_price, stated = (_numbers(text[name]) for name in ("quantity", "unit_price", "amount"))
    amount = stated if rule is AmountRule.STATED else stated.mask(text["amount"] == "", quantity * unit_price)
    ordered_on = schemas.days(text["ordered_on"])
    return pd.DataFrame({"quantity": quantity, "unit_price": unit_price, "amount": amount, "ordered_on": ordered_on})


def _numbers(cells: pd.Series[str]) -> pd.Series[int]:
    """Plain numbers as Int64, null where there is none; a number longer than any limit becomes ``_CEILING``."""
    text = arrow.array(cells)
    plain = compute.match_substring_regex(text, f"^(?:{PLAIN_NUMBER})$")  # RE2: ^ and $ are the ends of the whole text
    short = compute.less_equal(compute.binary_length(text), _LONGEST_NUMBER)
    digits = compute.if_else(compute.and_(plain, short), text, "0")
    small = np.asarray(short)
    values = np.where(small, np.minimum(np.asarray(compute.cast(digits, arrow.int64())), _CEILING), _CEILING)
    return pd.Series(pd.arrays.IntegerArray(values, ~np.asarray(plain)))


# -- from masks to issues and accepted rows ---------------------------------------------------------------------------


def _readings(rows: Indexes, read: ReadCells) -> list[CellReading]:
    return [CellReading(int(rows[change.row]) + 1, change.column, change.rules) for change in read.changes]


def _issues(
    table: SourceTable, rows: Indexes, faults: Iterable[schemas.Fault], numbers: pd.Series[str]
) -> list[RowIssue]:
    """One issue per row, column and code, in that order; what the reader saw already comes with its own."""
    found = {(issue.import_row_number, issue.column, issue.code): issue for issue in table.issues}
    for column, code, mask in faults:
        facts = _facts(code, column)
        first_lines = _first_lines(table, rows, numbers, mask) if code == schemas.NOT_TWICE.code else {}
        for at in np.flatnonzero(mask).tolist():
            i = int(rows[at])
            line = table.line_numbers[i]
            found[i + 1, column, code] = RowIssue(i + 1, line, column, code, first_lines.get(at, facts))
    return [found[key] for key in sorted(found, key=_in_order)]


def _in_order(key: tuple[int, str, str]) -> tuple[int, int, str, str]:
    row, column, code = key
    return row, columns.POSITION.get(column, len(columns.NAMES)), column, code


_NO_FACTS: dict[str, int] = {}


def _facts(code: str, column: str) -> dict[str, int]:
    return {"limit": columns.BY_NAME[column].max_length} if code == "ORD-CELL-TOO-LONG" else _NO_FACTS


def _first_lines(
    table: SourceTable, rows: Indexes, numbers: pd.Series[str], mask: schemas.Mask
) -> dict[int, dict[str, int]]:
    """For each repeated order number the line on which it came first."""
    lines = [table.line_numbers[i] for i in rows.tolist()]
    cells = numbers.tolist()
    first_line = dict(zip(reversed(cells), reversed(lines), strict=True))
    return {at: {"first_line": first_line[cells[at]]} for at in np.flatnonzero(mask).tolist()}


def _without_fault(table: SourceTable, rows: Indexes, faults: Iterable[schemas.Fault]) -> schemas.Mask:
    clean = ~np.isin(rows, [issue.import_row_number - 1 for issue in table.issues])
    for _, _, mask in faults:
        clean &= ~mask
    return clean


def _accepted(
    table: SourceTable, rows: Indexes, clean: schemas.Mask, text: pd.DataFrame, typed: pd.DataFrame
) -> pd.DataFrame:
    if not clean.all():  # else they are accepted as they are: no copy
        rows = rows[clean]
        text, typed = text[clean].reset_index(drop=True), typed[clean].reset_index(drop=True)
    found = {
        **dict(text.items()),
        "import_row_number": rows + 1,
        "line_number": np.asarray(table.line_numbers, dtype=np.int64)[rows],
        "quantity": typed["quantity"],
        "unit_price_jpy": typed["unit_price"],
        "amount_jpy": typed["amount"].astype("int64"),
        "currency": _series(arrow.repeat(arrow.scalar("JPY", arrow.large_string()), len(rows))),
        "ordered_on": typed["ordered_on"],
    }
    return pd.DataFrame({name: found[name] for name in schemas.VALIDATED_ORDERS.columns}, copy=False)
