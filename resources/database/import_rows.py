"""The rows of a file as they are kept: every one of them, accepted or rejected, its cells encrypted.

``row_storage.py`` puts them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from domain.issues import CellReading, RowIssue
from domain.states import RowState


def issue_counts(tx: Connection, batch_id: str) -> list[tuple[str, str, int]]:
    """How often each fault occurs: (column, code, rows), most frequent first."""
    query = text("""select i ->> 'column', i ->> 'code', count(*) from import_rows r, jsonb_array_elements(r.issues) i
                    where r.batch_id = :b and r.state = 'rejected' group by 1, 2 order by 3 desc, 1, 2""")
    return [(column, code, int(n)) for column, code, n in tx.execute(query, {"b": batch_id})]


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """One accepted row: what was read of it, and its sealed cells."""

    batch_id: str
    import_row_number: int
    cells: bytes
    order_number: str
    item_code: str | None
    item_name: str | None
    quantity: int | None
    amount_jpy: int
    ordered_on: date | None


def accepted(tx: Connection, batch_id: str) -> Iterator[AcceptedRow]:
    """Every accepted row in its order."""
    query = text("""select batch_id, import_row_number, cells, order_number, item_code, item_name, quantity, amount,
                           ordered_on
                    from import_rows where batch_id = :b and state = 'accepted' order by import_row_number""")
    for batch, number, cells, *rest in tx.execute(query, {"b": batch_id}):
        yield AcceptedRow(batch, number, bytes(cells), *rest)


def count(tx: Connection, batch_id: str) -> int:
    """All rows of a batch."""
    return int(tx.execute(text("select count(*) from import_rows where batch_id = :b"), {"b": batch_id}).scalar_one())


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """One row of the file with all that became of it, for the result files. None where a stage was not reached."""

    import_row_number: int
    line_number: int
    state: RowState
    cells: bytes
    issues: tuple[RowIssue, ...]
    readings: tuple[CellReading, ...]
    order_id: int | None
    payment_state: str | None
    payment_reason: str | None
    payment_id: str | None
    notification_state: str | None
    notification_reason: str | None
    notification_id: str | None


_OUTCOMES = text("""
    select r.import_row_number, r.line_number, r.state, r.cells, r.issues, r.readings, o.order_id,
           p.state, p.reason, p.remote_id, n.state, n.reason, n.remote_id
    from import_rows r
    left join orders o on o.batch_id = r.batch_id and o.import_row_number = coalesce(r.order_row, r.import_row_number)
    left join payments p on p.order_id = o.order_id
    left join notifications n on n.order_id = o.order_id
    where r.batch_id = :b order by r.import_row_number""")


def outcomes(tx: Connection, batch_id: str) -> Iterator[RowOutcome]:
    """Every row of the file in its order."""
    for row in tx.execute(_OUTCOMES, {"b": batch_id}):
        number, line, state, cells, issues, readings, *rest = row
        yield RowOutcome(
            number,
            line,
            RowState(state),
            bytes(cells),
            issues_of(number, line, issues),
            tuple(CellReading(number, found["column"], tuple(found["rules"])) for found in readings or ()),
            *rest,
        )


def issues_of(number: int, line: int, stored: list[dict[str, Any]] | None) -> tuple[RowIssue, ...]:
    """The faults of a row as they are kept with it."""
    return tuple(
        RowIssue(number, line, found["column"], found["code"], found.get("facts", {})) for found in stored or ()
    )
