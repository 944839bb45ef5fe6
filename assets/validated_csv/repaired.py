"""A repair file that came back: recognised by its marks, read as the client's own columns, each row tied to its origin.

Marks are ours or they are not: a file without a single good one, with rows of several batches or of another client's is
refused; a row whose mark is missing or changed, that stands there twice, that was accepted or was repaired before, is
rejected with its code, and the others are taken. What nobody changed keeps the value it had, also where a spreadsheet
spoiled it by opening and saving.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from assets.validated_csv.order_file import mapped
from assets.validated_csv.reading.parts import cells_of_rows
from assets.validated_csv.repaired_lines import with_missing_lines
from assets.validated_csv.source_table import SourceTable, column_label
from domain import repair
from domain.cells import CellReader
from domain.client_profile import Lines
from domain.errors import FileRefused
from domain.formulas import restored
from domain.headers import HeaderMap
from domain.issues import RowIssue
from domain.repair import Mark
from resources.database import batches, erasures, orders, repairs
from resources.database.batches import Batch
from resources.database.repairs import Repair, Repairable
from resources.encryption import Vault

_TWICE_IN_FILE, _EARLIER = "ORD-NUMBER-DUPLICATE", "ORD-NUMBER-EARLIER"
_RAGGED = "ORD-COLUMNS-COUNT"


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """A repaired file. ``table`` has the client's own columns; its issues are also those of the marks.

    ``lines`` are the lines of the client's own file by those of this one; ``kept`` are the rows of which is said again
    that their order number stood twice.
    """

    table: SourceTable
    parent: Batch
    repairs: list[Repair]
    columns: tuple[int, ...]
    lines: Mapping[int, int]
    kept: frozenset[int]

    @property
    def record(self) -> dict[str, Any]:
        """For the record of how the file was read: whose repair it is, and where in it the client's columns are."""
        return {"repair": {"parent": self.parent.batch_id, "columns": list(self.columns)}}

    def as_before(self, issues: Sequence[RowIssue]) -> list[RowIssue]:
        """The issues in the words of the first file: its lines, and no second one for what it said already."""
        return [
            self._in_its_lines(issue)
            for issue in issues
            if issue.code != _EARLIER or issue.import_row_number not in self.kept
        ]

    def _in_its_lines(self, issue: RowIssue) -> RowIssue:
        if issue.code != _TWICE_IN_FILE or issue.import_row_number in self.kept:
            return issue
        first = issue.facts["first_line"]
        return replace(issue, facts={"first_line": self.lines.get(first, first)})


def is_repaired(header: Sequence[str]) -> bool:
    """Whether a file with this header may be a repair file that came back; `recognise` tells for certain."""
    return bool(repair.positions_of(header, repair.MARK))


def recognise(
    tx: Connection, vault: Vault, table: SourceTable, client: str, batch_id: str | None = None
) -> Repaired | None:
    """The repaired file in a whole table that `is_repaired`; None where only a column has that name.

    ``batch_id`` is the file's own, where it has one.

    Raises:
        FileRefused: FILE-REPAIR-*, or its columns are no longer those of orders.
    """
    layout = _layout(table.header)
    rows = table.rows
    marks = [layout.mark_of(row) for row in rows]
    if len(layout.added) == 1 and not any(marks):
        return None
    parent, marks = _parent(tx, vault, marks, client)
    known = repairs.by_number(tx, parent.batch_id, [mark.import_row_number for mark in marks if mark is not None])
    found = _Intake(tx, vault, table, layout, parent, batch_id).taken(rows, marks, known)
    if table.profile.lines is not Lines.MANY:
        return found
    origins = [mark.import_row_number if mark is not None else None for mark in marks]
    return replace(found, table=with_missing_lines(tx, vault, found.table, parent, origins))


# -- where things are -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """Positions in the header: ours, the mark among them, and the client's own. Nameless ones beyond it are notes."""

    header: tuple[str, ...]
    mark: int
    code: int | None
    added: frozenset[int]
    data: tuple[int, ...]

    def mark_of(self, row: Sequence[str]) -> Mark | None:
        if len(row) == len(self.header):
            return repair.read_mark(row[self.mark])
        found = [mark for cell in row if (mark := repair.read_mark(cell)) is not None]
        return found[0] if len(found) == 1 else None

    def cells_of(self, row: Sequence[str]) -> list[str]:
        """The client's own cells; of a row of another width those before our columns, as far as they can be told."""
        if len(row) == len(self.header):
            return [restored(row[at]) for at in self.data]
        at = next((at for at, cell in enumerate(row) if repair.read_mark(cell) is not None), len(row))
        return [restored(cell) for cell in row[: max(0, at - (self.mark - min(self.added)))]]

    def is_confirmed(self, row: Sequence[str]) -> bool:
        """Whether a person emptied the cell with the code: the row is right as it stands."""
        return self.code is not None and len(row) == len(self.header) and not row[self.code].strip()

    def ignored(self) -> frozenset[str]:
        """What the columns that are not looked at are called."""
        others = set(range(len(self.header))) - set(self.data)
        return frozenset(column_label(self.header, at) for at in others)


def _layout(header: tuple[str, ...]) -> _Layout:
    marks = repair.positions_of(header, repair.MARK)
    if len(marks) > 1:
        raise FileRefused("FILE-COLUMNS-DUPLICATE", positions=", ".join(str(at + 1) for at in marks))
    added = frozenset(at for at, cell in enumerate(header) if repair.is_added(cell))
    data = tuple(at for at, cell in enumerate(header) if at not in added and (at < marks[0] or cell.strip()))
    return _Layout(header, marks[0], next(iter(repair.positions_of(header, repair.CODE)), None), added, data)


def _parent(tx: Connection, vault: Vault, marks: Sequence[Mark | None], client: str) -> tuple[Batch, list[Mark | None]]:
    """The batch that the good marks are of, and these alone."""
    files = repairs.batches_by_digest(tx, {bytes.fromhex(mark.file) for mark in marks if mark is not None})
    of = [_sealed_for(mark, files, vault) for mark in marks]
    found = [batches.get(tx, batch_id) for batch_id in sorted({batch_id for batch_id in of if batch_id})]
    if not found:
        raise FileRefused("FILE-REPAIR-FOREIGN")
    if any(batch.client != client for batch in found):
        raise FileRefused("FILE-REPAIR-CLIENT")
    if len(found) > 1:
        raise FileRefused("FILE-REPAIR-SEVERAL", batches=len(found))
    return found[0], [mark if batch_id else None for mark, batch_id in zip(marks, of, strict=True)]


def _sealed_for(mark: Mark | None, files: Mapping[str, Sequence[str]], vault: Vault) -> str | None:
    if mark is None:
        return None
    return next((batch for batch in files.get(mark.file, ()) if mark.seals(batch, vault.tag)), None)


# -- the rows ---------------------------------------------------------------------------------------------------------


class _Intake:
    """Takes the rows of one repaired file."""

    def __init__(
        self, tx: Connection, vault: Vault, table: SourceTable, layout: _Layout, parent: Batch, batch_id: str | None
    ) -> None:
        self._tx, self._vault, self._table, self._layout, self._parent = tx, vault, table, layout, parent
        self._batch_id = batch_id
        self._erased = frozenset(erasures.rows_of_batch(tx, parent.batch_id))
        names = [restored(table.header[at]) for at in layout.data]
        before = list(parent.source_columns or ())
        # Behind the client's columns nameless ones for what was beyond the header of the file that came.
        beyond = 0
        while len(names) - beyond > len(before) and not names[-1 - beyond].strip():
            beyond += 1
        self._width = len(names) - beyond
        self._header = tuple(names[: self._width])
        self._before = [*before, *[""] * beyond]
        self._partners = repair.partners(self._before, names)
        self._header_map: HeaderMap = mapped(self._header, table.profile)
        self._labels = _labels(names, self._header_map)

    def taken(
        self, rows: Sequence[list[str]], marks: Sequence[Mark | None], known: Mapping[int, Repairable]
    ) -> Repaired:
        """The file with all its rows."""
        cells: list[list[str]] = []
        issues = self._seen_while_reading()
        found: list[Repair] = []
        origins: dict[int, Repairable] = {}
        lines_of: dict[int, int] = {}
        for at, (row, mark) in enumerate(zip(rows, marks, strict=True)):
            origin = known.get(mark.import_row_number) if mark is not None else None
            after, changed = self._compared(row, origin)
            cells.append(after)
            issues += self._issues(at, row, after, origin, changed, lines_of)
            if origin is not None and not origin.accepted and origin.import_row_number not in self._erased:
                found.append(_repair(at + 1, origin, changed))
                origins[at] = origin
        kept = self._twice_as_before(cells, found, origins)
        table = self._cleaned(cells, [*issues, *kept])
        own_lines = self._table.line_numbers
        lines = {own_lines[at]: origin.root_line for at, origin in origins.items()}
        columns = self._layout.data[: self._width]
        numbers = frozenset(issue.import_row_number for issue in kept)
        return Repaired(table, self._parent, found, columns, lines, numbers)

    def _seen_while_reading(self) -> list[RowIssue]:
        ignored = self._layout.ignored()
        return [issue for issue in self._table.issues if issue.column not in ignored or not issue.column]

    def _compared(self, row: Sequence[str], origin: Repairable | None) -> tuple[list[str], list[str]]:
        """The cells of a row, with its own value in each that nobody changed; and the names of the changed columns."""
        after = self._layout.cells_of(row)
        if origin is None or origin.import_row_number in self._erased:
            return self._fitted(after), []
        sealed = self._vault.open_cells(self._parent.batch_id, origin.import_row_number, origin.cells)
        before = repair.laid_out(sealed, len(self._before))
        faulty = {issue.column for issue in origin.issues}
        changed = [
            column_label(self._before, at)
            for at, cell in enumerate(before)
            if cell and at not in self._partners  # a column that was taken out
        ]
        for at, cell in enumerate(after[: len(self._partners)]):
            partner, label = self._partners[at], self._labels[at]
            was = before[partner] if partner is not None else ""
            if repair.same_cell(was, cell) or (label not in faulty and repair.spoiled(was, cell)):
                after[at] = was
            else:
                changed.append(label)
        return self._fitted(after), changed

    def _fitted(self, cells: list[str]) -> list[str]:
        """Without the empty cells beyond the header."""
        while len(cells) > self._width and not cells[-1]:
            cells.pop()
        return cells

    def _issues(
        self,
        at: int,
        row: Sequence[str],
        cells: Sequence[str],
        origin: Repairable | None,
        changed: Sequence[str],
        lines_of: dict[int, int],
    ) -> Iterator[RowIssue]:
        line = self._table.line_numbers[at]
        if len(cells) > self._width and len(row) == len(self._layout.header):
            yield RowIssue(at + 1, line, "", _RAGGED, {"expected": self._width, "found": len(cells)})
        if origin is None:
            yield RowIssue(at + 1, line, "", "ORD-REPAIR-MARK")
            return
        first = lines_of.setdefault(origin.import_row_number, line)
        if first != line:
            yield RowIssue(at + 1, line, "", "ORD-REPAIR-TWICE", {"first_line": first})
        elif origin.import_row_number in self._erased:
            yield RowIssue(at + 1, line, "", "ORD-REPAIR-ERASED")
        elif origin.accepted:
            yield RowIssue(at + 1, line, "", "ORD-REPAIR-ACCEPTED")
        elif origin.repaired_by not in (None, self._batch_id):
            yield RowIssue(at + 1, line, "", "ORD-REPAIR-DONE")
        else:
            confirmed = self._layout.is_confirmed(row)
            for fault in repair.carried(origin.issues, dict.fromkeys(changed), confirmed):
                yield replace(fault, import_row_number=at + 1, line_number=line)

    def _twice_as_before(
        self, cells: Sequence[Sequence[str]], found: Sequence[Repair], origins: Mapping[int, Repairable]
    ) -> list[RowIssue]:
        """Rows whose order number stood twice in the first file, is the same still, and became an order there."""
        reader = CellReader(self._header_map.columns, self._table.profile.value_rules)
        numbers: dict[int, tuple[str, RowIssue]] = {}
        for row in found:
            at = row.import_row_number - 1
            fault = next((fault for fault in origins[at].issues if fault.code == _TWICE_IN_FILE), None)
            if fault is not None and "order_number" not in row.changed and len(cells[at]) == self._width:
                numbers[at] = reader.value("order_number", cells[at]), fault
        if not numbers:
            return []
        taken = orders.taken_numbers(self._tx, self._parent.client, [number for number, _ in numbers.values()])
        lines = self._table.line_numbers
        return [
            replace(fault, import_row_number=at + 1, line_number=lines[at])
            for at, (number, fault) in numbers.items()
            if number in taken
        ]

    def _cleaned(self, cells: Sequence[Sequence[str]], issues: Sequence[RowIssue]) -> SourceTable:
        by_place = {(issue.import_row_number, issue.column, issue.code): issue for issue in issues}
        return replace(
            self._table,
            header=self._header,
            header_map=self._header_map,
            cells=cells_of_rows(cells, self._width),
            issues=sorted(by_place.values(), key=lambda issue: issue.import_row_number),
        )


def _labels(names: Sequence[str], header_map: HeaderMap) -> list[str]:
    """What each column is called in issues and changes: our own name where it is one of ours."""
    ours = {at: name for name, positions in header_map.columns.items() for at in positions}
    return [ours.get(at) or column_label(names, at) for at in range(len(names))]


def _repair(number: int, origin: Repairable, changed: Sequence[str]) -> Repair:
    return Repair(
        number, origin.import_row_number, origin.root_batch_id, origin.root_row_number, tuple(dict.fromkeys(changed))
    )
