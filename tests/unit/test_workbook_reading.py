"""Workbooks as offices send them, and as strangers would: the right cells, or a refusal that says what to do."""

from __future__ import annotations

import io
import struct
import subprocess
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import xlsxwriter

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.reading import workbook_child
from assets.validated_csv.reading.taken import Wishes
from assets.validated_csv.source_table import SourceTable
from domain.errors import FileRefused

HEADER = ["order_number", "customer_name", "email", "amount", "ordered_on", "postal_code"]
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"  # whatever it is called


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


GOOD: list[object] = ["A-1", "見本 カロミ", "mihon@example.jp", 500, "2026-04-01", "060-0001"]


# -- cells ------------------------------------------------------------------------------------------------------------


def test_cells_are_what_a_person_sees(path: Path):
    """Phonetic runs are no text; whole numbers have no point; days are days; text that looks like a number stays."""
    shared = (
        '<si><t>東京</t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh><phoneticPr fontId="1"/></si>'
        '<si><r><t>山</t></r><r><rPr/><t xml:space="preserve"> 田</t></r><rPh sb="0" eb="1"><t>ヤマ</t></rPh></si>'
    )
    spaced = '<c @ t="inlineStr"><is><t xml:space="preserve"> x </t></is></c>'
    styles = styles_of("yyyy/m/d", '[$-411]ggge"年"m"月"d"日"', 31)
    table = read(
        path,
        book(
            row(1, *HEADER)
            + row(2, '<c @ t="s"><v>0</v></c>', '<c @ t="s"><v>1</v></c>', "00123", 1000, number(46113, 1), 0.1)
            + row(3, 20100000000, '<c @ t="b"><v>1</v></c>', spaced, 0.30000000000000004, number(46113.5, 2), 1e20)
            + row(4, "A-3", '<c @ t="str"><f>A1</f><v>計算</v></c>', "y", 2.5, number(46113, 3), -7),
            shared=shared,
            styles=styles,
        ),
    )

    assert table.rows == [
        ["東京", "山 田", "00123", "1000", "2026-04-01", "0.1"],
        ["20100000000", "TRUE", " x ", "0.3", "2026-04-01 12:00:00", "1E+20"],
        ["A-3", "計算", "y", "2.5", "2026-04-01", "-7"],
    ]
    assert table.issues == []


def test_days_count_from_1904_where_the_workbook_says_so(path: Path):
    rows = row(1, *HEADER) + row(2, "A-1", "x", "y", 500, number(44651, 1))

    assert read(path, book(rows, styles=styles_of(14), date_1904=True)).rows[0][4] == "2026-04-01"


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        ("000\\-0000", 600001, "060-0001"),
        ('000"-"0000', 1234567, "123-4567"),
        ("00000000000", 9012345678, "09012345678"),
        ("[<=999]000;[<=9999]000\\-00;000\\-0000", 1, "001"),
        ("[<=999]000;[<=9999]000\\-00;000\\-0000", 600001, "060-0001"),
        ("[<=99999999]####\\-####;\\(00\\)\\ ####\\-####", 312345678, "(03) 1234-5678"),
        ("[<=99999999]####\\-####;\\(00\\)\\ ####\\-####", 12345678, "1234-5678"),
        ("#,##0", 1000, "1000"),
        ('0"個"', 5, "5"),
        ('"¥"#,##0', 1000, "1000"),
        ("0", 5, "5"),
    ],
)
def test_zeros_that_only_the_format_shows_are_not_lost(path: Path, code: str, value: int, shown: str):
    """What the person sees in the cell is 060-0001, what is stored is 600001."""
    rows = row(1, *HEADER) + row(2, "A-1", "x", "y", 500, None, number(value, 1))

    assert read(path, book(rows, styles=styles_of(code))).rows[0][5] == shown


def test_what_the_library_passes_over_is_a_fault_of_its_row(path: Path):
    """It gives an error, a formula without a result and a covered cell as empty: the amount would be calculated."""
    table = read(
        path,
        book(
            row(1, "注文一覧")
            + row(2, *HEADER, "shelf")
            + row(3, "A-1", "x", "y", '<c @ t="e"><f>B1</f><v>#N/A</v></c>')
            + row(4, "A-2", "x", "y", "<c @><f>1+1</f></c>", "<c @><f>1+1</f><v></v></c>")
            + row(5, "A-3", "x", "y", 500, '<c @ t="str"><f>""</f><v></v></c>', None, '<c @ t="e"><v>#N/A</v></c>')
            + row(6, "A-4", None, "y", 500),
            merged='<mergeCells><mergeCell ref="A1:C1"/><mergeCell ref="B5:B6"/></mergeCells>',
        ),
    )

    assert [(issue.line_number, issue.column, issue.code) for issue in table.issues] == [
        (3, "amount", "ORD-EXCEL-ERROR-VALUE"),
        (4, "amount", "ORD-CELL-NO-RESULT"),
        (4, "ordered_on", "ORD-CELL-NO-RESULT"),
        (6, "customer_name", "ORD-CELL-MERGED"),
    ]
    assert table.rows[0][3] == "#N/A"


def test_rows_and_columns_without_content_are_none(path: Path):
    """Formatted but empty cells far away, rows of blanks, a sheet that begins further down and to the right."""
    styled = '<c r="{}" s="1"/>'
    table = read(
        path,
        book(
            row(3, None, *HEADER[:4])
            + row(5, None, "A-1", "x", "y", 500)
            + row(6, None, " ")
            + f'<row r="900">{styled.format("B900")}{styled.format("XFD900")}</row>',
            styles=styles_of("0"),
            head='<dimension ref="A1:XFD1048576"/>',
        ),
    )

    assert (table.header, table.header_line) == (("", *HEADER[:4]), 3)
    assert (table.rows, table.line_numbers) == ([["", "A-1", "x", "y", "500"]], [5])


def test_unseen_characters_and_long_cells_cost_their_row(path: Path):
    rows = row(1, *HEADER) + row(2, "A-1", "x\u200by", "y", 500) + row(3, "A-2", "z" * 50, "y", 500) + row(4, *GOOD)
    table = read(path, book(rows), max_cell_characters=40)

    assert [(i.import_row_number, i.column, i.code) for i in table.issues] == [
        (1, "customer_name", "ORD-CELL-CONTROL"),
        (2, "customer_name", "ORD-CELL-TOO-LONG"),
    ]


def test_thousands_of_rows_come_in_order(path: Path):
    rows: list[list[object]] = [HEADER, *([f"A-{n}", "見本", "a@example.jp", n, "", ""] for n in range(12_000))]
    table = read(path, written(("注文", rows, False)), max_rows=20_000)

    assert [int(cells[3]) for cells in table.rows] == list(range(12_000))
    assert table.line_numbers == list(range(2, 12_002))


def test_an_old_workbook_is_read_too(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import xlwt
    old = xlwt.Workbook()
    sheet = old.add_sheet("注文")
    for at, values in enumerate([HEADER, [*GOOD[:3], 500, "2026-04-01", "060-0001"]]):
        for column, value in enumerate(values):
            sheet.write(at, column, value)
    data = io.BytesIO()
    old.save(data)
    table = read(path, data.getvalue())

    assert (table.taken.kind, table.taken.sheet) == ("xls", "注文")
    assert table.rows == [["A-1", "見本 カロミ", "mihon@example.jp", "500", "2026-04-01", "060-0001"]]


# -- which sheet, which row -------------------------------------------------------------------------------------------


def test_the_sheet_and_the_row_that_were_taken_are_stated(path: Path):
    rows: list[list[object]] = [["注文一覧"], [], HEADER, GOOD]
    table = read(path, written(("注文", rows, False), ("控え", rows, True)))

    assert (table.taken.sheet, table.taken.sheet_reason, table.header_line) == ("注文", "READ-SHEET-BEST", 3)
    assert dict(table.taken.notes) == {"hidden_sheets": 1}
    assert table.line_numbers == [4]


def test_hidden_rows_are_taken_and_counted(path: Path):
    table = read(path, book(row(1, *HEADER) + row(2, *GOOD, attributes=' hidden="1"') + row(3, *GOOD)))

    assert (table.row_count, dict(table.taken.notes)) == (2, {"hidden_rows": 1})


def test_two_sheets_of_orders_are_a_question_that_a_person_can_answer(path: Path):
    rows: list[list[object]] = [HEADER, GOOD]
    data = written(("四月", rows, False), ("五月", rows, False))
    error = refusal(path, data)

    assert (error.code, error.facts) == ("FILE-SHEET-UNSURE", {"sheets": "四月, 五月"})
    assert read(path, data, Wishes(sheet="五月")).taken.sheet == "五月"
    assert refusal(path, data, Wishes(sheet="六月")).code == "FILE-SHEET-NOT-FOUND"


def test_the_row_of_the_header_can_be_set(path: Path):
    data = written(("注文", [HEADER, HEADER, GOOD], False))

    assert read(path, data).header_line == 1
    assert read(path, data, Wishes(sheet="注文", header_row=2)).line_numbers == [3]
    assert refusal(path, data, Wishes(sheet="注文", header_row=9)).code == "FILE-HEADER-NOT-FOUND"


@pytest.mark.parametrize(
    ("rows", "code"),
    [("", "FILE-EMPTY"), (row(1, *HEADER), "FILE-NO-ROWS"), (row(1, "a") + row(2, "b"), "FILE-COLUMNS-MISSING")],
)
def test_a_workbook_without_orders_is_refused(path: Path, rows: str, code: str):
    assert refusal(path, book(rows)).code == code


# -- hostile ----------------------------------------------------------------------------------------------------------


def bomb(path: Path) -> bytes:
    return packed({**book(row(1, *HEADER) + row(2, *GOOD)), "xl/media/x.bin": b"\0" * 60_000_000})


def hollow_sheet(path: Path) -> bytes:
    """Two cells, between them seventeen thousand million."""
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    return packed(book(row(1, *HEADER) + row(2, *GOOD) + far))


def many_entries(path: Path) -> bytes:
    return packed({**book(row(1, *HEADER)), **{f"x/{n}": "" for n in range(1_100)}})


def lying_size(path: Path) -> bytes:
    """A sheet that says it unpacks to less than it does."""
    data = packed(book(row(1, *HEADER) + row(2, *GOOD)))
    size = struct.pack("<I", len(book(row(1, *HEADER) + row(2, *GOOD))["xl/worksheets/sheet1.xml"].encode()))
    assert size in data
    return data.replace(size, struct.pack("<I", 10))


def overlapping(path: Path) -> bytes:
    """Two entries of the directory that share the same octets."""
    data = bytearray(packed({"a.xml": "a" * 1_000, "b.xml": "b" * 1_000}))
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, second + 42, 0)
    return bytes(data)


def twins(path: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive = io.BytesIO(packed(book(row(1, *HEADER) + row(2, *GOOD))))
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr("XL/worksheets/sheet1.xml", "other")
    return archive.getvalue()


def entities(path: Path) -> bytes:
    """A thousand million laughs."""
    parts = book(row(1, *HEADER) + row(2, *GOOD))
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    parts["xl/sharedStrings.xml"] = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><sst {NS}><si><t>&l8;</t></si></sst>'
    return packed(parts)


def outside_entity(path: Path) -> bytes:
    parts = book(row(1, *HEADER) + row(2, *GOOD))
    parts["xl/sharedStrings.xml"] = (
        f'<!DOCTYPE x [<!ENTITY f SYSTEM "file://{path}">]><sst {NS}><si><t>&f;</t></si></sst>'
    )
    return packed(parts)


def with_password(path: Path) -> bytes:
    data = bytearray(packed({"xl/workbook.xml": "x"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (bomb, "FILE-WORKBOOK-TOO-LARGE"),
        (hollow_sheet, "FILE-WORKBOOK-TOO-LARGE"),
        (many_entries, "FILE-WORKBOOK-TOO-LARGE"),
        (lying_size, "FILE-WORKBOOK-BROKEN"),
        (overlapping, "FILE-WORKBOOK-UNSAFE"),
        (twins, "FILE-WORKBOOK-UNSAFE"),
        (entities, "FILE-WORKBOOK-UNSAFE"),
        (outside_entity, "FILE-WORKBOOK-UNSAFE"),
        (with_password, "FILE-WORKBOOK-PROTECTED"),
        (lambda path: b"PK\x03\x04 and no archive", "FILE-WORKBOOK-BROKEN"),
        (lambda path: packed(book(row(1, *HEADER)))[:-30], "FILE-WORKBOOK-BROKEN"),
        (lambda path: packed({"readme.txt": "no workbook"}), "FILE-WORKBOOK-BROKEN"),
        (lambda path: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2_000, "FILE-WORKBOOK-BROKEN"),
        (lambda path: packed(book(row(1, '<c @ t="s"><v>9</v></c>'))), "FILE-WORKBOOK-BROKEN"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_hostile_or_broken_workbook_costs_its_own_import_and_little_of_that(
    path: Path, make: Callable[[Path], bytes], code: str
):
    """Nor does anything of it appear anywhere, or a process stay behind."""
    before = psutil.Process().memory_info().rss
    children = psutil.Process().children()
    error = refusal(path, make(path))

    assert (error.code, error.facts) == (code, {})
    assert psutil.Process().memory_info().rss - before < 200_000_000
    assert set(psutil.Process().children()) <= set(children)


def test_what_an_archive_holds_beside_the_workbook_goes_nowhere(path: Path):
    """Names that lead out of a folder are never unpacked: nothing is, to any file."""
    parts = {**book(row(1, *HEADER) + row(2, *GOOD)), "../../outside.txt": "x", "/tmp/outside.txt": "x"}

    assert read(path, parts).row_count == 1
    assert [p.name for p in path.parent.iterdir()] == ["orders.csv"]


def test_reading_ends_when_its_time_is_over(path: Path):
    started = time.monotonic()
    error = refusal(path, hollow_sheet(path), max_seconds=0.05, max_workbook_memory_bytes=1 << 40)

    assert error.code == "FILE-TIME-LIMIT"
    assert time.monotonic() - started < 10


def test_each_limit_counts(path: Path):
    data = packed(book(row(1, *HEADER) + row(2, *GOOD) * 3))

    assert refusal(path, data, max_workbook_entries=5).code == "FILE-WORKBOOK-TOO-LARGE"
    assert refusal(path, data, max_workbook_unpacked_bytes=1_000).code == "FILE-WORKBOOK-TOO-LARGE"
    assert refusal(path, data, max_columns=3).code == "FILE-TOO-MANY-COLUMNS"
    assert refusal(path, data, max_bytes=100).code == "FILE-TOO-LARGE"
    assert refusal(path, written(("s", [HEADER, GOOD, GOOD], False)), max_rows=1).facts == {"rows": 2, "limit": 1}


def test_the_process_that_reads_knows_nothing_of_ours(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither our keys in the environment, nor our open files."""
    seen: list[dict[str, Any]] = []
    popen = subprocess.Popen

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(options)
        return popen(*arguments, **options)

    monkeypatch.setenv("BULK_ORDERS_ENCRYPTION_KEY", "secret")
    monkeypatch.setattr(subprocess, "Popen", watched)
    assert read(path, book(row(1, *HEADER) + row(2, *GOOD))).row_count == 1

    (options,) = seen
    assert options["env"] == {}
    assert options.get("close_fds", True)
    assert len(options["pass_fds"]) == 1


def test_inflating_stops_where_the_directory_says(path: Path):
    """Counted while it is unpacked, not after."""
    data = packed({"a.xml": "a" * 5_000_000})
    entry = zipfile.ZipFile(io.BytesIO(data)).infolist()[0]
    entry.file_size = 2_000_000
    chunks = workbook_child._inflate(data, entry)

    assert len(next(chunks)) == 1 << 20
    with pytest.raises(workbook_child.Refused):
        next(chunks)
