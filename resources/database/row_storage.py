"""Storing the rows of a file: every one of them, by whole columns.

Apart from those who read them: Arrow takes a quarter of a second to import, and `status` has no use for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as arrow
from pgpq import ArrowToPostgresBinaryEncoder
from pgpq.encoders import LargeStringEncoderBuilder
from pgpq.schema import Jsonb
from sqlalchemy import Connection

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


def store(tx: Connection, batch_id: str, rows: Iterable[arrow.RecordBatch], keep_keys: Callable[[], None]) -> None:
    """COPY rows of a file, ``STORED_ROW`` each, in one go, and keep their keys while the server comes to the end of it.

    By whole columns: row by row took 35 ms per 10,000.
    """
    driver = tx.connection.driver_connection
    assert driver is not None
    encoder = _encoder()
    statement = f"copy import_rows ({', '.join(_COPIED.names)}) from stdin (format binary)"
    with driver.cursor() as cursor, ThreadPoolExecutor(1) as beside:
        with cursor.copy(statement) as copy:
            copy.write(encoder.write_header())
            for part in rows:
                of_batch = arrow.repeat(arrow.scalar(batch_id, arrow.large_string()), len(part))
                copy.write(encoder.write_batch(arrow.record_batch([of_batch, *part.columns], schema=_COPIED)))
            copy.write(encoder.finish())
            kept = beside.submit(keep_keys)
        kept.result()


def _encoder() -> ArrowToPostgresBinaryEncoder:
    builders = {field.name: ArrowToPostgresBinaryEncoder.infer_encoder(field) for field in _COPIED}
    for name in _JSON:
        builders[name] = LargeStringEncoderBuilder.new_with_output(_COPIED.field(name), Jsonb())
    return ArrowToPostgresBinaryEncoder.new_with_encoders(_COPIED, builders)
