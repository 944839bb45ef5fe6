"""Lines that are one order are judged together: none is taken without the others, and each says why (issue 4.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.validation import Validation, validate
from checks.schemas import validated_order_problems
from domain.client_profile import parse_profile

HEADER = "order_number,customer_name,email,item_name,quantity,unit_price,amount,ordered_on"
BY_LINE = {"lines": "many", "amount_is": "line_total"}
TOTAL = {"lines": "many", "amount_is": "order_total"}
B = "B,花子,b@example.jp,みかん,1,500,500,"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def judged(path: Path, profile: dict[str, Any], *lines: str, header: str = HEADER) -> Validation:
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    found = validate(read_orders_file(path, ReadingLimits(), profile=parse_profile("shop", profile)))
    assert validated_order_problems(found.accepted_orders) == []
    return found


def codes(found: Validation) -> dict[int, list[tuple[str, dict[str, int]]]]:
    told: dict[int, list[tuple[str, dict[str, int]]]] = {}
    for issue in found.issues:
        told.setdefault(issue.line_number, []).append((issue.code, dict(issue.facts)))
    return told


def orders(found: Validation) -> list[tuple[str, int]]:
    frame = found.accepted_orders
    return list(zip(frame["order_number"].tolist(), frame["amount_jpy"].tolist(), strict=True))


def test_amounts_of_lines_add_up_wherever_the_lines_stand(path: Path):
    """A line may add less than the smallest payment, or nothing; what it repeats may be written another way."""
    found = judged(
        path,
        BY_LINE,
        "A,山田 太郎,a@example.jp,りんご,1,50,50,2026-04-01",
        B,
        "A,山田　太郎,A@example.jp,みかん,2,100,,",
        "A,,,おまけ,1,0,0,2026/04/01",
    )

    assert found.issues == []
    assert orders(found) == [("A", 250), ("B", 500)]
    assert found.accepted["amount_jpy"].tolist() == [50, 500, 200, 0]
    assert found.order_rows == {3: 1, 4: 1}
    assert (found.rows, found.orders, found.declared_amount_jpy, found.amount_jpy) == (4, 2, 750, 750)


def test_a_total_of_the_order_is_taken_once(path: Path):
    found = judged(
        path,
        TOTAL,
        "A,太郎,a@example.jp,りんご,1,50,1000,",
        "A,,,みかん,2,100,,",
        "A,太郎,a@example.jp,梨,1,900,1000,",
    )

    assert found.issues == []
    assert orders(found) == [("A", 1_000)]
    assert (found.declared_amount_jpy, found.unread_amounts) == (1_000, 0)


@pytest.mark.parametrize(
    ("profile", "further", "code"),
    [
        (BY_LINE, "A,次郎,,みかん,1,500,500,", "ORD-LINES-DIFFER"),
        (BY_LINE, "A,,other@example.jp,みかん,1,500,500,", "ORD-LINES-DIFFER"),
        (BY_LINE, "A,,,みかん,1,500,500,2026-04-02", "ORD-LINES-DIFFER"),
        (TOTAL, "A,,,みかん,1,500,999,", "ORD-LINES-DIFFER"),
    ],
)
def test_a_line_that_contradicts_the_first_names_it_and_costs_the_order(
    path: Path, profile: dict[str, Any], further: str, code: str
):
    found = judged(path, profile, "A,太郎,a@example.jp,りんご,1,1000,1000,2026-04-01", B, further)

    assert codes(found) == {2: [("ORD-LINES-REJECTED", {"line": 4})], 4: [(code, {"first_line": 2})]}
    assert orders(found) == [("B", 500)]


def test_a_fault_of_the_first_line_is_not_said_of_the_empty_cells_below(path: Path):
    found = judged(path, BY_LINE, "A,太郎,a(at)example.jp,りんご,1,1000,1000,", "A,,,みかん,1,500,500,")

    assert codes(found) == {2: [("ORD-EMAIL-FORMAT", {})], 3: [("ORD-LINES-REJECTED", {"line": 2})]}


@pytest.mark.parametrize(("first", "second"), [("1", "98"), ("600000", "400001")])
def test_lines_that_are_too_little_or_too_much_together_say_so(path: Path, first: str, second: str):
    found = judged(
        path,
        BY_LINE,
        f"A,太郎,a@example.jp,りんご,,,{first},",
        f"A,,,みかん,,,{second},",
        "C,太郎,a@example.jp,梨,,,99,",
    )

    assert codes(found) == {
        2: [("ORD-LINES-RANGE", {})],
        3: [("ORD-LINES-RANGE", {})],
        4: [("ORD-AMOUNT-RANGE", {})],  # a line that is an order alone
    }


def test_a_line_of_another_width_costs_the_order_that_it_names(path: Path):
    found = judged(path, BY_LINE, "A,太郎,a@example.jp,りんご,1,500,500,", B, "A,,,みか,ん,1,500,500,", "以上")

    assert [code for code, _ in codes(found)[2]] == ["ORD-LINES-REJECTED"]
    assert codes(found)[2][0][1] == {"line": 4}
    assert orders(found) == [("B", 500)]
    assert found.orders == 3  # a remark below is none of them


@pytest.mark.parametrize(
    "lost", [",太郎,a@example.jp,みかん,1,500,500,", "2.01E+10,太郎,a@example.jp,みかん,1,500,500,"]
)
def test_a_line_that_names_no_order_may_be_a_part_of_any(path: Path, lost: str):
    """Without it an order would be paid short, and nobody would notice."""
    found = judged(path, BY_LINE, "A,太郎,a@example.jp,りんご,1,500,500,", B, lost)

    assert codes(found)[2] == codes(found)[3] == [("ORD-LINES-UNSURE", {"line": 4})]
    assert orders(found) == []


def test_a_line_that_names_no_order_costs_itself_where_totals_stand(path: Path):
    found = judged(path, TOTAL, "A,太郎,a@example.jp,りんご,1,500,500,", ",太郎,a@example.jp,みかん,1,500,500,")

    assert orders(found) == [("A", 500)]


def test_a_remark_below_the_orders_costs_itself(path: Path):
    found = judged(path, BY_LINE, "A,太郎,a@example.jp,りんご,1,500,500,", ",以上です,,,,,,")

    assert orders(found) == [("A", 500)]
    assert found.rejected_rows == [2]


def test_a_line_whose_width_hides_its_number_costs_every_order(path: Path):
    """Where the number is not the first cell, a missing cell before it shifts another into its place."""
    header = "customer_name,order_number,email,amount"
    found = judged(path, BY_LINE, "太郎,A,a@example.jp,500", "A,a@example.jp,700", "花子,A,b@example.jp", header=header)

    assert [code for code, _ in codes(found)[2]] == ["ORD-LINES-REJECTED"]
    found = judged(path, BY_LINE, "太郎,A,a@example.jp,500", "A,a@example.jp,700", header=header)
    assert codes(found)[2] == [("ORD-LINES-UNSURE", {"line": 3})]


def test_after_the_reported_lines_are_removed_nothing_is_found(path: Path):
    lines = ["A,太郎,a@example.jp,りんご,1,500,500,", B, "A,次郎,,みかん,1,500,500,", "C,c,c@example.jp,梨,1,300,300,"]
    first = judged(path, BY_LINE, *lines)
    left = [line for number, line in enumerate(lines, start=1) if number not in first.rejected_rows]

    assert first.rejected_rows == [1, 3]
    assert judged(path, BY_LINE, *left).issues == []
