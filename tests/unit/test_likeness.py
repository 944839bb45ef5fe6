"""Whole columns say of orders what single orders say of themselves: else no order would resemble an earlier one."""

import pandas as pd
import pyarrow as arrow
import pytest

from assets.validated_csv.likeness import described_order, described_orders, described_rows
from checks.schemas import TEXT


def rows(*items: tuple[str, str]) -> pd.DataFrame:
    """Orders of one customer, each of one item: its code and its name."""

    def column(cells: list[str]) -> pd.Series:
        return pd.Series(pd.arrays.ArrowStringArray(arrow.array(cells, arrow.large_string()), dtype=TEXT))

    count = len(items)
    return pd.DataFrame(
        {
            "customer_name": column(["見本　花子"] * count),
            "email": column(["Ｈana@example.jp"] * count),
            "item_code": column([code for code, _ in items]),
            "item_name": column([name for _, name in items]),
            "quantity": pd.array([None, *range(2, count + 1)], "Int64"),
            "amount_jpy": [1500] * count,
        }
    )


CODED, NAMELESS, NAMED = ("Ａ-1", "りんご"), ("", ""), ("", "みかん 大")


@pytest.mark.parametrize("items", [(CODED, CODED), (NAMED, CODED, NAMELESS), (CODED, NAMED), (NAMED, NAMED)])
def test_whole_columns_say_the_same_as_single_orders(items: tuple[tuple[str, str], ...]):
    orders = rows(*items)

    alone = [described_order(who, 1500, [item]) for who, item in described_rows("shop", orders)]
    assert described_orders("shop", orders).to_pylist() == alone


def test_an_item_is_its_code_or_else_its_name():
    coded, named, _ = described_rows("shop", rows(CODED, NAMED, NAMELESS))

    assert [coded[1], named[1]] == ["a-1\x1f", "みかん大\x1f2"]
    assert coded[0] == named[0] == "shop\x1f見本花子\x1fhana@example.jp"
