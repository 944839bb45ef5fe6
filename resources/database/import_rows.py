"""The rows of a file as they are kept: every one of them, accepted or rejected, its cells encrypted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from domain.issues import CellReading, RowIssue
from domain.states import RowState

_COLUMNS = (
    "batch_id",
    "import_row_number",
    "line_number",
    "state",
    "cells",
    "issues",
    "readings",
    "order_number",
    "item_code",
    "item_name",
    "quantity",
    "amount",
    "ordered_on",
    "likeness",
    "order_row",
    "order_amount",
    "items",
)
# Types for the binary COPY, in the order of _COLUMNS.
_TYPES = (
    *("text", "int4", "int4", "text", "bytea", "jsonb", "jsonb", "text", "text", "text", "int4", "int4", "date"),
    *("int8", "int4", "int4", "jsonb"),
)


class StoredRow(NamedTuple):
    """One row of the file, in the order of the table's columns. Of a rejected row only its cells and issues are kept.

    Where several rows are one order, ``amount_jpy`` is what the row adds to it; each further row has the number of the
    first as ``order_row``, and the first the order's yen and its items.

    A plain tuple with plain values, ``state`` too: 10,000 frozen dataclasses and enum members took 20 ms longer.
    """

    import_row_number: int
    line_number: int
    state: str
    cells: bytes
    issues: list[dict[str, Any]] | None = None
    readings: list[dict[str, Any]] | None = None
    order_number: str | None = None
    item_code: str | None = None
    item_name: str | None = None
    quantity: int | None = None
    amount_jpy: int | None = None
    ordered_on: date | None = None
    likeness: int | None = None
    order_row: int | None = None
    order_jpy: int | None = None
    items: list[dict[str, Any]] | None = None


def store(tx: Connection, batch_id: str, rows: Iterable[StoredRow]) -> None:
    """COPY all rows of a file in one go."""
    driver = tx.connection.driver_connection
    assert driver is not None
    statement = f"copy import_rows ({', '.join(_COLUMNS)}) from stdin (format binary)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            copy.write_row((batch_id, *row))


def issue_counts(tx: Connection, batch_id: str) -> list[tuple[str, str, int]]:
    """How often each fault occurs: (column, code, rows), most frequent first."""
    query = text("""select i ->> 'column', i ->> 'code', count(*) from import_rows r, jsonb_array_elements(r.issues) i
                    where r.batch_id = :b and r.state = 'rejected' group by 1, 2 order by 3 desc, 1, 2""")
    return [(column, code, int(n)) for column, code, n in tx.execute(query, {"b": batch_id})]


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
