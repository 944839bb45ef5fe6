"""Workbooks as offices send them: the right cells, and what was taken is stated."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest

from assets.validated_csv.reading.taken import Wishes
from tests.unit.workbooks import GOOD, HEADER, NS, RELATION, book, number, read, refusal, row, styles_of, written


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"  # whatever it is called


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
    says_so = rows.replace("<c ", '<c t="n" ')
    assert read(path, book(says_so, styles=styles_of(code))).rows[0][5] == shown


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


@pytest.mark.parametrize(
    "error", ["#SPILL!", "#CALC!", "#FIELD!", "#GETTING_DATA", "#BLOCKED!", "#PYTHON!", "#N/A", ""]
)
@pytest.mark.parametrize(
    "written", ['<c @ t="e" vm="1"><f t="array" ref="D2">X1#</f><v>{}</v></c>', "<c @ t='e'><v>{}</v></c>"]
)
def test_an_error_that_is_new_to_the_library_costs_its_row_alone(path: Path, error: str, written: str):
    """The library knows seven errors, and gives up the whole file at any other."""
    rows = row(1, *HEADER) + row(2, "A-1", "x", "y", written.format(error)) + row(3, *GOOD)
    table = read(path, book(rows))

    assert [(issue.line_number, issue.column, issue.code) for issue in table.issues] == [
        (2, "amount", "ORD-EXCEL-ERROR-VALUE")
    ]
    assert [cells[3] for cells in table.rows] == [error or "#ERROR!", "500"]


def test_an_error_on_another_sheet_harms_nobody(path: Path):
    parts = book(row(1, *HEADER) + row(2, *GOOD))
    sheet = book('<row r="1"><c r="A1" t="e"><v>#SPILL!</v></c></row>')["xl/worksheets/sheet1.xml"]
    parts["xl/workbook.xml"] = parts["xl/workbook.xml"].replace(
        "</sheets>", '<sheet name="集計" sheetId="2" r:id="r9"/></sheets>'
    )
    parts["xl/_rels/workbook.xml.rels"] = parts["xl/_rels/workbook.xml.rels"].replace(
        "</Relationships>",
        f'<Relationship Id="r9" Type="{RELATION}/worksheet" Target="worksheets/s2.xml"/></Relationships>',
    )
    table = read(path, {**parts, "xl/worksheets/s2.xml": sheet})

    assert (table.taken.sheet, table.row_count, table.issues) == ("注文", 1, [])


def test_the_strict_edition_of_the_format_is_understood_as_well(path: Path):
    """Its names are others; damage in it must be seen all the same."""
    parts = {
        name: content.replace(RELATION, "http://purl.oclc.org/ooxml/officeDocument/relationships").replace(
            NS, 'xmlns="http://purl.oclc.org/ooxml/spreadsheetml/main"'
        )
        for name, content in book(
            row(1, *HEADER) + row(2, "A-1", "x", "y", '<c @ t="e"><v>#N/A</v></c>', None, number(600001, 1)),
            styles=styles_of("000\\-0000"),
        ).items()
    }
    table = read(path, parts)

    assert [issue.code for issue in table.issues] == ["ORD-EXCEL-ERROR-VALUE"]
    assert table.rows[0][5] == "060-0001"


def test_a_sheet_that_is_only_protected_against_changes_is_read(path: Path):
    """Without its password nobody can change it; anyone can read it."""
    parts = book(row(1, *HEADER) + row(2, *GOOD))
    name = "xl/worksheets/sheet1.xml"
    parts[name] = parts[name].replace(
        "</sheetData>", '</sheetData><sheetProtection password="CC1A" sheet="1" objects="1" scenarios="1"/>'
    )

    assert read(path, parts).row_count == 1


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


def test_a_second_sheet_of_orders_is_a_question_though_it_has_a_column_less(path: Path):
    """One month has a memo, the other has none: its orders would never be made, and nobody would know."""
    less = [cells[: len(HEADER) - 1] for cells in ([*HEADER], [*GOOD])]
    prices: list[list[object]] = [["item_code", "item_name", "unit_price"], ["X-1", "pear", 500]]
    april, may, items = ("四月", [HEADER, GOOD], False), ("五月", less, False), ("商品", prices, False)

    assert refusal(path, written(april, may)).facts == {"sheets": "四月, 五月"}
    assert read(path, written(april, items)).taken.sheet == "四月"


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
