"""From validated rows to stored rows: columns for the accepted ones; sealed cells, issues and readings for all.

Column by column as Arrow: row by row in Python, and each value written by itself, took 60 ms more per 10,000 rows.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

from assets.validated_csv.likeness import folded
from assets.validated_csv.orders_of_rows import orders_of_rows
from assets.validated_csv.reading.parts import Indexes
from assets.validated_csv.source_table import SourceTable
from assets.validated_csv.validation import Validation
from domain.issues import CellReading, RowIssue
from domain.states import RowState
from resources.database.row_storage import STORED_ROW
from resources.encryption import Vault

_KEYED_AT_ONCE = 1_000
_NOTHING_BETWEEN = arrow.scalar("", arrow.large_string())


@dataclass(frozen=True, slots=True)
class StoredRows:
    """The rows of a part in their order, as ``STORED_ROW``, some at a time: the server stores them meanwhile.

    None may be committed before ``keep_keys`` has put the keys of all of them on the disk.
    """

    parts: Iterator[arrow.RecordBatch]
    keep_keys: Callable[[], None]


def stored_rows(batch_id: str, client: str, table: SourceTable, validation: Validation, vault: Vault) -> StoredRows:
    """Every row of the file."""
    cells = table.cells.joined.cast(arrow.large_binary()).to_pylist()
    sealed = vault.sealed_rows(batch_id, table.rows_before + 1, cells, _people(table, validation))
    return StoredRows(_parts(client, table, validation, vault, sealed.rows), sealed.keep_keys)


def _parts(
    client: str, table: SourceTable, validation: Validation, vault: Vault, sealed: Iterator[bytes]
) -> Iterator[arrow.RecordBatch]:
    columns = {**_of_all(table, validation), **_of_accepted(client, table, validation)}
    for start in range(0, table.row_count, _KEYED_AT_ONCE):
        here = {name: column.slice(start, _KEYED_AT_ONCE) for name, column in columns.items()}
        here["likeness"] = _likenesses(here["likeness"], vault)
        here["cells"] = _typed("cells", list(islice(sealed, _KEYED_AT_ONCE)))
        yield arrow.record_batch([here[name] for name in STORED_ROW.names], schema=STORED_ROW)


def _likenesses(described: arrow.LargeBinaryArray, vault: Vault) -> arrow.Int64Array:
    found = _typed("likeness", vault.likenesses(described.drop_null().to_pylist()))
    return compute.replace_with_mask(arrow.nulls(len(described), found.type), described.is_valid(), found)


def _of_all(table: SourceTable, validation: Validation) -> dict[str, arrow.Array]:
    return {
        "import_row_number": arrow.array(np.arange(table.row_count, dtype=np.int32) + table.rows_before + 1),
        "line_number": arrow.array(table.line_numbers, arrow.int32()),
        "issues": _found(table, validation.issues),
        "readings": _found(table, validation.readings),
    }


def _found(table: SourceTable, found: Iterable[RowIssue | CellReading]) -> arrow.Array:
    """What was found in each row, as JSON; null where it is nothing."""
    by_row: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in found:
        by_row[one.import_row_number - table.rows_before - 1].append(one.to_json())
    texts: list[str | None] = [None] * table.row_count
    for row, here in by_row.items():
        texts[row] = json.dumps(here)
    return arrow.array(texts, arrow.large_string())


def _of_accepted(client: str, table: SourceTable, validation: Validation) -> dict[str, arrow.Array]:
    """Their values, each in the place of its row, null in that of a rejected one; of ``likeness``, what is alike."""
    accepted, orders = validation.accepted, orders_of_rows(validation, client)
    values = {
        "order_number": accepted["order_number"],
        "item_code": _or_null(accepted["item_code"]),
        "item_name": _or_null(accepted["item_name"]),
        "quantity": accepted["quantity"],
        "amount": accepted["amount_jpy"],
        "ordered_on": accepted["ordered_on"].to_numpy().astype("datetime64[D]"),  # NaT becomes null
    }
    typed = {name: _typed(name, column) for name, column in values.items()} | {
        "order_row": orders.first_rows,
        "order_amount": orders.amounts_jpy,
        "items": orders.items,
        "likeness": orders.described,
    }
    rows = accepted["import_row_number"].to_numpy() - table.rows_before - 1
    is_accepted = np.zeros(table.row_count, dtype=bool)
    is_accepted[rows] = True
    state = compute.if_else(is_accepted, *(arrow.scalar(of.value, STORED_ROW.field("state").type) for of in RowState))
    return {"state": state} | _placed(typed, rows, table.row_count)


def _typed(name: str, values: Any) -> arrow.Array:
    return arrow.array(values, STORED_ROW.field(name).type)


def _people(table: SourceTable, validation: Validation) -> list[bytes]:
    """Of every row the mail address, folded, as it was read where the row was accepted; empty where there is none."""
    columns = [table.cells.columns[at] for at in table.column_map.get("email", ())]
    if not columns:
        return []
    people = _folded(columns[0] if len(columns) == 1 else compute.binary_join_element_wise(*columns, _NOTHING_BETWEEN))
    if len(people) < table.row_count:  # of a row of another width no cell can be told for certain
        mails, people = people, [b""] * table.row_count
        for row, mail in zip(table.cells.whole_rows.tolist(), mails, strict=True):
            people[row] = mail
    if any(reading.column == "email" for reading in validation.readings):
        accepted = validation.accepted
        numbers = accepted["import_row_number"].tolist()
        for number, mail in zip(numbers, _folded(accepted["email"]), strict=True):
            people[number - table.rows_before - 1] = mail
    return people


def _folded(mails: pd.Series[str] | arrow.LargeStringArray) -> list[bytes]:
    octets: list[bytes] = folded(mails).cast(arrow.large_binary()).to_pylist()
    return octets


def _placed(columns: dict[str, arrow.Array], rows: Indexes, row_count: int) -> dict[str, arrow.Array]:
    if len(rows) == row_count:
        return columns
    places = np.full(row_count, -1)
    places[rows] = np.arange(len(rows))
    taken = arrow.array(places, mask=places < 0)
    return {name: column.take(taken) for name, column in columns.items()}


def _or_null(cells: pd.Series[str]) -> arrow.LargeStringArray:
    text = arrow.array(cells)
    return compute.if_else(compute.equal(text, ""), None, text)
