"""Files as Japanese offices send them, through validation, orders, mail and report (issue 4.4 to 4.6)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from assets.batch_report.work import write_repair_files, write_report
from assets.created_orders.work import create_orders
from assets.notifications.mail import MailWriter
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import Validated, validate_batch
from domain.errors import FileRefused
from resources.client_profiles import ClientProfiles
from resources.database import batches
from resources.database.effects import OrderFacts
from tests.integration.batches import Installation

TITLE = ["4月 受注一覧表"]
HEADER = ["受注No.", "姓", "名", "メールアドレス", "商品名", "金額（円）", "受注日", "TEL", "郵便番号", "社内欄"]
ROWS = [
    [
        "Ａ－１",
        "髙橋",
        "カロミ",
        "karomi@example.jp",
        "ﾘﾝｺﾞ ｼﾞｭｰｽ",
        "\\1,000",
        "令和8年4月1日",
        "9012345678",
        "600001",
        "x",
    ],
    [
        "A-2",
        "見本",
        "花",
        "ｈａｎａ@example.jp",
        "ノート",
        "２，０００円",
        "2026/4/2",
        "03-0000-0000",
        "〒060-0001",
        "",
    ],
    ["A-3", "見本", "三", "san@example.jp", "ペン", "▲300", "04/05/2026", "", "", ""],
    ["2.01E+10", "見本", "四", "shi@example.jp", "ペン", "500", "2026-04-02", "", "", ""],
    ["2.01E+10", "見本", "五", "go@example.jp", "ペン", "#N/A", "2026-04-02", "", "", ""],
    ["A-6", "見本", "六", "roku@example.jp", "ペン", "600", "", "", "", ""],
]
ORDERS = [
    ("A-1", "リンゴ ジュース", 1000, "2026-04-01"),
    ("A-2", "ノート", 2000, "2026-04-02"),
    ("A-6", "ペン", 600, None),
]


def cp932(path: Path) -> Path:
    path = path.with_suffix(".csv")
    with path.open("w", encoding="cp932", newline="") as file:
        csv.writer(file).writerows([TITLE, [], HEADER, *ROWS])
    return path


def workbook(path: Path) -> Path:
    path = path.with_suffix(".xlsx")
    with xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        sheet = book.add_worksheet("受注")
        for at, row in enumerate([TITLE, [], HEADER, *ROWS]):
            for column, cell in enumerate(row):
                sheet.write_string(at, column, cell)
    return path


def validated(installation: Installation, path: Path, client: str = "shop") -> tuple[str, Validated]:
    batch_id = installation.admitted(path, client)
    profiles = ClientProfiles(installation.folder / "profiles")
    inputs = (installation.database, installation.vault, installation.files, batch_id, ReadingLimits(), profiles)
    return batch_id, validate_batch(*inputs)


def profile(installation: Installation, text: str, client: str = "shop") -> None:
    folder = installation.folder / "profiles"
    folder.mkdir(exist_ok=True)
    (folder / f"{client}.yaml").write_text(text, encoding="utf-8")


def orders(installation: Installation, batch_id: str) -> list[tuple[Any, ...]]:
    query = """select order_number, item_name, amount, ordered_on::text from orders where batch_id = %s
               order by import_row_number"""
    return installation.execute(query, batch_id)


def issues(installation: Installation, batch_id: str) -> dict[int, list[tuple[str, str]]]:
    query = "select import_row_number, issues from import_rows where batch_id = %s and state = 'rejected'"
    found = installation.execute(query, batch_id)
    return {number: [(issue["column"], issue["code"]) for issue in several] for number, several in found}


@pytest.mark.parametrize("write", [cp932, workbook])
def test_an_office_file_becomes_orders_and_what_is_damaged_is_said(
    installation: Installation, write: Callable[[Path], Path]
):
    """The same orders come from the text file and from the workbook."""
    batch_id, found = validated(installation, write(installation.folder / "orders"))
    create_orders(installation.database, batch_id)

    assert orders(installation, batch_id) == ORDERS
    assert issues(installation, batch_id) == {
        3: [("amount", "ORD-AMOUNT-NEGATIVE"), ("ordered_on", "ORD-DATE-AMBIGUOUS")],
        4: [("order_number", "ORD-EXCEL-ROUNDED")],
        5: [("order_number", "ORD-EXCEL-ROUNDED"), ("amount", "ORD-EXCEL-ERROR-VALUE")],
    }
    record = found.books.batch.reading
    assert record is not None
    assert record["columns"]["customer_name"] == {"at": [1, 2], "why": "parts"}
    assert record["columns"]["amount"] == {"at": [5], "why": "name"}
    assert ["amount", "thousands", 2] in record["cells"]
    assert "受注No." in found.reading()
    assert "髙橋" not in found.reading() + json.dumps(record, ensure_ascii=False)


def test_the_mail_goes_to_whom_the_row_was_read_as(installation: Installation):
    batch_id, found = validated(installation, cp932(installation.folder / "orders"))
    cells = dict(installation.execute("select import_row_number, cells from import_rows where batch_id = %s", batch_id))
    writer = MailWriter(found.books.batch, installation.vault)

    mails = [
        json.loads(
            writer(
                OrderFacts(
                    order_id=at,
                    import_row_number=at,
                    order_number="N",
                    item_name=None,
                    amount_jpy=1,
                    cells=bytes(cells[at]),
                )
            )
        )
        for at in (1, 2)
    ]

    assert [mail["to"] for mail in mails] == ["karomi@example.jp", "hana@example.jp"]
    assert "髙橋カロミ 様" in mails[0]["body"]


def test_people_see_what_was_read_original_and_rule(installation: Installation):
    batch_id, _ = validated(installation, cp932(installation.folder / "orders"))
    create_orders(installation.database, batch_id)
    report = write_report(installation.database, installation.vault, batch_id, installation.folder / "report")
    path = report.folder / "readings.csv"
    lines = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    seen = {(line["line"], line["column"]): (line["original"], line["read_as"], line["rule"]) for line in lines}

    assert path.stat().st_mode & 0o777 == 0o600
    assert seen["4", "金額（円）"] == ("\\1,000", "1000", "READ-CELL-CURRENCY; READ-CELL-THOUSANDS")
    assert seen["4", "受注日"] == ("令和8年4月1日", "2026-04-01", "READ-CELL-ERA")
    assert seen["4", "TEL"] == ("9012345678", "09012345678", "READ-CELL-LEADING-ZERO")
    assert seen["4", "郵便番号"] == ("600001", "060-0001", "READ-CELL-LEADING-ZERO")
    assert seen["5", "郵便番号"] == ("〒060-0001", "060-0001", "READ-CELL-MARK")
    assert not [line for line in lines if line["line"] in ("6", "9")]  # nothing of these was read otherwise
    assert sum(report.rows_per_file.values()) == len(ROWS)

    errors = csv.DictReader((report.folder / "errors.csv").read_text(encoding="utf-8-sig").splitlines())
    assert [error["column"] for error in errors] == ["金額（円）; 受注日", "受注No.", "受注No.; 金額（円）"]


def test_a_folder_has_the_lists_of_the_last_report_only(installation: Installation):
    folder = installation.folder / "report"
    batch_id, _ = validated(installation, cp932(installation.folder / "orders"))
    write_report(installation.database, installation.vault, batch_id, folder)
    write_repair_files(installation.database, installation.vault, installation.files, batch_id, folder)
    (folder / "repair.tsv").touch()
    assert {"readings.csv", "repair.csv", "repair.xlsx"} <= {path.name for path in folder.iterdir()}

    other = installation.ordered(2)
    write_report(installation.database, installation.vault, other, folder)
    write_repair_files(installation.database, installation.vault, installation.files, other, folder)

    names = {f"{name}.csv" for name in ("succeeded", "failed", "not_processed", "errors")}
    assert {path.name for path in folder.iterdir()} == names


def test_what_is_stored_about_readings_holds_no_value(installation: Installation):
    batch_id, _ = validated(installation, cp932(installation.folder / "orders"))
    stored = dict(
        installation.execute("select import_row_number, readings from import_rows where batch_id = %s", batch_id)
    )

    assert {"column": "ordered_on", "rules": ["era"]} in stored[1]
    assert stored[6] is None
    assert {value for several in stored.values() if several for entry in several for value in entry["rules"]} <= {
        *("width", "kana", "currency", "thousands", "era", "date_form", "leading_zero", "mark")
    }


def test_a_question_is_settled_by_the_profile_and_the_same_file_goes_on(installation: Installation):
    """Two columns may be the amount: refused with the candidates; after the profile says which, taken."""
    path = installation.write(
        [["1", "見本", "a@example.jp", "1.000", "9"]], header=["注文番号", "氏名", "メール", "金額", "合計"]
    )
    with pytest.raises(FileRefused) as refused:
        validated(installation, path)
    assert refused.value.code == "FILE-COLUMNS-AMBIGUOUS"
    assert refused.value.facts == {"column": "amount", "candidates": "4 (金額), 5 (合計)"}

    profile(installation, "columns: {amount: 金額}\nthousands: point\n")
    batch_id, found = validated(installation, path)
    create_orders(installation.database, batch_id)

    assert [order[2] for order in orders(installation, batch_id)] == [1000]
    with installation.database.begin() as tx:
        record = batches.get(tx, batch_id).reading
    assert record is not None
    assert record["profile"] == {"columns": {"amount": ["金額"]}, "thousands": "point"}
    assert record["profile_version"] in found.reading()


def test_a_wrong_profile_refuses_the_file_with_its_key_and_a_mended_one_takes_it(installation: Installation):
    profile(installation, "date_order: dmmy\n")
    path = installation.write(
        [["1", "見本", "a@example.jp", "500", "04/05/2026"]], header=["注文番号", "氏名", "メール", "金額", "注文日"]
    )
    with pytest.raises(FileRefused) as refused:
        validated(installation, path)
    assert (refused.value.code, refused.value.facts["key"]) == ("FILE-PROFILE-INVALID", "date_order")

    profile(installation, "date_order: dmy\n")
    batch_id, _ = validated(installation, path)
    create_orders(installation.database, batch_id)
    assert [order[3] for order in orders(installation, batch_id)] == ["2026-05-04"]


@pytest.mark.parametrize(
    ("rule", "amounts"), [("stated", [1500]), ("quantity_times_price", [1000, 400]), ("agree", [400])]
)
def test_the_amount_rule_of_the_profile_says_where_the_amount_comes_from(
    installation: Installation, rule: str, amounts: list[int]
):
    profile(installation, f"amount: {rule}\n")
    header = ["注文番号", "氏名", "メール", "数量", "単価", "合計"]
    rows = [["1", "見本", "a@example.jp", "2", "500", "1,500円"], ["2", "見本", "b@example.jp", "2", "200", ""]]
    batch_id, _ = validated(installation, installation.write(rows, header=header))
    create_orders(installation.database, batch_id)

    assert [order[2] for order in orders(installation, batch_id)] == amounts


def test_an_order_of_several_lines_with_amounts_of_their_own_is_never_charged_in_part(installation: Installation):
    header = ["伝票番号", "売上日", "得意先名", "メールアドレス", "商品名", "金額"]
    rows = [[number, "2026/4/1", "見本", "a@example.jp", "ペン", "500"] for number in ("1", "2", "1")]
    batch_id, _ = validated(installation, installation.write(rows, header=header))

    several = [("order_number", "ORD-LINES-SEVERAL")]
    assert issues(installation, batch_id) == {1: several, 3: several}


def test_a_line_of_totals_that_differs_refuses_the_file_before_any_row_is_stored(installation: Installation):
    header = ["注文番号", "氏名", "メール", "金額"]
    rows = [["1", "見本", "a@example.jp", "500"], ["合計", "", "", "600"]]
    with pytest.raises(FileRefused) as refused:
        validated(installation, installation.write(rows, header=header))
    assert refused.value.code == "FILE-TOTAL-YEN"
    assert installation.execute("select count(*) from import_rows") == [(0,)]

    batch_id, found = validated(installation, installation.write([rows[0], ["合計", "", "", "500"]], header=header))
    create_orders(installation.database, batch_id)
    assert found.books.batch.file_rows == 1
    assert "declared: 500 jpy" in found.reading()
