"""The rows of a file as they are kept: every one of them, accepted or rejected, its cells encrypted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as arrow
from pgpq import ArrowToPostgresBinaryEncoder
from pgpq.encoders import LargeStringEncoderBuilder
from pgpq.schema import Jsonb
from sqlalchemy import Connection, text

from domain.issues import CellReading, RowIssue
from domain.states import RowState

STORED_ROW = arrow.schema(
    {
        "import_row_number": arrow.int32(),
        "line_number": arrow.int32(),
        "state": arrow.large_string(),
        "cells": arrow.large_binary(),
        "issues": arrow.large_string(),
        "readings": arrow.large_string(),
        "order_number": arrow.large_string(),
        "item_code": arrow.large_string(),
        "item_name": arrow.large_string(),
        "quantity": arrow.int32(),
        "amount": arrow.int32(),
        "ordered_on": arrow.date32(),
        "likeness": arrow.int64(),
        "order_row": arrow.int32(),
        "order_amount": arrow.int32(),
        "items": arrow.large_string(),
    }
)
"""One row of the file: the table's columns, ``issues``, ``readings`` and ``items`` as JSON. Of a rejected row only its
cells, issues and readings are kept.

Where several rows are one order, ``amount`` is what the row adds to it; each further row has the number of the first as
``order_row``, and the first the order's yen and its items.
"""

_COPIED = STORED_ROW.insert(0, arrow.field("batch_id", arrow.large_string()))
_JSON = ("issues", "readings", "items")


def store(tx: Connection, batch_id: str, rows: Iterable[arrow.RecordBatch]) -> None:
    """COPY rows of a file, ``STORED_ROW`` each, in one go. By whole columns: row by row took 35 ms per 10,000."""
    driver = tx.connection.driver_connection
    assert driver is not None
    encoder = _encoder()
    statement = f"copy import_rows ({', '.join(_COPIED.names)}) from stdin (format binary)"
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(encoder.write_header())
        for part in rows:
            of_batch = arrow.repeat(arrow.scalar(batch_id, arrow.large_string()), len(part))
            copy.write(encoder.write_batch(arrow.record_batch([of_batch, *part.columns], schema=_COPIED)))
        copy.write(encoder.finish())


def _encoder() -> ArrowToPostgresBinaryEncoder:
    builders = {field.name: ArrowToPostgresBinaryEncoder.infer_encoder(field) for field in _COPIED}
    for name in _JSON:
        builders[name] = LargeStringEncoderBuilder.new_with_output(_COPIED.field(name), Jsonb())
    return ArrowToPostgresBinaryEncoder.new_with_encoders(_COPIED, builders)


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
