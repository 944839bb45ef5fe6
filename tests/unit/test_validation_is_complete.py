"""Whatever is in a file: remove the rows that were reported, and a second validation finds nothing.

And nothing good is refused: judged by a second, slow and plain set of rules that shares no code with the first.
"""

import csv
import datetime
import io
import re
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.source_table import SourceTable
from assets.validated_csv.validation import _trimmed_text, _typed, validate
from checks.schemas import ORDER_TEXT, TYPED_ORDERS, Stage, validated_order_problems

HEADER = [
    "order_number",
    "customer_name",
    "email",
    "quantity",
    "unit_price",
    "amount",
    "currency",
    "ordered_on",
    "memo",
]
CELLS = [
    st.sampled_from(["A-1", "A-2", " A-1", "", "B\nC", "9" * 65, *(f"N-{i}" for i in range(30))]),
    st.sampled_from(["見本 カロミ", "", " ", "a\tb", "\u202ex", "\ufffd", "x" * 201]),
    st.sampled_from(["a@example.jp", "a..b.@docomo.ne.jp", "", "a@b", "a@b.jp,c@d.jp", "a@b.jp\n"]),
    st.sampled_from(["", "2", "0", "x", "２", "9" * 30]),
    st.sampled_from(["", "250", "0", "1.5", "1000001", "9" * 30]),
    st.sampled_from(["", "500", "99", "1000000", "1000001", "1,000", "１００", " 500 ", "9" * 30]),
    st.sampled_from(["", "JPY", "USD", "jpy"]),
    st.sampled_from(["", "2026-04-01", "2026-02-30", "1999-01-01", "x", "2026-04-01\n"]),
    st.sampled_from(["", "m", 'q"q', "a\r\nb", "\x07", "y" * 60]),
]
ROW = st.tuples(*CELLS).map(list)
RAGGED = st.lists(st.sampled_from(["A-1", "x", "500"]), min_size=1, max_size=12)
BLANK = st.just([""] * len(HEADER))
FILE = st.lists(st.one_of(ROW, ROW, ROW, ROW, RAGGED, BLANK), min_size=1, max_size=25)


def read(rows: list[list[str]]) -> SourceTable:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(
        [HEADER, *rows, ["K-1", "x", "a@b.jp", "", "", "500", "", "", ""]]
    )
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(text.getvalue().encode())
        file.flush()
        return read_orders_file(Path(file.name), ReadingLimits(max_cell_characters=250))


def plainly_good(row: list[str]) -> bool:
    """The rules once more, one row at a time; without those about other rows."""
    if len(row) != len(HEADER) or any(sign in cell for cell in row for sign in "\x07\u202e\ufffd"):
        return False
    number, name, email, quantity, price, amount, currency, day, _ = (cell.strip() for cell in row)
    one_line = not re.search(r"[\r\n\t]", number + name)
    lengths = len(number) <= 64 and len(name) <= 200 and max(len(cell) for cell in row) <= 250
    numbers = [unicodedata.normalize("NFKC", text).replace(",", "") for text in (quantity, price, amount)]
    values = [int(text) if text.isascii() and text.isdigit() else None for text in numbers]
    if any(text and value is None for text, value in zip((quantity, price, amount), values, strict=True)):
        return False
    count, each, stated = values
    product = count * each if count is not None and each is not None else None
    total = stated if amount else product
    agree = product is None or not amount or product == stated
    in_range = (count is None or 1 <= count <= 1_000_000) and (each is None or each <= 1_000_000)
    money = total is not None and 100 <= total <= 1_000_000 and agree and in_range
    mail = email in ("a@example.jp", "a..b.@docomo.ne.jp", "a@b.jp")
    return bool(
        number and name and one_line and lengths and money and mail and currency in ("", "JPY", "jpy") and real(day)
    )


def real(day: str) -> bool:
    try:
        return not day or 2000 <= datetime.date.fromisoformat(day).year <= 2099
    except ValueError:
        return False


@given(FILE)
@settings(max_examples=25, derandomize=True, deadline=None)
def test_after_the_reported_rows_are_removed_nothing_is_found(rows: list[list[str]]):
    table = read(rows)
    first = validate(table, {"N-7"})
    rejected = set(first.rejected_rows)
    kept = [row for number, row in enumerate(table.rows, start=1) if number not in rejected]
    second = validate(read(kept[:-1]) if kept and kept[-1][0] == "K-1" else read(kept), {"N-7"})

    assert second.issues == []
    assert len(second.accepted) == len(first.accepted) == len(table.rows) - len(rejected)
    assert validated_order_problems(first.accepted) == []


@given(FILE)
@settings(max_examples=25, derandomize=True, deadline=None)
def test_a_row_is_refused_exactly_when_a_plain_reading_of_the_rules_refuses_it(rows: list[list[str]]):
    table = read(rows)
    rejected = set(validate(table).rejected_rows)
    seen: set[str] = set()
    for number, row in enumerate(table.rows, start=1):
        order_number = row[0].strip() if len(row) == len(HEADER) else ""
        good = plainly_good(row) and order_number not in seen
        seen |= {order_number} - {""}

        assert (number not in rejected) == good, row


@given(FILE)
@settings(max_examples=10, derandomize=True, deadline=None)
def test_validation_of_the_same_file_always_gives_the_same_result(rows: list[list[str]]):
    table = read(rows)
    first, second = validate(table), validate(table)

    assert first.issues == second.issues
    assert first.accepted.equals(second.accepted)
    assert len({(i.import_row_number, i.column, i.code) for i in first.issues}) == len(first.issues)


def found_by_pandera(stage: Stage, frame: pd.DataFrame) -> set[tuple[str, int]]:
    try:
        stage.schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        masks = [(error.check.name, error.check_output) for error in errors.schema_errors]
        return {(code, int(at)) for code, passed in masks for at in np.flatnonzero(~passed.to_numpy(dtype=bool))}
    return set()


@given(FILE)
@settings(max_examples=10, derandomize=True, deadline=None)
def test_the_rules_as_masks_and_as_pandera_schema_find_the_same(rows: list[list[str]]):
    """Masks are fast and hold no values; the schema is what people know. They must be one thing."""
    table = read(rows)
    text = _trimmed_text(table)
    for stage, frame in ((ORDER_TEXT, text), (TYPED_ORDERS, _typed(text))):
        by_masks = {(code, int(at)) for _, code, broken in stage.broken(frame) for at in np.flatnonzero(broken)}

        assert found_by_pandera(stage, frame) == by_masks
