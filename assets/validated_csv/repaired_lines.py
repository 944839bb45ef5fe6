"""A repaired file whose orders have several lines: an order that comes back without one of them is not taken.

Of an order with one bad line all lines were rejected, and all of them are in the repair file. Whoever sends back the
mended one alone would have the order made, and paid, without the others. So would who gives another number to one of
two lines whose number was taken. What belongs together is told by the file that came first: there it had one number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from assets.validated_csv.source_table import SourceTable
from domain.cells import CellReader, reader_of
from domain.issues import RowIssue
from resources.database import repairs
from resources.database.batches import Batch
from resources.database.repairs import Repairable
from resources.encryption import Vault

_MISSING, _PARTED = "ORD-REPAIR-LINES", "ORD-REPAIR-NUMBERS"
_NUMBER_WAS_TAKEN = "ORD-NUMBER-EARLIER"

_Left = Mapping[str, Sequence[Repairable]]
"""What is still to be repaired of the parent, by the order number that it had there."""


def with_missing_lines(
    tx: Connection, vault: Vault, table: SourceTable, parent: Batch, origins: Sequence[int | None]
) -> SourceTable:
    """``table`` with an issue for each row whose order did not come back as one, with all its lines.

    ``origins`` are, row by row of ``table``, the numbers of the rows of ``parent`` that they repair.
    """
    left = _left(tx, vault, parent)
    before = {row.import_row_number: number for number, rows in left.items() for row in rows}
    reader = CellReader(table.column_map, table.profile.value_rules)
    numbers = [_number(reader, cells, len(table.header)) for cells in table.rows]
    were = [before.get(origin, "") if origin is not None else "" for origin in origins]
    missing = _missing(left, origins)
    parted = _parted(left, were, numbers)
    issues = list(_issues(table, were, numbers, missing, parted))
    return replace(table, issues=sorted([*table.issues, *issues], key=lambda issue: issue.import_row_number))


def _issues(
    table: SourceTable, were: Sequence[str], numbers: Sequence[str], missing: Mapping[str, int], parted: set[str]
) -> Iterator[RowIssue]:
    for at, (was, number) in enumerate(zip(were, numbers, strict=True)):
        line = missing.get(was) or missing.get(number)
        if line is not None:
            yield RowIssue(at + 1, table.line_numbers[at], "", _MISSING, {"line": line})
        elif was in parted:
            yield RowIssue(at + 1, table.line_numbers[at], "", _PARTED)


def _left(tx: Connection, vault: Vault, parent: Batch) -> _Left:
    header = parent.source_columns or ()
    reader = reader_of(parent.reading, header)
    left: defaultdict[str, list[Repairable]] = defaultdict(list)
    for row in repairs.to_repair(tx, parent.batch_id):
        cells = vault.open_cells(parent.batch_id, row.import_row_number, row.cells)
        if number := _number(reader, cells, len(header)):
            left[number].append(row)
    return left


def _number(reader: CellReader, cells: Sequence[str], width: int) -> str:
    """The order number of a row; of one of another width only what stands in its first cell is certain."""
    at = reader.positions.get("order_number", ())
    if len(cells) != width and (at != (0,) or sum(bool(cell.strip()) for cell in cells) < 2):
        return ""
    return reader.value("order_number", cells)


def _missing(left: _Left, origins: Sequence[int | None]) -> dict[str, int]:
    """By order number the first line, in the client's own file, that did not come back."""
    returned = set(origins)
    found: dict[str, int] = {}
    for number, rows in left.items():
        for row in rows:
            if row.import_row_number not in returned:
                found.setdefault(number, row.root_line)
    return found


def _parted(left: _Left, were: Sequence[str], numbers: Sequence[str]) -> set[str]:
    """The numbers that were taken by another order, and in whose place some lines have one and some another now."""
    now: defaultdict[str, set[str]] = defaultdict(set)
    for was, number in zip(were, numbers, strict=True):
        now[was].add(number)
    return {
        number
        for number, rows in left.items()
        if len(now[number]) > 1 and any(issue.code == _NUMBER_WAS_TAKEN for row in rows for issue in row.issues)
    }
