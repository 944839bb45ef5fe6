"""What the accepted rows say about their orders: what an order resembles, and what several rows of one are together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from assets.validated_csv.likeness import described_order, described_orders, described_rows
from assets.validated_csv.validation import Validation

Keyed = Callable[[bytes], int]
"""``Vault.likeness``."""


OrderOfRow = tuple[int | None, ...] | tuple[int, None, int, list[dict[str, Any]]]
"""The last values of a ``StoredRow``, which tell of its order: the likeness alone, or what several rows make of it."""


def orders_of_rows(validation: Validation, client: str, likeness: Keyed) -> dict[int, OrderOfRow]:
    """By the number of each accepted row."""
    accepted, further = validation.accepted, validation.order_rows
    numbers, amounts = accepted["import_row_number"].tolist(), accepted["amount_jpy"].tolist()
    if not further:
        described = described_orders(client, accepted)
        return {number: (likeness(order),) for number, order in zip(numbers, described, strict=True)}
    of_orders: dict[int, list[_Line]] = defaultdict(list)
    rows = zip(numbers, amounts, described_rows(client, accepted), _shown(validation), strict=True)
    for number, jpy, (who, item), shown in rows:
        of_orders[further.get(number, number)].append(_Line(jpy, who, item, shown))
    found: dict[int, OrderOfRow] = {number: (None, first) for number, first in further.items()}
    return found | {number: _order(lines, likeness) for number, lines in of_orders.items()}


class _Line(NamedTuple):
    jpy: int
    who: str
    item: str
    shown: dict[str, Any]


def _order(lines: Sequence[_Line], likeness: Keyed) -> OrderOfRow:
    """Of its first row; whose order it is, that says."""
    jpy = sum(line.jpy for line in lines)
    key = likeness(described_order(lines[0].who, jpy, [line.item for line in lines]))
    return (key,) if len(lines) == 1 else (key, None, jpy, [line.shown for line in lines])


def _shown(validation: Validation) -> Iterator[dict[str, Any]]:
    """What people see of each item; an amount that is the whole order's is no item's."""
    rows = validation.accepted
    columns = {"code": rows["item_code"], "name": rows["item_name"], "quantity": rows["quantity"]}
    if validation.lines_add_up:
        columns["jpy"] = rows["amount_jpy"]
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        yield {name: value for name, value in zip(columns, values, strict=True) if value is not pd.NA and value != ""}
