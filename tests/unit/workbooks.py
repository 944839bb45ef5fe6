"""Workbooks for tests: made cell by cell of XML, so that any oddity can be put in, or as a program writes them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.reading.taken import Wishes
from assets.validated_csv.source_table import SourceTable
from domain.errors import FileRefused

HEADER = ["order_number", "customer_name", "email", "amount", "ordered_on", "postal_code"]
GOOD: list[object] = ["A-1", "見本 カロミ", "mihon@example.jp", 500, "2026-04-01", "060-0001"]
NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


Book = bytes | Mapping[str, str | bytes]


def cell(reference: str, value: object) -> str:
    """A cell: XML as it is, with ``@`` for its reference; text; or a number."""
    if isinstance(value, str) and value.startswith("<"):
        return value.replace("@", f'r="{reference}"')
    if isinstance(value, str):
        return f'<c r="{reference}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{reference}"><v>{value}</v></c>'


def row(number: int, *values: object, attributes: str = "") -> str:
    """A row of a sheet; None leaves a cell out."""
    cells = (cell(f"{'ABCDEFGH'[at]}{number}", value) for at, value in enumerate(values) if value is not None)
    return f'<row r="{number}"{attributes}>{"".join(cells)}</row>'


def book(
    rows: str, *, shared: str = "", styles: str = "", merged: str = "", date_1904: bool = False, head: str = ""
) -> dict[str, str]:
    """The parts of a workbook with one sheet."""
    xml = '<?xml version="1.0" encoding="UTF-8"?>'
    names = ("worksheets/sheet1.xml", "styles.xml", "sharedStrings.xml")
    kinds = ("worksheet", "styles", "sharedStrings")
    links = "".join(
        f'<Relationship Id="r{at}" Type="{RELATION}/{kind}" Target="{name}"/>'
        for at, (kind, name) in enumerate(zip(kinds, names, strict=True))
    )
    return {
        "[Content_Types].xml": f'{xml}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'{xml}<Relationships xmlns="{PACKAGE}"><Relationship Id="r0" '
        f'Type="{RELATION}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{xml}<workbook {NS} xmlns:r="{RELATION}"><workbookPr date1904="{int(date_1904)}"/>'
        '<sheets><sheet name="注文" sheetId="1" r:id="r0"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'{xml}<Relationships xmlns="{PACKAGE}">{links}</Relationships>',
        "xl/worksheets/sheet1.xml": f"{xml}<worksheet {NS}>{head}<sheetData>{rows}</sheetData>{merged}</worksheet>",
        "xl/styles.xml": f"{xml}<styleSheet {NS}>{styles}</styleSheet>",
        "xl/sharedStrings.xml": f"{xml}<sst {NS}>{shared}</sst>",
    }


def packed(parts: Mapping[str, str | bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return archive.getvalue()


def styles_of(*formats: str | int) -> str:
    """Cell styles 1, 2, ... with these number formats."""
    own = "".join(
        f'<numFmt numFmtId="{164 + at}" formatCode="{code.replace(chr(34), "&quot;").replace("<", "&lt;")}"/>'
        for at, code in enumerate(formats)
        if isinstance(code, str)
    )
    ids = [code if isinstance(code, int) else 164 + at for at, code in enumerate(formats)]
    return (
        f'<numFmts>{own}</numFmts><cellXfs><xf numFmtId="0"/>'
        + "".join(f'<xf numFmtId="{number}"/>' for number in ids)
        + "</cellXfs>"
    )


def number(value: float, style: int) -> str:
    return f'<c @ s="{style}"><v>{value}</v></c>'


def read(path: Path, data: Book, wishes: Wishes | None = None, **limits: Any) -> SourceTable:
    path.write_bytes(data if isinstance(data, bytes) else packed(data))
    return read_orders_file(path, ReadingLimits(**limits), wishes or Wishes())


def refusal(path: Path, data: Book, wishes: Wishes | None = None, **limits: Any) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        read(path, data, wishes, **limits)
    return caught.value


def written(*sheets: tuple[str, list[list[object]], bool]) -> bytes:
    """A workbook as a program writes it: name, rows, hidden."""
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as workbook:
        workbook.add_worksheet("表紙").write_string(0, 0, "注文書")
        for name, rows, hidden in sheets:
            sheet = workbook.add_worksheet(name)
            for at, values in enumerate(rows):
                sheet.write_row(at, 0, values)
            if hidden:
                sheet.hide()
    return data.getvalue()
