"""What is added to rows that are given back for repair, and what is made of it when they return."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import repair
from domain.formulas import harmless, restored
from domain.headers import map_header, recognised
from domain.issues import RowIssue
from resources.encryption import Vault

RUNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
VAULT = Vault(bytes(range(32)))
BATCH, DIGEST = "20260401-acme-0123456789ab", bytes.fromhex("0123456789ab") + bytes(26)

# -- formulas ---------------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n\0＝＋－＠a1 "), max_size=6))
def test_a_cell_is_harmless_on_its_way_out_and_itself_again_on_its_way_back(cell: str):
    assert restored(harmless(cell)) == cell
    assert not harmless(cell).startswith(RUNS)


@pytest.mark.parametrize("cell", ["", "りんご", "1500", "a=b", "'already", "''", "山田-太郎", "O'Hara", "'90s"])
def test_a_cell_that_nothing_runs_is_left_alone_both_ways(cell: str):
    assert harmless(cell) == restored(cell) == cell


@pytest.mark.parametrize("cell", ["=1+1", "-500", "+81-3-0000-0000", "@x", "＝1"])
def test_what_a_person_types_without_the_apostrophe_is_taken_as_typed(cell: str):
    assert restored(cell) == cell


# -- marks ------------------------------------------------------------------------------------------------------------


def mark(row: int = 3, batch: str = BATCH) -> repair.Mark:
    return repair.make_mark(batch, DIGEST, row, VAULT.tag)


def test_a_mark_is_read_again_and_is_our_own():
    read = repair.read_mark(str(mark()))

    assert read == mark()
    assert read.seals(BATCH, VAULT.tag)
    assert (read.file, read.import_row_number) == ("0123456789ab", 3)


@pytest.mark.parametrize(
    "spoil", [str.upper, str.lower, "  {}\n".format, "'{}".format, lambda text: text.replace("R", "Ｒ")]
)
def test_a_mark_survives_what_spreadsheets_and_keyboards_do_to_text(spoil: Callable[[str], str]):
    assert repair.read_mark(spoil(str(mark()))) == mark()


def test_a_mark_looks_like_no_number_and_no_date_and_is_ascii():
    """Else Excel changes it."""
    texts = [str(mark(row)) for row in range(1, 500)]

    assert all(text.isascii() and text.startswith("R-") and len(text) < 50 for text in texts)
    assert len(set(texts)) == len(texts)


def test_a_mark_of_another_row_batch_or_key_is_not_ours():
    other_row = repair.Mark("0123456789ab", 4, mark().seal)
    other_key = repair.make_mark(BATCH, DIGEST, 3, Vault(bytes(32)).tag)

    assert not other_row.seals(BATCH, VAULT.tag)
    assert not mark().seals(f"{BATCH}x", VAULT.tag)
    assert not other_key.seals(BATCH, VAULT.tag)


@pytest.mark.parametrize("cell", ["", "R-1", "R-0123456789ab-0-aaaaaaaaaaaaaaaa", "R-0123456789ab-3-aaaa", "x" * 200])
def test_what_is_no_mark_is_none(cell: str):
    assert repair.read_mark(cell) is None


def test_the_columns_we_add_are_no_names_of_order_files():
    """Else our texts would be read as somebody's notes."""
    added = repair.added_columns(("ja", "en"))
    header = ["注文番号", "氏名", "メール", "金額", *added]

    assert recognised(added) == 0
    assert set(map_header(header).columns) == {"order_number", "customer_name", "email", "amount"}
    assert all(map(repair.is_added, added))
    assert not any(map(repair.is_added, ["注文番号", "note", "message", "備考", ""]))
    assert repair.positions_of([" Repair_Key ", "ＲＥＰＡＩＲ　ｋｅｙ"], repair.MARK) == [0, 1]


# -- cells ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(alphabet="ab,", max_size=3), max_size=40), st.integers(1, 8))
def test_a_row_of_any_width_is_laid_out_without_a_loss(cells: list[str], width: int):
    columns = width + max(0, repair.beyond([cells], width))
    laid = repair.laid_out(cells, columns)

    assert len(laid) == columns <= width + repair.MAX_BEYOND
    assert ",".join(laid).rstrip(",") == ",".join(cells).rstrip(",")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0312345678", "312345678"),
        ("000123", "123"),
        ("12345678901234567", "12345678901234500"),
        ("123456789012", "1.23457E+11"),
        ("201000000000", "2.01E+11"),
        ("100000000000", "1E+11"),
        ("鷗外 😀 髙橋", "?外 ?? 髙橋"),
        ("한글", "??"),
    ],
)
def test_what_a_spreadsheet_makes_of_a_number_is_known(before: str, after: str):
    assert repair.spoiled(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("000123", "124"),
        ("123", "0123"),
        ("A-01", "A-1"),
        ("500", "5E+2"),
        ("", "0"),
        ("0312345678", ""),
        ("007", "70"),
        ("髙", "?"),
        ("a", "?"),
    ],
)
def test_what_a_person_changes_is_a_change(before: str, after: str):
    assert not repair.spoiled(before, after)


def test_line_breaks_that_a_spreadsheet_changes_are_no_change():
    assert repair.same_cell("a\r\nb", "a\nb")
    assert not repair.same_cell("a\r\nb", "a b")


@pytest.mark.parametrize(
    ("before", "after", "partners"),
    [
        (["a", "b", ""], ["a", "b", ""], [0, 1, 2]),
        (["a", "b", "c"], ["c", "a"], [2, 0]),
        (["a", "", ""], ["", "a", "new", ""], [1, 0, None, 2]),
        (["A ", "b"], ["b", "a"], [1, 0]),
    ],
)
def test_columns_that_were_moved_are_found_by_their_names(
    before: list[str], after: list[str], partners: list[int | None]
):
    assert repair.partners(before, after) == partners


def test_a_fault_that_only_the_first_file_showed_holds_until_its_cell_is_changed_or_the_row_confirmed():
    merged = RowIssue(1, 2, "email", "ORD-CELL-MERGED")
    ragged = RowIssue(1, 2, "", "ORD-COLUMNS-COUNT")
    range_ = RowIssue(1, 2, "amount", "ORD-AMOUNT-RANGE")
    faults = [merged, ragged, range_]

    assert list(repair.carried(faults, {}, False)) == [merged, ragged]
    assert list(repair.carried(faults, {"amount": None}, False)) == [merged]
    assert list(repair.carried(faults, {"email": None}, False)) == []
    assert list(repair.carried(faults, {}, True)) == []


def test_a_harmless_row_has_no_cell_that_runs_in_any_reader():
    text = io.StringIO(newline="")
    csv.writer(text).writerow([harmless(f"{sign}1+1") for sign in RUNS])
    read = next(csv.reader(io.StringIO(text.getvalue(), newline="")))

    assert [cell for cell in read if cell.startswith(RUNS)] == []
