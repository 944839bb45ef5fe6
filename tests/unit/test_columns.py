"""The canonical columns and how a header finds them."""

import pytest

from domain import columns


@pytest.mark.parametrize(
    "header", ["order_number", "Order Number", " ORDER_NUMBER ", "ＯＲＤＥＲ＿ＮＵＭＢＥＲ", "order-number"]
)
def test_width_case_and_spaces_of_a_header_do_not_matter(header: str):
    assert columns.canonical(header) == "order_number"


@pytest.mark.parametrize("header", ["", "order", "ordernumber2", "備考", "_number"])
def test_a_header_that_is_only_similar_is_not_mapped(header: str):
    """A guess could put one column's money into another."""
    assert columns.canonical(header) is None


def test_columns_nobody_mapped_count_as_personal():
    assert columns.is_personal("備考")
    assert columns.is_personal("email")
    assert not columns.is_personal("amount")


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ({"order_number", "customer_name", "email", "amount"}, []),
        ({"order_number", "customer_name", "email", "quantity", "unit_price"}, []),
        ({"order_number", "customer_name", "email", "quantity"}, ["amount"]),
        ({"amount"}, ["order_number", "customer_name", "email"]),
    ],
)
def test_an_amount_is_there_as_itself_or_as_quantity_and_unit_price(present: set[str], missing: list[str]):
    assert columns.missing_required(present) == missing
