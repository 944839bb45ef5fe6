"""Several lines that are one order (``lines: many`` in the client's profile), judged together.

Lines with the same order number belong together, wherever they stand. The first says whose order it is; a further one
may repeat that or leave it empty, but not contradict it. Amounts are those of the lines, which add up, or the order's,
on the first line alone or on each; the profile or the known system says which. What is wrong with one line is wrong
with the order: all of its lines are rejected, each with its reason. Where a line does not tell whose it is, and lines
add up, it may be a part of any order, and none is complete for certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from assets.validated_csv.likeness import folded
from assets.validated_csv.reading.parts import BETWEEN_CELLS, Indexes
from assets.validated_csv.source_table import SourceTable
from checks import schemas
from checks.schemas import Fault, Mask
from domain.cells import CellReader
from domain.headers import AmountIs
from domain.issues import RowIssue
from domain.money import MAX_JPY, MIN_JPY

_NUMBER = "order_number"
_REPEATED = ("customer_name", "email", "currency", "ordered_on")
"""Columns of the order, on which money or the addressee depends."""

_REQUIRED = frozenset({"customer_name", "email"})
_OF_ONE_LINE = frozenset({schemas.NOT_TWICE.code, schemas.NOT_SEVERAL.code})
_TELL_OF_AN_ITEM = ("item_code", "item_name", "quantity", "unit_price", "amount")

_NUMBER_IS_KNOWN = _OF_ONE_LINE | {"ORD-NUMBER-EARLIER", "ORD-CELL-TOO-LONG", "ORD-CELL-LINE-BREAK"}
"""Faults of an order number that still says which order it is."""

_NOBODY = -1

REJECTED, DIFFER, RANGE, UNSURE = "ORD-LINES-REJECTED", "ORD-LINES-DIFFER", "ORD-LINES-RANGE", "ORD-LINES-UNSURE"


@dataclass(frozen=True, slots=True, eq=False)
class JudgedLines:
    """``table`` with what is wrong with orders as a whole among its issues, ``faults`` without what is not.

    ``typed`` has under ``amount`` what each line adds to its order; ``further_rows`` counts the rows beyond the first
    of each order, the faulty ones too; with ``add_up`` amounts are those of lines.
    """

    table: SourceTable
    faults: list[Fault]
    typed: pd.DataFrame
    further_rows: int
    add_up: bool

    def order_rows(self, accepted: pd.DataFrame) -> dict[int, int]:
        """Of each accepted line but the first of its order: its import row number, and that of the first."""
        numbers = accepted["import_row_number"].to_numpy()
        first = _first_rows(accepted[_NUMBER])
        further = first != np.arange(len(first))
        return dict(zip(numbers[further].tolist(), numbers[first[further]].tolist(), strict=True))


def orders_of(accepted: pd.DataFrame, order_rows: Mapping[int, int]) -> pd.DataFrame:
    """The accepted orders: the first line of each, with the amount of the order."""
    if not order_rows:
        return accepted
    amounts = accepted.groupby(_NUMBER, sort=False)["amount_jpy"].sum()
    orders = accepted[~accepted["import_row_number"].isin(list(order_rows))].reset_index(drop=True)
    return orders.assign(amount_jpy=amounts.to_numpy())


def judged_lines(table: SourceTable, text: pd.DataFrame, typed: pd.DataFrame, faults: Sequence[Fault]) -> JudgedLines:
    """Judge the orders of a file by what was found in its lines; ``text`` and ``typed`` hold its whole rows."""
    lines = _Lines(table, text, typed, faults)
    kept = list(lines.faults_that_stay())
    issues = [*table.issues, *lines.contradictions(), *lines.sums_out_of_range()]
    issues += lines.of_whole_orders(kept, issues)
    return JudgedLines(replace(table, issues=issues), kept, lines.adds, lines.further_rows, lines.add_up)


def _first_rows(numbers: pd.Series[str]) -> Indexes:
    """For each row the one at which its order begins; without a number every row is an order of its own."""
    kinds, _ = pd.factorize(numbers)
    kinds = np.where((numbers == "").to_numpy(), len(kinds) + np.arange(len(kinds)), kinds)
    _, begins, of_row = np.unique(kinds, return_index=True, return_inverse=True)
    return begins[of_row]


class _Lines:
    """The whole rows of one file as lines of orders. Places are rows of the frames."""

    def __init__(self, table: SourceTable, text: pd.DataFrame, typed: pd.DataFrame, faults: Sequence[Fault]) -> None:
        self._table, self._text, self._typed, self._faults = table, text, typed, faults
        self._rows = table.cells.whole_rows
        self._first = _first_rows(text[_NUMBER])
        self._further = self._first != np.arange(len(text))
        self._several = np.bincount(self._first, minlength=len(text))[self._first] > 1
        self.add_up = table.profile.amount_of_lines(table.header_map) is AmountIs.LINE_TOTAL
        self._ragged = self._find_ragged()
        self._repeated = _REPEATED if self.add_up else (*_REPEATED, "amount")

    @property
    def adds(self) -> pd.DataFrame:
        """The typed columns with what each line adds to its order as its amount."""
        return self._typed if self.add_up else self._typed.assign(amount=self._typed["amount"].mask(self._further, 0))

    @property
    def further_rows(self) -> int:
        """Rows of the file that do not begin an order; one of another width does unless it says whose it is."""
        return int(self._further.sum()) + sum(whose is not None for _, whose in self._ragged)

    def faults_that_stay(self) -> Iterator[Fault]:
        """Without what is no fault of a line: a number that stands twice, an empty cell below its value, a few yen."""
        for column, code, mask in self._faults:
            if column == _NUMBER and code in _OF_ONE_LINE:
                continue
            left = mask
            if column in self._repeated:
                left = left & ~(self._further & self._empty(column))
            if code == schemas.AMOUNT_RANGE.code and self.add_up:
                left = left & ~(self._several & (self._typed["amount"] < MIN_JPY).fillna(False).to_numpy(bool))
            if left.any():
                yield column, code, left

    def contradictions(self) -> Iterator[RowIssue]:
        """Further lines that say something else than the first."""
        for column in self._repeated:
            values = folded(self._text[column]).to_numpy(zero_copy_only=False)
            if column == "currency":
                values = np.where(values == "", "jpy", values)  # what an empty cell means
            unread = self._with_fault(column)
            differ = self._further & ~self._empty(column) & (values != values[self._first])
            differ &= ~unread & ~unread[self._first]
            if column in _REQUIRED:  # missing on the first line: that says it
                differ &= ~self._empty(column)[self._first]
            for place in np.flatnonzero(differ).tolist():
                yield self._issue(place, column, DIFFER, first_line=self._line(int(self._first[place])))

    def sums_out_of_range(self) -> Iterator[RowIssue]:
        """Every line of an order whose lines together are too little or too much."""
        if not self.add_up:
            return
        amounts = self._typed["amount"]
        sums = amounts.fillna(0).groupby(self._first).transform("sum").to_numpy(np.int64)
        known = amounts.notna().groupby(self._first).transform("all").to_numpy(bool)
        for place in np.flatnonzero(self._several & known & ((sums < MIN_JPY) | (sums > MAX_JPY))).tolist():
            yield self._issue(place, "amount", RANGE)

    def of_whole_orders(self, faults: Sequence[Fault], issues: Sequence[RowIssue]) -> Iterator[RowIssue]:
        """The lines without a fault of their own, of orders that are rejected all the same."""
        bad = np.isin(self._rows, [issue.import_row_number - 1 for issue in issues])
        for _, _, mask in faults:
            bad |= mask
        because = self._faulty_row_of_orders(bad)[self._first]
        for place in np.flatnonzero(~bad & (because >= 0)).tolist():
            yield self._issue(place, "", REJECTED, line=self._table.line_numbers[because[place]])
        lost = self._rows_of_nobody()
        if lost and self.add_up:
            for place in np.flatnonzero(~bad & (because < 0)).tolist():
                yield self._issue(place, "", UNSURE, line=self._table.line_numbers[lost[0]])

    def _faulty_row_of_orders(self, bad: Mask) -> Indexes:
        """At the place where an order begins: the first faulty row of the file among its lines, or -1."""
        last = self._table.row_count
        found = np.full(len(self._rows), last, dtype=np.int64)
        np.minimum.at(found, self._first[bad], self._rows[bad])
        for row, whose in self._ragged:
            if whose is not None and whose >= 0:
                found[whose] = min(found[whose], row)
        return np.where(found == last, -1, found)

    def _rows_of_nobody(self) -> list[int]:
        """Rows that may be a part of any order: they name a thing or an amount, and no number for certain."""
        unknown = self._with_fault(_NUMBER, but=_NUMBER_IS_KNOWN)
        empty = np.logical_and.reduce([self._empty(column) for column in _TELL_OF_AN_ITEM])
        whole = self._rows[unknown & ~empty].tolist()
        return sorted([*whole, *(row for row, whose in self._ragged if whose == _NOBODY)])

    def _find_ragged(self) -> list[tuple[int, int | None]]:
        """Rows of another width, each with the place at which its order begins; None: its own, -1: nobody knows.

        Only the first cell of such a row is what it says for certain: before any other, one may be missing.
        """
        ragged = np.setdiff1d(np.arange(self._table.row_count), self._rows).tolist()
        if not ragged:
            return []
        begins = dict(zip(reversed(self._text[_NUMBER].tolist()), reversed(self._first.tolist()), strict=True))
        reader = CellReader(self._table.column_map, self._table.profile.value_rules)
        at = self._table.column_map[_NUMBER]
        found: list[tuple[int, int | None]] = []
        for row in ragged:
            cells = self._table.cells.joined[row].as_py().split(BETWEEN_CELLS)
            if sum(bool(cell.strip()) for cell in cells) < 2:  # a remark: no item and no amount are in it
                found.append((row, None))
                continue
            number = reader.value(_NUMBER, cells) if max(at) < len(cells) else ""
            found.append((row, begins.get(number, None if at == (0,) else _NOBODY) if number else _NOBODY))
        return found

    def _with_fault(self, column: str, but: frozenset[str] = frozenset()) -> Mask:
        """Rows with a fault in the column, seen while reading or afterwards."""
        seen = [i.import_row_number - 1 for i in self._table.issues if i.column == column and i.code not in but]
        found: Mask = np.isin(self._rows, seen)
        for name, code, mask in self._faults:
            if name == column and code not in but:
                found = found | mask
        return found

    def _empty(self, column: str) -> Mask:
        return (self._text[column] == "").to_numpy(bool)

    def _line(self, place: int) -> int:
        return self._table.line_numbers[int(self._rows[place])]

    def _issue(self, place: int, column: str, code: str, **facts: int) -> RowIssue:
        return RowIssue(int(self._rows[place]) + 1, self._line(place), column, code, facts)
