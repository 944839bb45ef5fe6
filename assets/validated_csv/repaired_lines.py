"""A repaired file whose orders have several lines: an order that comes back without one of them is not taken.

Of an order with one bad line all lines were rejected, and all of them are in the repair file. Whoever sends back the
mended one alone would have the order made, and paid, without the others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Connection

from assets.validated_csv.source_table import SourceTable
from domain.cells import CellReader, reader_of
from domain.issues import RowIssue
from resources.database import repairs
from resources.database.batches import Batch
from resources.encryption import Vault

_MISSING = "ORD-REPAIR-LINES"


def with_missing_lines(
    tx: Connection, vault: Vault, table: SourceTable, parent: Batch, returned: Collection[int]
) -> SourceTable:
    """``table`` with an issue for each row whose order has a line that did not come back.

    ``returned`` are the numbers of the rows of ``parent`` that did.
    """
    missing = _missing(tx, vault, parent, returned)
    if not missing:
        return table
    reader = CellReader(table.column_map, table.profile.value_rules)
    issues = [
        RowIssue(at + 1, table.line_numbers[at], "", _MISSING, {"line": missing[number]})
        for at, cells in enumerate(table.rows)
        if len(cells) == len(table.header) and (number := reader.value("order_number", cells)) in missing
    ]
    return replace(table, issues=sorted([*table.issues, *issues], key=lambda issue: issue.import_row_number))


def _missing(tx: Connection, vault: Vault, parent: Batch, returned: Collection[int]) -> dict[str, int]:
    """By order number the first line, in the client's own file, that is still to be repaired and did not come back."""
    left = [row for row in repairs.to_repair(tx, parent.batch_id) if row.import_row_number not in returned]
    header = parent.source_columns or ()
    reader = reader_of(parent.reading, header)
    lines: dict[str, int] = {}
    for row in left:
        cells = vault.open_cells(parent.batch_id, row.import_row_number, row.cells)
        if len(cells) == len(header) and (number := reader.value("order_number", cells)):
            lines.setdefault(number, row.root_line)
    return lines
