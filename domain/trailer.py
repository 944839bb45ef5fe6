"""The line of totals below the orders: what the sender says the file holds.

It is told by its cells: one says 合計 or the like, every other is empty, a number, or a count such as ``12件``.
Anything else is an order, or one with faults.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from domain.cells import CellReader
from domain.headers import fold
from domain.money import parse_yen
from domain.values.amounts import read_number
from domain.values.reading import narrow

_LABELS = frozenset({"合計", "総合計", "総計", "計", "合計金額", "total", "totals", "grand_total", "sum"})
_COUNT = re.compile(r"(?:全|計)?\s*([0-9][0-9,]*)\s*(?:件|行|rows?|orders?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Totals:
    """Rows and yen as the sender declares them; None where the line does not say."""

    rows: int | None
    jpy: int | None


def totals_in(cells: Sequence[str], reader: CellReader) -> Totals | None:
    """The totals, when this row is their line and says at least one."""
    written = [cell.strip() for cell in cells if cell.strip()]
    counts = [found for cell in written if (found := _COUNT.fullmatch(narrow(cell)))]
    labels = [cell for cell in written if fold(cell) in _LABELS]
    numbers = [cell for cell in written if not read_number(cell).refusal]
    if len(labels) != 1 or len(counts) > 1 or len(counts) + len(numbers) + 1 != len(written):
        return None
    rows = int(counts[0][1].replace(",", "")) if counts else None
    jpy = parse_yen(reader.value("amount", cells))
    return None if rows is None and jpy is None else Totals(rows, jpy)
