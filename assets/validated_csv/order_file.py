"""An order file as tables of raw cells whose columns are known: what ``reading`` gives, and what its header means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as arrow

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.reading.parts import BETWEEN_CELLS, CellFault, Cells, Part
from assets.validated_csv.reading.source import open_source
from assets.validated_csv.reading.taken import Wishes
from assets.validated_csv.source_table import SourceTable, column_label
from domain import columns
from domain.cells import CellReader
from domain.client_profile import NO_PROFILE, AmountRule, ClientProfile, Lines
from domain.errors import FileRefused
from domain.headers import HeaderMap, map_header, recognised
from domain.issues import RowIssue
from domain.trailer import totals_in


def read_orders_file(
    path: Path, limits: ReadingLimits, wishes: Wishes | None = None, profile: ClientProfile = NO_PROFILE
) -> SourceTable:
    """The whole file as one table. ``wishes`` are for this file alone and stand before those of the profile.

    Raises:
        FileRefused: with a FILE-* code; its facts are counts, line numbers and names of columns and sheets, never
            cells.
    """
    return together(list(read_order_tables(path, limits, wishes, profile)))


def read_order_tables(
    path: Path, limits: ReadingLimits, wishes: Wishes | None = None, profile: ClientProfile = NO_PROFILE
) -> Iterator[SourceTable]:
    """The file as tables that follow each other, each of some megabytes: for files of any length.

    The last one is without the line of totals, and alone has what that ``declared`` and the digest of the whole file.

    Raises:
        FileRefused: as `read_orders_file`, also after some tables were given.
    """
    with open_source(path, limits, recognised, wishes or wishes_of(profile)) as source:
        header_map = mapped(source.header, profile)
        held: SourceTable | None = None
        for part in source.parts:
            rows_before = held.rows_before + held.row_count if held is not None else 0
            if held is not None:
                yield held
            issues = list(_issues(part, source.header, header_map.columns, rows_before))
            place = (source.header, source.taken, header_map, profile)
            held = SourceTable(*place, part.cells, part.line_numbers, issues, b"", 0, rows_before)
        if held is not None:  # a file without rows was refused
            yield without_totals(replace(held, sha256=source.sha256, size_bytes=source.size_bytes))


def wishes_of(profile: ClientProfile) -> Wishes:
    """What a profile settles about reading."""
    return Wishes(profile.encoding, profile.delimiter, profile.sheet, profile.header_row)


# -- header -----------------------------------------------------------------------------------------------------------


def mapped(header: Sequence[str], profile: ClientProfile) -> HeaderMap:
    """Which columns are ours; twins among the others harm nobody.

    Raises:
        FileRefused: FILE-DELIMITER, FILE-COLUMNS-* or FILE-PROFILE-COLUMN.
    """
    if len(header) == 1 and re.search(r"[;\t|:]", header[0]):
        raise FileRefused("FILE-DELIMITER")
    found = map_header(header, profile.columns)
    if missing := _missing(set(found.columns), profile.amount_rule(found)):
        raise FileRefused("FILE-COLUMNS-MISSING", columns=", ".join(missing))
    if profile.lines is Lines.MANY:
        profile.amount_of_lines(found)  # asked here, before any row is read
    return found


def _missing(names: set[str], rule: AmountRule) -> list[str]:
    amount = {
        AmountRule.STATED: {"amount"},
        AmountRule.QUANTITY_TIMES_PRICE: {"quantity", "unit_price"},
        AmountRule.AGREE: set[str](),
    }[rule]
    missing = columns.missing_required(names)
    return [*missing, *(name for name in columns.NAMES if name in amount - names and name not in missing)]


# -- faults by the names of their columns -----------------------------------------------------------------------------

_OF_MAPPED_COLUMNS_ONLY = frozenset({"ORD-CELL-MERGED", "ORD-CELL-NO-RESULT", "ORD-EXCEL-ERROR-VALUE"})
"""Faults that do no harm where nobody reads the cell."""


def _issues(
    part: Part, header: Sequence[str], column_map: Mapping[str, tuple[int, ...]], rows_before: int
) -> Iterator[RowIssue]:
    names = {position: name for name, positions in column_map.items() for position in positions}

    def issue(fault: CellFault) -> RowIssue:
        name = "" if fault.position < 0 else names.get(fault.position) or column_label(header, fault.position)
        line = part.line_numbers[fault.row]
        return RowIssue(rows_before + fault.row + 1, line, name, fault.code, fault.facts)

    for fault in part.faults:
        if fault.position in names or fault.code not in _OF_MAPPED_COLUMNS_ONLY:
            yield issue(fault)


# -- one table --------------------------------------------------------------------------------------------------------


def together(tables: Sequence[SourceTable]) -> SourceTable:
    """Tables that follow each other, from the first of the file to its last, as one."""
    if len(tables) == 1:
        return tables[0]
    last = tables[-1]
    joined = arrow.concat_arrays([table.cells.joined for table in tables])
    columns = tuple(
        arrow.concat_arrays([table.cells.columns[at] for table in tables]) for at in range(len(last.header))
    )
    whole = np.concatenate([table.cells.whole_rows + table.rows_before for table in tables])
    lines = [line for table in tables for line in table.line_numbers]
    issues = [issue for table in tables for issue in table.issues]
    return replace(last, cells=Cells(joined, columns, whole), line_numbers=lines, issues=issues, rows_before=0)


def without_totals(table: SourceTable) -> SourceTable:
    """The last table of a file without its last row where that is the line of totals, and what it declares.

    Raises:
        FileRefused: nothing else is in the file.
    """
    last = table.row_count - 1
    cells = table.cells.joined[last].as_py().split(BETWEEN_CELLS)
    if len(cells) != len(table.header):
        return table
    declared = totals_in(cells, CellReader(table.column_map, table.profile.value_rules))
    if declared is None:
        return table
    if table.rows_before + last == 0:
        raise FileRefused("FILE-NO-ROWS")
    whole = len(table.cells.whole_rows) - 1
    rest = Cells(
        table.cells.joined.slice(0, last),
        tuple(column.slice(0, whole) for column in table.cells.columns),
        table.cells.whole_rows[:whole],
    )
    issues = [issue for issue in table.issues if issue.import_row_number <= table.rows_before + last]
    return replace(table, cells=rest, line_numbers=table.line_numbers[:last], issues=issues, declared=declared)
