"""From validated rows to stored rows: columns for the accepted ones, sealed cells and issues for all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from typing import Any

import pandas as pd

from assets.validated_csv.reading import SourceTable
from assets.validated_csv.validation import Validation
from domain.issues import RowIssue
from domain.states import RowState
from resources.database.import_rows import StoredRow
from resources.encryption import Vault

_KEPT_IN_CLEAR = ["import_row_number", "order_number", "item_code", "item_name", "quantity", "amount_jpy", "ordered_on"]


def stored_rows(batch_id: str, table: SourceTable, validation: Validation, vault: Vault) -> Iterator[StoredRow]:
    """Every row of the file, in its order."""
    issues: dict[int, list[RowIssue]] = defaultdict(list)
    for issue in validation.issues:
        issues[issue.import_row_number].append(issue)
    accepted = _accepted_values(validation.accepted)
    for number, (cells, line) in enumerate(zip(table.rows, table.line_numbers, strict=True), start=1):
        sealed = vault.seal_cells(batch_id, number, cells)
        if number in accepted:
            yield StoredRow(number, line, RowState.ACCEPTED, sealed, (), *accepted[number])
        else:
            yield StoredRow(number, line, RowState.REJECTED, sealed, tuple(issues[number]))


def _accepted_values(frame: pd.DataFrame) -> dict[int, tuple[Any, ...]]:
    """Row number to (order_number, item_code, item_name, quantity, amount_jpy, ordered_on), as plain Python values."""
    columns = [frame[name].tolist() for name in _KEPT_IN_CLEAR]
    return {
        number: (order_number, code or None, name or None, _integer(quantity), amount, _day(day))
        for number, order_number, code, name, quantity, amount, day in zip(*columns, strict=True)
    }


def _integer(value: Any) -> int | None:
    return None if value is pd.NA else int(value)


def _day(value: pd.Timestamp) -> date | None:
    return None if pd.isna(value) else value.date()
