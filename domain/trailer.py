"""What the sender says the file holds, and the line of totals below the orders, where most say it.

The line is told by its cells: one says 合計 or the like, every other is empty, a number, or a count such as ``12件``.
Anything else is an order, or one with faults. Totals in a file of their own are read by ``domain/side_totals.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.cells import CellReader
from domain.headers import fold
from domain.money import parse_yen
from domain.values.amounts import read_number
from domain.values.reading import narrow

_LABELS = frozenset({"合計", "総合計", "総計", "計", "合計金額", "total", "totals", "grand_total", "sum"})
_COUNT = re.compile(r"(?:全|計)?\s*([0-9][0-9,]*)\s*(件|行|rows?|orders?)", re.IGNORECASE)


class CountOf(StrEnum):
    """What was counted. The two differ only where several lines make one order."""

    LINES = "lines"
    ORDERS = "orders"
    EITHER = "either"  # 件 is said of both


@dataclass(frozen=True, slots=True)
class Totals:
    """Rows and yen as the sender declares them; None where nothing is said."""

    rows: int | None
    jpy: int | None
    count_of: CountOf = CountOf.EITHER

    def count_agrees(self, lines: int, orders: int) -> bool:
        """Whether a file of so many lines and orders is what was declared."""
        meant = {CountOf.LINES: {lines}, CountOf.ORDERS: {orders}, CountOf.EITHER: {lines, orders}}
        return self.rows is None or self.rows in meant[self.count_of]


def totals_in(cells: Sequence[str], reader: CellReader) -> Totals | None:
    """The totals, when this row is their line and says at least one."""
    written = [cell.strip() for cell in cells if cell.strip()]
    counts = [found for cell in written if (found := read_count(cell)) is not None]
    labels = [cell for cell in written if fold(cell) in _LABELS]
    numbers = [cell for cell in written if not read_number(cell).refusal]
    if len(labels) != 1 or len(counts) > 1 or len(counts) + len(numbers) + 1 != len(written):
        return None
    rows, count_of = counts[0] if counts else (None, CountOf.EITHER)
    jpy = parse_yen(reader.value("amount", cells))
    return None if rows is None and jpy is None else Totals(rows, jpy, count_of)


def read_count(cell: str) -> tuple[int, CountOf] | None:
    """A number with what it counts, such as ``全12件`` or ``12 rows``; None where it is something else."""
    found = _COUNT.fullmatch(narrow(cell.strip()))
    return (int(found[1].replace(",", "")), _UNITS[found[2][0].lower()]) if found else None


_UNITS = {"件": CountOf.EITHER, "行": CountOf.LINES, "r": CountOf.LINES, "o": CountOf.ORDERS}
