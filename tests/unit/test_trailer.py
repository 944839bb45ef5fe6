"""The line of totals is no order and is believed only when the file agrees with it (issue 4.10)."""

from pathlib import Path

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.totals import check_totals
from assets.validated_csv.validation import Validation, validate
from domain.errors import FileRefused
from domain.trailer import CountOf, Totals

HEADER = "注文番号,氏名,メール,商品名,金額"
ROWS = ["1,見本,a@example.jp,ペン,500", '2,見本,b@example.jp,ペン,"1,000円"']


def judged(path: Path, *lines: str) -> tuple[Totals | None, Validation]:
    path.write_bytes("\r\n".join([HEADER, *lines, ""]).encode("cp932"))
    table = read_orders_file(path, ReadingLimits())
    validation = validate(table)
    check_totals(table, validation)
    return table.declared, validation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


@pytest.mark.parametrize(
    ("line", "totals"),
    [
        ("合計,,,,1500", Totals(None, 1500)),
        (",,,合計（税込）,￥1500", Totals(None, 1500)),
        (",２件,,合計,1500円", Totals(2, 1500)),
        ("TOTAL,2 rows,,,", Totals(2, None, CountOf.LINES)),
        ("合計,2 orders,,,", Totals(2, None, CountOf.ORDERS)),
    ],
)
def test_totals_that_agree_are_no_row(path: Path, line: str, totals: Totals):
    declared, validation = judged(path, *ROWS, line)

    assert declared == totals
    assert (validation.rows, len(validation.accepted), validation.issues) == (2, 2, [])


@pytest.mark.parametrize(
    ("line", "code", "facts"),
    [
        ("合計,,,,1501", "FILE-TOTAL-YEN", {"declared": "1,501", "found": "1,500"}),
        ("合計,3件,,,1500", "FILE-TOTAL-ROWS", {"declared": 3, "found": 2}),
    ],
)
def test_totals_that_differ_refuse_the_file(path: Path, line: str, code: str, facts: dict[str, object]):
    with pytest.raises(FileRefused) as refused:
        judged(path, *ROWS, line)

    assert (refused.value.code, refused.value.facts) == (code, facts)


def test_an_amount_that_cannot_be_read_costs_its_row_and_not_the_file(path: Path):
    """The sum differs for a reason that the row says itself."""
    declared, validation = judged(path, *ROWS, "3,見本,c@example.jp,ペン,約300", "合計,3件,,,1800")

    assert declared == Totals(3, 1800)
    assert [issue.code for issue in validation.issues] == ["ORD-AMOUNT-FORMAT"]


@pytest.mark.parametrize(
    "line",
    [
        "合計,見本,a@example.jp,ペン,500",  # an order with an odd number
        "合計,,,,",  # says nothing
        "合計,,,小計,500",
        ",,,,500",
    ],
)
def test_what_is_no_line_of_totals_is_a_row(path: Path, line: str):
    declared, validation = judged(path, *ROWS, line)

    assert declared is None
    assert validation.rows == 3


def test_only_the_last_line_is_one_and_totals_alone_are_no_orders(path: Path):
    declared, validation = judged(path, "合計,,,,500", *ROWS)
    assert declared is None
    assert validation.rejected_rows == [1]
    with pytest.raises(FileRefused, match="FILE-NO-ROWS"):
        judged(path, "合計,,,,500")
