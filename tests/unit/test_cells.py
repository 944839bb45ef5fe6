"""Cells read in whole columns and one by one give the same, and nothing plain is touched (issue 4.5)."""

import string

import pandas as pd
import pyarrow as arrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.validated_csv.cell_values import ReadCells, read_cells
from checks.schemas import TEXT
from domain import catalogue
from domain.cells import PLAIN_RULES, CellReader, ValueRules, join_parts, read_cell
from domain.columns import NAMES
from domain.headers import Source
from domain.values.amounts import Thousands
from domain.values.days import NAMES_OF_MONTHS, DateOrder
from domain.values.reading import ReadingRule, code_of

RULES = st.builds(ValueRules, st.none() | st.sampled_from(DateOrder), st.sampled_from(Thousands))
OFFICE = (
    *("", "1000", "0100", "¥1,000", "１，０００円", "1.000", "-5", "1E+05", "2.01E+10", "2.01E10", "5E-12", "5E12"),
    *("#N/A", "#1001", "2026-04-01", "2026/4/1", "令和8年4月1日", "04/05/2026", "46113", "1月2日", "2-Jan", "JAN-26"),
    *("JPY", "jpy", "Jpy", "yen", "円", "USD", "0312345678", "312345678", "9012345678", "０３－１２３４", "060-0001"),
    *("600001", "〒060-0001", "ﾔﾏﾀﾞ", "見本 カロミ", "ａ@b.jp", "a@b.jp", "a#@b.jp", "Ａ－１", "ー", "～", "Jan"),
)
CELL = st.one_of(
    st.sampled_from(OFFICE),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).map(str.strip),
    st.text(string.printable + "月日年￥", max_size=8).map(str.strip),
)


def frame(cells: list[str]) -> pd.DataFrame:
    column = pd.arrays.ArrowStringArray(arrow.array(cells, arrow.large_string()), dtype=TEXT)
    return pd.DataFrame({name: pd.Series(column) for name in NAMES})


@given(st.lists(CELL, min_size=1, max_size=8), RULES)
@settings(max_examples=150, deadline=None)
def test_whole_columns_are_read_as_single_cells_are(cells: list[str], rules: ValueRules):
    """A mail is written from single cells, an order from columns: one customer must not have two names."""
    as_single_cells(cells, rules)


@pytest.mark.parametrize("cell", [*OFFICE, *(f"3-{month}" for month in NAMES_OF_MONTHS)])
def test_a_column_of_one_cell_is_read_too(cell: str):
    """Whole columns are passed over by their octets: no other cell may be why this one is looked at."""
    as_single_cells([cell], PLAIN_RULES)


def as_single_cells(cells: list[str], rules: ValueRules) -> None:
    read: ReadCells = read_cells(frame(cells), rules)
    changed = {(change.row, change.column): change.rules for change in read.changes}
    refused = {(row, name): code for name, code, mask in read.refused for row in mask.nonzero()[0].tolist()}
    reader = CellReader(dict.fromkeys(NAMES, (0,)), rules)

    for name in NAMES:
        for row, cell in enumerate(cells):
            single = read_cell(name, cell, rules)
            assert refused.get((row, name)) == single.refusal
            assert changed.get((row, name), ()) == tuple(rule.value for rule in single.rules)
            assert read.text[name].iloc[row] == reader.value(name, [cell])


@given(CELL, st.sampled_from(NAMES), RULES)
@settings(max_examples=300, deadline=None)
def test_what_was_read_once_is_plain_and_a_change_always_has_its_rule(cell: str, name: str, rules: ValueRules):
    read = read_cell(name, cell, rules)
    if read.refusal is None:
        assert read_cell(name, read.plain, rules).plain == read.plain
        assert bool(read.rules) == (read.plain != cell)


def test_only_what_had_to_be_read_is_another_column():
    text = frame(["1000", "2026-04-01", "見本"])
    read = read_cells(text[["customer_name", "item_name"]], PLAIN_RULES)

    assert read.text is not None
    assert (read.changes, read.refused) == ([], [])
    assert read.text["customer_name"] is text["customer_name"] or read.text["customer_name"].equals(
        text["customer_name"]
    )


def test_parts_are_joined_as_people_write_them():
    assert join_parts("customer_name", [" 山田 ", "太郎"]) == "山田太郎"
    assert join_parts("customer_name", ["Taro", "Yamada"]) == "Taro Yamada"
    assert join_parts("customer_name", ["", "太郎"]) == "太郎"
    assert join_parts("phone", ["03", "1234", "5678"]) == "03-1234-5678"
    assert join_parts("postal_code", ["100", "0005"]) == "100-0005"
    assert join_parts("address", ["東京都", "千代田区丸の内1-2-3", "", "101"]) == "東京都千代田区丸の内1-2-3 101"


def test_every_rule_and_every_reason_has_its_texts():
    codes = {code_of(rule) for rule in ReadingRule} | {source.code for source in Source}

    assert codes - set(catalogue.CODES) == set()
