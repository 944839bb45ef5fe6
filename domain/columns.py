"""The canonical columns of an order file: names, order, what is required, what is personal, how long a cell may be.

The header of a file is mapped onto these names. Width, case and spaces do not matter: ``Order Number``,
``ORDER_NUMBER`` and the full-width form are the same column. Columns that nobody mapped are kept with the row and count
as personal.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One canonical column. ``max_length`` in characters; a ``single_line`` cell holds no line break and no tab."""

    name: str
    max_length: int
    required: bool = False
    personal: bool = False
    single_line: bool = True


COLUMNS: tuple[Column, ...] = (
    Column("order_number", 64, required=True),
    Column("customer_name", 200, required=True, personal=True),
    Column("email", 254, required=True, personal=True),
    Column("item_code", 100),
    Column("item_name", 255, single_line=False),
    Column("quantity", 30),
    Column("unit_price", 30),
    Column("amount", 30),
    Column("currency", 10),
    Column("ordered_on", 30),
    Column("phone", 40, personal=True),
    Column("postal_code", 20, personal=True),
    Column("address", 500, personal=True, single_line=False),
    Column("note", 2_000, personal=True, single_line=False),
)
"""All canonical columns, in the order in which we write them."""

NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
POSITION: dict[str, int] = {name: position for position, name in enumerate(NAMES)}
PERSONAL: frozenset[str] = frozenset(column.name for column in COLUMNS if column.personal)

_SEPARATORS = re.compile(r"[\s_\-]+")


def fold(header_cell: str) -> str:
    """What two spellings of one header have in common: NFKC, lower case, spaces and ``-`` as one ``_``."""
    return _SEPARATORS.sub("_", unicodedata.normalize("NFKC", header_cell).strip().casefold()).strip("_")


def canonical(header_cell: str) -> str | None:
    """The canonical name behind a header cell; None when nobody mapped it."""
    folded = fold(header_cell)
    return folded if folded in BY_NAME else None


def is_personal(name: str) -> bool:
    """Whether values of this column are encrypted: the personal ones, and every column that is not ours."""
    return name not in BY_NAME or name in PERSONAL


def missing_required(names: set[str]) -> list[str]:
    """Required columns that are not among ``names``. An amount is there as itself, or as quantity and unit price."""
    missing = [column.name for column in COLUMNS if column.required and column.name not in names]
    has_amount = "amount" in names or {"quantity", "unit_price"} <= names
    return missing if has_amount else [*missing, "amount"]
