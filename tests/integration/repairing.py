"""Repair files for tests: a batch with bad rows, its files as a person finds them, and what the person does to them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import python_calamine
import xlsxwriter

from assets.batch_report.work import write_repair_files, write_report
from assets.created_orders.work import create_orders
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from domain.repair import MARK, REPAIR
from resources.client_profiles import ClientProfiles
from tests.integration.batches import Installation

Table = list[list[str]]


def taken(installation: Installation, path: Path, client: str = "shop") -> str:
    """A file, validated and with its orders; the id of its batch."""
    batch_id = installation.admitted(path, client)
    profiles = ClientProfiles(installation.folder / "profiles")
    validate_batch(installation.database, installation.vault, installation.files, batch_id, ReadingLimits(), profiles)
    create_orders(installation.database, batch_id)
    return batch_id


def reported(installation: Installation, batch_id: str) -> Path:
    """The report folder of a batch, written."""
    folder = installation.files.report_dir(batch_id)
    write_report(installation.database, installation.vault, batch_id, folder)
    write_repair_files(installation.database, installation.vault, installation.files, batch_id, folder)
    return folder


def repair_text(installation: Installation, batch_id: str) -> Path:
    """The repair file of a batch as text."""
    folder = reported(installation, batch_id)
    return next(path for path in folder.glob(f"{REPAIR}.*") if path.suffix != ".xlsx")


def repair_workbook(installation: Installation, batch_id: str) -> Path:
    """The repair file of a batch as a workbook."""
    return reported(installation, batch_id) / f"{REPAIR}.xlsx"


def read_text(path: Path, encoding: str = "utf-8-sig", delimiter: str = ",") -> Table:
    """All records of a text file."""
    text = io.StringIO(path.read_bytes().decode(encoding), newline="")
    return list(csv.reader(text, delimiter=delimiter))


def write_text(path: Path, rows: Sequence[Sequence[str]], encoding: str = "utf-8-sig", delimiter: str = ",") -> Path:
    """As a spreadsheet saves it."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def read_workbook(path: Path) -> Table:
    """All rows of the first sheet."""
    sheet = python_calamine.load_workbook(str(path)).get_sheet_by_index(0)
    return [[str(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]


def write_workbook(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """As Excel saves what was text."""
    with xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet("orders")
        for at, row in enumerate(rows):
            for column, cell in enumerate(row):
                sheet.write_string(at, column, cell)
    return path


def mended(rows: Table, mends: Mapping[str, Mapping[str, str]]) -> Table:
    """The rows with some cells changed: by order number, then by column."""
    header = next(row for row in rows if MARK in row)
    changed = []
    for row in rows:
        cells = dict(mends.get(row[header.index("order_number")], {})) if row is not header else {}
        changed.append([cells.get(name, cell) for name, cell in zip(header, row, strict=True)])
    return changed


def issues(installation: Installation, batch_id: str) -> dict[int, list[tuple[str, str]]]:
    """Column and code of every fault, by row."""
    query = "select import_row_number, issues from import_rows where batch_id = %s and state = 'rejected'"
    found = installation.execute(query, batch_id)
    return {number: [(issue["column"], issue["code"]) for issue in several] for number, several in found}


def orders(installation: Installation, batch_id: str) -> list[tuple[Any, ...]]:
    """Number and amount of every order of a batch."""
    query = "select order_number, amount from orders where batch_id = %s order by import_row_number"
    return installation.execute(query, batch_id)


Change = Callable[[Table], Table]


def returned(installation: Installation, batch_id: str, change: Change, name: str = "mended.csv") -> Path:
    """The repair file of a batch as a person gives it back."""
    return write_text(installation.folder / name, change(read_text(repair_text(installation, batch_id))))
