"""Every fault of every row in one pass (R-33, R-38), and the rows without any as typed orders.

The rules are the checks of ``checks/schemas.py``; here cells are trimmed, read as plain values, typed and judged by
them, and what they find becomes one issue per row, column and code. Pure: the same table and the same earlier numbers
give the same result, in the same order. After the reported rows are removed from a file, a second validation finds
nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

from assets.validated_csv.cell_values import ReadCells, read_cells
from assets.validated_csv.order_lines import judged_lines, orders_of
from assets.validated_csv.reading.parts import Indexes
from assets.validated_csv.seen_numbers import SeenNumbers
from assets.validated_csv.source_table import SourceTable
from checks import schemas
from domain import columns
from domain.cells import join_parts
from domain.client_profile import AmountRule, Lines
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
    ``unread_amounts`` the rows whose amount could not. Where several lines make one order (``order_lines.py``),
    ``amount_jpy`` is what a line adds to its order, ``further_rows`` counts the lines beyond the first of each order,
    the faulty ones too, and ``order_rows`` has of each accepted one its import row number and that of the first;
    ``lines_add_up`` unless the amount is the whole order's.
    """

    accepted: pd.DataFrame
    issues: list[RowIssue]
    readings: list[CellReading]
    rows: int
    declared_amount_jpy: int
    unread_amounts: int
    further_rows: int = 0
    order_rows: Mapping[int, int] = field(default_factory=dict)
    lines_add_up: bool = True

    @property
    def orders(self) -> int:
        """The orders of the file, the faulty ones too."""
        return self.rows - self.further_rows

    @property
    def accepted_orders(self) -> pd.DataFrame:
        """The accepted rows, or of several lines of an order the first, with the order's amount."""
        return orders_of(self.accepted, self.order_rows)

    @property
    def rejected_rows(self) -> list[int]:
        """Import row numbers with at least one issue, ascending."""
        return sorted({issue.import_row_number for issue in self.issues})

    @property
    def amount_jpy(self) -> int:
        """Sum of the accepted rows, in yen."""
        return int(self.accepted["amount_jpy"].sum())


def validate(
    table: SourceTable, taken_order_numbers: EarlierNumbers = frozenset(), seen: SeenNumbers | None = None
) -> Validation:
    """Judge every row of ``table``.

    ``taken_order_numbers`` are the order numbers of the client's earlier batches; a callable is asked once, with the
    distinct numbers of this table, and gives back those that are taken. Where the table is one part of its file,
    ``seen`` has the numbers of the parts before it, and those of this one afterwards.
    """
    rows = table.cells.whole_rows
    read = read_cells(_trimmed_text(table), table.profile.value_rules)
    rule = table.profile.amount_rule(table.header_map)
    text = _with_amount_by(rule, read.text)
    typed = _typed(text, rule)
    numbers = _Numbers(table, text["order_number"], seen)
    broken = _of_lines(table, text, _broken(text, typed, rule, taken_order_numbers))
    faults = [*read.refused, *read.without_refused(itertools.chain(broken, numbers.seen_before()))]
    lines = judged_lines(table, text, typed, faults) if table.profile.lines is Lines.MANY else None
    if lines is not None:
        table, faults, typed = lines.table, lines.faults, lines.typed
    issues = _issues(table, rows, faults, numbers)
    accepted = _accepted(table, rows, _without_fault(table, rows, faults), text, typed)
    declared = int(typed["amount"].clip(upper=_CEILING).sum())
    unread = table.row_count - int(typed["amount"].notna().sum())
    of_lines = (lines.further_rows, lines.order_rows(accepted), lines.add_up) if lines is not None else ()
    return Validation(accepted, issues, _readings(table, rows, read), table.row_count, declared, unread, *of_lines)


def is_judged_as_one(table: SourceTable) -> bool:
    """Whether no row can be judged before all of its file are there, since several may be one order."""
    return table.profile.lines is Lines.MANY or table.header_map.amount_is is AmountIs.LINE_TOTAL


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
    quantity, unit_price, amount = (_numbers(text[name]) for name in ("quantity", "unit_price", "amount"))
    if rule is not AmountRule.STATED:
        amount = amount.or_else(quantity.times(unit_price), (text["amount"] == "").to_numpy(bool))
    found = {"quantity": quantity.series, "unit_price": unit_price.series, "amount": amount.series}
    return pd.DataFrame({**found, "ordered_on": schemas.days(text["ordered_on"])}, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Integers:
    """Numbers and where there are none. As pandas' own, whose arithmetic looks at every value several times."""

    values: Indexes
    missing: schemas.Mask

    @property
    def series(self) -> pd.Series[int]:
        return pd.Series(pd.arrays.IntegerArray(self.values, self.missing))

    def times(self, other: _Integers) -> _Integers:
        return _Integers(self.values * other.values, self.missing | other.missing)

    def or_else(self, other: _Integers, where: schemas.Mask) -> _Integers:
        return _Integers(np.where(where, other.values, self.values), np.where(where, other.missing, self.missing))


def _numbers(cells: pd.Series[str]) -> _Integers:
    """Plain numbers, none where there is none; a number longer than any limit becomes ``_CEILING``."""
    text = arrow.array(cells)
    plain = compute.match_substring_regex(text, f"^(?:{PLAIN_NUMBER})$")  # RE2: ^ and $ are the ends of the whole text
    short = compute.less_equal(compute.binary_length(text), _LONGEST_NUMBER)
    digits = compute.if_else(compute.and_(plain, short), text, "0")
    small = np.asarray(short)
    values = np.where(small, np.minimum(np.asarray(compute.cast(digits, arrow.int64())), _CEILING), _CEILING)
    return _Integers(values, ~np.asarray(plain))


# -- order numbers that come twice ------------------------------------------------------------------------------------


class _Numbers:
    """The order numbers of a table, and the line on which each came first, in it or in an earlier part of its file."""

    def __init__(self, table: SourceTable, numbers: pd.Series[str], seen: SeenNumbers | None) -> None:
        self._table, self._numbers = table, numbers
        self._earlier: Indexes | None = None
        if seen is not None:
            self._earlier = seen.first_lines(numbers, self._lines)

    @property
    def _lines(self) -> Indexes:
        return np.asarray(self._table.line_numbers, dtype=np.int64)[self._table.cells.whole_rows]

    def seen_before(self) -> Iterator[schemas.Fault]:
        """The numbers that an earlier part had."""
        if self._earlier is not None and self._earlier.any():
            yield "order_number", schemas.NOT_TWICE.code, self._earlier > 0

    def first_lines(self) -> Indexes:
        """The line for each, whether it came twice or not."""
        kinds, distinct = pd.factorize(self._numbers)
        lines = self._lines
        first = np.zeros(len(distinct), dtype=np.int64)
        first[kinds[::-1]] = lines[::-1]
        found = first[kinds]
        return found if self._earlier is None else np.where(self._earlier > 0, self._earlier, found)


# -- from masks to issues and accepted rows ---------------------------------------------------------------------------


def _readings(table: SourceTable, rows: Indexes, read: ReadCells) -> list[CellReading]:
    first = table.rows_before + 1
    return [CellReading(int(rows[change.row]) + first, change.column, change.rules) for change in read.changes]


def _issues(table: SourceTable, rows: Indexes, faults: Iterable[schemas.Fault], numbers: _Numbers) -> list[RowIssue]:
    """One issue per row, column and code, in that order; what the reader saw already comes with its own."""
    lines = np.asarray(table.line_numbers, dtype=np.int64)
    masks = _by_kind(faults)
    seen = _seen_by_reader(table, rows, masks)
    found: list[RowIssue] = []
    for kind in sorted({*masks, *seen}, key=_in_order):
        found += seen.get(kind, ())
        if kind in masks:
            at = np.flatnonzero(masks[kind])
            where = (rows[at] + table.rows_before + 1).tolist(), lines[rows[at]].tolist(), _facts(kind, at, numbers)
            found += (RowIssue(row, line, *kind, facts) for row, line, facts in zip(*where, strict=False))
    # Kind by kind, then put in order by row: 10,000 sorted one by one took 20 ms longer.
    order = np.argsort([issue.import_row_number for issue in found], kind="stable")
    return [found[at] for at in order.tolist()]


_Kind = tuple[str, str]
"""Column and code."""


def _by_kind(faults: Iterable[schemas.Fault]) -> dict[_Kind, schemas.Mask]:
    masks: dict[_Kind, schemas.Mask] = {}
    for column, code, mask in faults:
        masks[column, code] = masks[column, code] | mask if (column, code) in masks else mask
    return masks


def _seen_by_reader(
    table: SourceTable, rows: Indexes, judged: Mapping[_Kind, schemas.Mask]
) -> dict[_Kind, list[RowIssue]]:
    """What the reader saw, once each, without what is judged anyway."""
    found: dict[_Kind, dict[int, RowIssue]] = {}
    for issue in table.issues:
        found.setdefault((issue.column, issue.code), {})[issue.import_row_number] = issue
    for kind in found.keys() & judged.keys():
        for row in (rows[judged[kind]] + table.rows_before + 1).tolist():
            found[kind].pop(row, None)
    return {kind: list(of_kind.values()) for kind, of_kind in found.items()}


def _in_order(kind: _Kind) -> tuple[int, str, str]:
    column, code = kind
    return columns.POSITION.get(column, len(columns.NAMES)), column, code


_NO_FACTS: dict[str, int] = {}


def _facts(kind: _Kind, at: Indexes, numbers: _Numbers) -> Iterable[dict[str, int]]:
    """Those of each row."""
    column, code = kind
    if code == schemas.NOT_TWICE.code:
        return ({"first_line": line} for line in numbers.first_lines()[at].tolist())
    return itertools.repeat({"limit": columns.BY_NAME[column].max_length} if code == "ORD-CELL-TOO-LONG" else _NO_FACTS)


def _without_fault(table: SourceTable, rows: Indexes, faults: Iterable[schemas.Fault]) -> schemas.Mask:
    clean = ~np.isin(rows, [issue.import_row_number - table.rows_before - 1 for issue in table.issues])
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
        "import_row_number": rows + table.rows_before + 1,
        "line_number": np.asarray(table.line_numbers, dtype=np.int64)[rows],
        "quantity": typed["quantity"],
        "unit_price_jpy": typed["unit_price"],
        "amount_jpy": typed["amount"].astype("int64"),
        "currency": _series(arrow.repeat(arrow.scalar("JPY", arrow.large_string()), len(rows))),
        "ordered_on": typed["ordered_on"],
    }
    return pd.DataFrame({name: found[name] for name in schemas.VALIDATED_ORDERS.columns}, copy=False)
