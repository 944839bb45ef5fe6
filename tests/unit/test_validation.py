"""The rules for rows: every fault of every row in one pass, and nothing good refused."""

import csv
import io
from pathlib import Path

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.validation import EarlierNumbers, Validation, validate
from checks.schemas import VALIDATED_ORDERS, validated_order_problems
from domain.columns import NAMES

GOOD = {"order_number": "A-1", "customer_name": "見本 カロミ", "email": "mihon@example.jp", "amount": "500"}


class Judge:
    """Writes rows into a real file and validates it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *rows: dict[str, str], taken: EarlierNumbers = frozenset()) -> Validation:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, NAMES, restval="")
        writer.writeheader()
        writer.writerows(rows)
        self.path.write_bytes(text.getvalue().encode())
        return validate(read_orders_file(self.path, ReadingLimits()), taken)

    def codes(self, **cells: str) -> list[str]:
        result = self(GOOD | cells)
        assert validated_order_problems(result.accepted) == []
        assert len(result.accepted) == (0 if result.issues else 1)
        return [issue.code for issue in result.issues]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    return Judge(tmp_path / "orders.csv")


@pytest.mark.parametrize("amount", ["100", "1000000", " 100", "100 ", "\u3000500\u3000", "100\n"])
def test_whole_yen_within_the_limits_are_accepted(judge: Judge, amount: str):
    assert judge.codes(amount=amount) == []


@pytest.mark.parametrize("amount", ["0", "99", "1000001", "9999999999999999999999"])
def test_amounts_beyond_the_limits_are_refused(judge: Judge, amount: str):
    assert judge.codes(amount=amount) == ["ORD-AMOUNT-RANGE"]


@pytest.mark.parametrize(
    "amount",
    [
        *("+100", "NaN", "Infinity", "0x64", "٣٠٠", "१००", "1_000", "1,00", "1000.5"),
        *("null", "0100", "1 000", "100\n0", "五百"),
    ],
)
def test_what_no_office_writes_for_a_number_is_no_amount(judge: Judge, amount: str):
    """int() would take several of these."""
    assert judge.codes(amount=amount) == ["ORD-AMOUNT-FORMAT"]


@pytest.mark.parametrize("amount", ["１００", "¥1,000", "1,000", "1,000円", "100.0", "￥１，０００－"])
def test_amounts_as_offices_write_them_are_read(judge: Judge, amount: str):
    assert judge.codes(amount=amount) == []


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("-100", "ORD-AMOUNT-NEGATIVE"),
        ("1.000", "ORD-AMOUNT-AMBIGUOUS"),
        ("1e3", "ORD-EXCEL-ROUNDED"),
        ("1E400", "ORD-EXCEL-ROUNDED"),
        ("#N/A", "ORD-EXCEL-ERROR-VALUE"),
    ],
)
def test_amounts_that_cannot_be_told_for_certain_are_refused_with_their_reason(judge: Judge, amount: str, code: str):
    """One cell, one reason: that it is no plain number either is not said too."""
    assert judge.codes(amount=amount) == [code]


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        ({"amount": "", "quantity": "3", "unit_price": "200"}, []),
        ({"amount": "600", "quantity": "3", "unit_price": "200"}, []),
        ({"amount": "601", "quantity": "3", "unit_price": "200"}, ["ORD-AMOUNT-MISMATCH"]),
        ({"amount": "600", "quantity": "3"}, []),
        ({"amount": ""}, ["ORD-AMOUNT-MISSING"]),
        ({"amount": "", "quantity": "3"}, ["ORD-AMOUNT-MISSING"]),
        ({"amount": "", "quantity": "x", "unit_price": "200"}, ["ORD-QUANTITY-FORMAT"]),
        ({"amount": "", "quantity": "1", "unit_price": "99"}, ["ORD-AMOUNT-RANGE"]),
        ({"amount": "", "quantity": "999999", "unit_price": "999999"}, ["ORD-AMOUNT-RANGE"]),
        (
            {"amount": "", "quantity": "9" * 25, "unit_price": "9" * 25},
            ["ORD-QUANTITY-RANGE", "ORD-PRICE-RANGE", "ORD-AMOUNT-RANGE"],
        ),
        ({"quantity": "0"}, ["ORD-QUANTITY-RANGE"]),
        ({"unit_price": "12.5"}, ["ORD-PRICE-FORMAT"]),
    ],
)
def test_the_amount_is_stated_or_calculated_and_both_must_agree(judge: Judge, cells: dict[str, str], codes: list[str]):
    assert judge.codes(**cells) == codes


@pytest.mark.parametrize(
    "email",
    [
        *(
            "a@b.jp",
            "taro.yamada+orders@sub.example.co.jp",
            "a..b.@docomo.ne.jp",
            ".dot@ezweb.ne.jp",
            "x/y?z@example.jp",
        ),
        *("A@EXAMPLE.JP", "a@xn--wgv71a.jp", "a@example.xn--q9jyb4c", f"{'l' * 64}@example.jp", " a@b.jp ", "a@b.jp\n"),
    ],
)
def test_addresses_that_mail_reaches_are_accepted(judge: Judge, email: str):
    """Japanese carriers issued addresses that the standard forbids; they work."""
    assert judge.codes(email=email) == []


@pytest.mark.parametrize(
    "email",
    [
        *(
            "a",
            "a@",
            "@b.jp",
            "a@localhost",
            "a@b@c.jp",
            "a b@c.jp",
            "a,b@c.jp",
            '"a b"@c.jp',
            "Taro <taro@example.jp>",
        ),
        *("a@b.jp\r\nBcc:x@y.jp", "a@b.jp;c@d.jp", "a@-b.jp", "a@b-.jp", "a@b..jp", "a@b.1", "a@еxample.jp"),
        *("a@b.jp\\nBcc:x@y.jp"),
        *("ａ@b.jp，c@d.jp", "mailto:a@b.jp", f"{'l' * 65}@example.jp", "a@[127.0.0.1]", "名前@example.jp"),
    ],
)
def test_what_could_go_elsewhere_or_nowhere_is_no_address(judge: Judge, email: str):
    assert judge.codes(email=email) == ["ORD-EMAIL-FORMAT"]


@pytest.mark.parametrize(
    ("day", "codes"),
    [
        ("", []),
        ("2024-02-29", []),
        ("2026-02-29", ["ORD-DATE-CALENDAR"]),
        ("0000-00-00", ["ORD-DATE-CALENDAR"]),
        ("2026-13-01", ["ORD-DATE-CALENDAR"]),
        ("1999-12-31", ["ORD-DATE-RANGE"]),
        ("0001-01-01", ["ORD-DATE-RANGE"]),
        ("2100-01-01", ["ORD-DATE-RANGE"]),
        ("10000-01-01", ["ORD-DATE-FORMAT"]),
        ("2026-01-01 24:00", ["ORD-DATE-CALENDAR"]),
        ("2026/2/29", ["ORD-DATE-CALENDAR"]),
        ("1999/12/31", ["ORD-DATE-RANGE"]),
        ("2026-1-1", []),
        ("2026/01/01", []),
        ("２０２６-01-01", []),
        ("令和8年1月1日", []),
        ("令和0年1月1日", ["ORD-DATE-ERA"]),
        ("04/05/2026", ["ORD-DATE-AMBIGUOUS"]),
        ("4/1", ["ORD-DATE-NO-YEAR"]),
        ("46113", ["ORD-EXCEL-SERIAL-DATE"]),
    ],
)
def test_dates_are_days_that_exist_however_they_are_written(judge: Judge, day: str, codes: list[str]):
    assert judge.codes(ordered_on=day) == codes


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        ({"order_number": " "}, ["ORD-NUMBER-MISSING"]),
        ({"order_number": "9" * 65}, ["ORD-CELL-TOO-LONG"]),
        ({"order_number": "A\nB"}, ["ORD-CELL-LINE-BREAK"]),
        ({"customer_name": "\u3000"}, ["ORD-NAME-MISSING"]),
        ({"customer_name": "a\tb"}, ["ORD-CELL-LINE-BREAK"]),
        ({"customer_name": "\u202eabc"}, ["ORD-CELL-CONTROL"]),
        ({"customer_name": "が" + "\u3099" * 300}, ["ORD-CELL-TOO-LONG"]),
        ({"customer_name": "\u3099\u3099"}, []),
        ({"phone": "内線 12 (yamada)", "postal_code": "SW1A 1AA"}, []),
        ({"customer_name": "👩\u200d👩\u200d👧 'DROP'"}, []),
        ({"email": ""}, ["ORD-EMAIL-MISSING"]),
        ({"email": f"{'l' * 60}@{'d' * 60}.{'e' * 60}.{'f' * 60}.co.example.jp"}, ["ORD-CELL-TOO-LONG"]),
        ({"currency": "jpy"}, []),
        ({"currency": "USD"}, ["ORD-CURRENCY-UNKNOWN"]),
        ({"address": "一行目\n二行目", "note": "a\r\nb"}, []),
        ({"note": "x" * 2001}, ["ORD-CELL-TOO-LONG"]),
    ],
)
def test_the_other_columns_have_their_rules(judge: Judge, cells: dict[str, str], codes: list[str]):
    assert judge.codes(**cells) == codes


def test_every_fault_of_a_row_is_found_in_one_pass(judge: Judge):
    row = {"order_number": "", "customer_name": "", "email": "x", "amount": "99", "currency": "USD", "ordered_on": "x"}
    result = judge(GOOD, row)

    assert [(i.import_row_number, i.line_number, i.column, i.code) for i in result.issues] == [
        (2, 3, "order_number", "ORD-NUMBER-MISSING"),
        (2, 3, "customer_name", "ORD-NAME-MISSING"),
        (2, 3, "email", "ORD-EMAIL-FORMAT"),
        (2, 3, "amount", "ORD-AMOUNT-RANGE"),
        (2, 3, "currency", "ORD-CURRENCY-UNKNOWN"),
        (2, 3, "ordered_on", "ORD-DATE-FORMAT"),
    ]
    assert result.rejected_rows == [2]


def test_the_first_of_equal_order_numbers_stands_even_when_it_has_faults_of_its_own(judge: Judge):
    """Whether row 3 is taken must not depend on what is wrong with row 1: it could be its correction or its twin."""
    rows = [GOOD | {"amount": "1"}, GOOD | {"order_number": "B"}, GOOD | {"order_number": " A-1 "}, GOOD]
    result = judge(*rows)

    assert [(i.import_row_number, i.code, i.facts) for i in result.issues] == [
        (1, "ORD-AMOUNT-RANGE", {}),
        (3, "ORD-NUMBER-DUPLICATE", {"first_line": 2}),
        (4, "ORD-NUMBER-DUPLICATE", {"first_line": 2}),
    ]


def test_numbers_of_earlier_batches_are_refused_and_asked_for_once(judge: Judge):
    asked: list[list[str]] = []

    def taken(numbers: list[str]) -> set[str]:
        asked.append(numbers)
        return {"B"}

    result = judge(GOOD, GOOD | {"order_number": "B"}, GOOD | {"order_number": ""}, GOOD, taken=taken)

    assert asked == [["A-1", "B"]]
    assert [(i.import_row_number, i.code) for i in result.issues] == [
        (2, "ORD-NUMBER-EARLIER"),
        (3, "ORD-NUMBER-MISSING"),
        (4, "ORD-NUMBER-DUPLICATE"),
    ]


def test_ragged_rows_say_nothing_about_their_cells_and_do_not_count_as_first(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_text("order_number,customer_name,email,amount\nA-1,x,1,000,a@b.jp\nA-1,x,a@b.jp,500\n", encoding="utf-8")
    result = validate(read_orders_file(path, ReadingLimits()))

    assert [(i.import_row_number, i.code) for i in result.issues] == [(1, "ORD-COLUMNS-COUNT")]
    assert result.accepted["import_row_number"].tolist() == [2]


def test_a_file_of_ragged_rows_only_has_no_accepted_rows(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_text("order_number,customer_name,email,amount\nA-1\nA-2\n", encoding="utf-8")
    result = validate(read_orders_file(path, ReadingLimits()))

    assert (result.rejected_rows, len(result.accepted), result.declared_amount_jpy) == ([1, 2], 0, 0)
    assert validated_order_problems(result.accepted) == []


def test_accepted_rows_are_typed_and_trimmed(judge: Judge):
    full = GOOD | {
        "order_number": " A-1 ",
        "amount": "",
        "quantity": "2",
        "unit_price": "250",
        "ordered_on": "2026-04-01",
    }
    orders = judge(full, GOOD | {"order_number": "B"}).accepted

    assert list(orders.columns) == list(VALIDATED_ORDERS.columns)
    assert orders.loc[0, ["order_number", "amount_jpy", "currency", "line_number"]].tolist() == ["A-1", 500, "JPY", 2]
    assert orders["ordered_on"].dt.strftime("%Y-%m-%d").tolist() == ["2026-04-01", orders["ordered_on"].iloc[1]] or (
        orders["ordered_on"].isna().tolist() == [False, True]
    )
    assert orders["quantity"].isna().tolist() == [False, True]
    assert orders["note"].tolist() == ["", ""]


def test_sums_are_told_for_what_was_declared_and_for_what_was_accepted(judge: Judge):
    result = judge(GOOD, GOOD | {"order_number": ""}, GOOD | {"order_number": "C", "amount": "x"})

    assert (result.rows, result.declared_amount_jpy, result.amount_jpy) == (3, 1000, 500)


def test_the_schema_of_accepted_rows_names_what_is_wrong_and_no_value(judge: Judge):
    orders = judge(GOOD, GOOD | {"order_number": "B"}).accepted
    orders.loc[0, "amount_jpy"] = 5
    orders.loc[1, "order_number"] = "A-1"
    orders.loc[1, "email"] = "secret"

    assert validated_order_problems(orders) == [
        "amount_jpy: ORD-AMOUNT-RANGE",
        "email: ORD-EMAIL-FORMAT",
        "order_number: ORD-NUMBER-DUPLICATE",
    ]
    assert validated_order_problems(orders.drop(columns="email")) != []
