"""What stands in a repair file: the rejected rows that may be mended, each followed by its faults and its mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from assets.batch_report.faults import ShownFault, fault_cells, shown_faults
from domain import repair
from domain.cells import CellReader, reader_of
from domain.formulas import harmless
from domain.issues import RowIssue
from resources.database import batches, repairs
from resources.database.batches import Batch
from resources.encryption import Vault


@dataclass(frozen=True, slots=True)
class RepairRow:
    """One row. ``line`` is where it begins in the file of its batch, ``shown_line`` in the client's own file.

    ``number`` is its import row number.
    """

    line: int
    shown_line: int
    cells: tuple[str, ...]
    issues: tuple[RowIssue, ...]
    mark: str
    number: int = 0


@dataclass(frozen=True)
class RepairSheet:
    """All of them, in their order."""

    batch: Batch
    rows: list[RepairRow]

    @property
    def header(self) -> tuple[str, ...]:
        """The client's own column names."""
        return self.batch.source_columns or ()

    @property
    def record(self) -> Mapping[str, Any]:
        """How the file was read; empty for a batch of before there were such records."""
        return self.batch.reading or {}

    @cached_property
    def reader(self) -> CellReader:
        """Where our columns are."""
        return reader_of(self.batch.reading, self.header)

    @cached_property
    def columns(self) -> int:
        """The client's own columns, with the nameless ones for cells beyond the header."""
        width = len(self.header)
        return width + max(0, repair.beyond([row.cells for row in self.rows], width))

    def client_header(self) -> list[str]:
        """The cells of the header, as they are written."""
        return [harmless(cell) for cell in repair.laid_out(self.header, self.columns)]

    def client_cells(self, row: RepairRow) -> list[str]:
        """The client's own cells of a row, as they are written."""
        return [harmless(cell) for cell in repair.laid_out(row.cells, self.columns)]

    def added_cells(self, row: RepairRow, languages: Sequence[str]) -> list[str]:
        """What stands at their right: as many as `repair.added_columns`."""
        faults = fault_cells(self.faults(row), languages)
        return [harmless(cell) for cell in (str(row.shown_line), *faults, row.mark)]

    def faults(self, row: RepairRow) -> list[ShownFault]:
        """What is wrong with a row."""
        return shown_faults(row.issues, self.header, self.reader)


def read_repair_sheet(tx: Connection, vault: Vault, batch_id: str) -> RepairSheet:
    """The rows of a batch that may be mended.

    Raises:
        NotFound: there is no such batch.
        KeyRefused: its rows cannot be opened.
    """
    batch = batches.get(tx, batch_id)
    rows = [
        RepairRow(
            row.line_number,
            row.root_line,
            tuple(vault.open_cells(batch_id, row.import_row_number, row.cells)),
            row.issues,
            str(repair.make_mark(batch_id, batch.file_sha256, row.import_row_number, vault.tag)),
            row.import_row_number,
        )
        for row in repairs.to_repair(tx, batch_id)
    ]
    return RepairSheet(batch, rows)
