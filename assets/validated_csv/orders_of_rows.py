"""What the accepted rows say about their orders: what an order resembles, and what several rows of one are together."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as arrow

from assets.validated_csv.likeness import described_order, described_orders, described_rows
from assets.validated_csv.validation import Validation


@dataclass(frozen=True, slots=True)
class OrdersOfRows:
    """What each accepted row tells of its order, in the order of the rows; null where it tells nothing.

    Where it begins one: by what others would be alike (``described``), and where several rows make it, their yen and
    items together, as JSON. Else the row that begins it.
    """

    described: arrow.LargeBinaryArray
    first_rows: arrow.Int32Array
    amounts_jpy: arrow.Int32Array
    items: arrow.LargeStringArray


def orders_of_rows(validation: Validation, client: str) -> OrdersOfRows:
    """Of the accepted rows."""
    accepted, further = validation.accepted, validation.order_rows
    if not further:
        nothing = (arrow.nulls(len(accepted), kind) for kind in _KINDS[1:])
        return OrdersOfRows(described_orders(client, accepted), *nothing)
    numbers, amounts = accepted["import_row_number"].tolist(), accepted["amount_jpy"].tolist()
    lines: dict[int, list[_Line]] = defaultdict(list)
    rows = zip(numbers, amounts, described_rows(client, accepted), _shown(validation), strict=True)
    for number, jpy, (who, item), shown in rows:
        lines[further.get(number, number)].append(_Line(jpy, who, item, shown))
    of_rows = [_Of(first_row=further[number]) if number in further else _order(lines[number]) for number in numbers]
    return OrdersOfRows(*map(arrow.array, zip(*of_rows, strict=True), _KINDS))


_KINDS = (arrow.large_binary(), arrow.int32(), arrow.int32(), arrow.large_string())


class _Of(NamedTuple):
    described: bytes | None = None
    first_row: int | None = None
    amount_jpy: int | None = None
    items: str | None = None


class _Line(NamedTuple):
    jpy: int
    who: str
    item: str
    shown: dict[str, Any]


def _order(lines: Sequence[_Line]) -> _Of:
    """Of its first row; whose order it is, that says."""
    jpy = sum(line.jpy for line in lines)
    described = described_order(lines[0].who, jpy, [line.item for line in lines])
    if len(lines) == 1:
        return _Of(described)
    return _Of(described, amount_jpy=jpy, items=json.dumps([line.shown for line in lines]))


def _shown(validation: Validation) -> Iterator[dict[str, Any]]:
    """What people see of each item; an amount that is the whole order's is no item's."""
    rows = validation.accepted
    columns = {"code": rows["item_code"], "name": rows["item_name"], "quantity": rows["quantity"]}
    if validation.lines_add_up:
        columns["jpy"] = rows["amount_jpy"]
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        yield {name: value for name, value in zip(columns, values, strict=True) if value is not pd.NA and value != ""}
