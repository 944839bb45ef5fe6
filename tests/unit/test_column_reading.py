"""Reading by columns is only a faster way to say what reading record by record says."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.reading import by_columns, by_records
from assets.validated_csv.source_table import SourceTable
from domain.errors import FileRefused
from orchestration.sample import make_sample

NAMES = ["order_number", "customer_name", "email", "amount"]
HEADER = ",".join(NAMES) + "\n"
ROW = "A-1,見本 カロミ,mihon@example.jp,500\n"
LIMITS = ReadingLimits(max_rows=6, max_cell_characters=13)

STRUCTURE = ['"', '""', ",", "\n", "\r\n", "\r", " ", "\t", "\\", "'", "NULL"]
LETTERS = ["a", "見", "x" * 14, "\u3000", "\x0b", "\x1c", "\x85", "\u200b", "\ufeff", "\ufffd"]
SIGNS = st.sampled_from(STRUCTURE + LETTERS)
TEXT = st.lists(SIGNS, max_size=4).map("".join)
PLAIN_CELL = st.sampled_from(["", "a", "見本", " ", "two\nlines", "two\r\nlines", 'a "word"', "a,b", '"', "NA", "1.0"])
PLAIN_ROWS = st.lists(st.lists(PLAIN_CELL, min_size=4, max_size=4), min_size=1, max_size=7)


def told(read: object, data: bytes) -> object:
    """Everything that is said about a file, so that it can be compared; None where nothing is said."""
    try:
        table: SourceTable | None = read(data, LIMITS)  # type: ignore[operator]
    except FileRefused as error:
        return error.code, error.facts
    if table is None:
        return None
    header = (table.header, table.header_line, table.column_map, table.unmapped, table.encoding)
    columns = [column.to_pylist() for column in table.cells.columns]
    rows = (table.rows, columns, table.cells.whole_rows.tolist(), table.line_numbers, table.row_count)
    return header, rows, table.issues, table.sha256, table.size_bytes


def as_csv(rows: list[list[str]], *, quoting: int, end: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([NAMES, *rows])  # type: ignore[arg-type]
    return text.getvalue()


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """A well-formed file, with a few signs put in somewhere or its last ones cut off."""
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    text = as_csv(draw(PLAIN_ROWS), quoting=quoting, end=draw(st.sampled_from(["\n", "\r\n"])))
    at = draw(st.integers(0, len(text)))
    text = text[:at] + draw(st.one_of(st.just(""), TEXT)) + text[at:]
    return draw(st.sampled_from(["", "", "\ufeff"])).encode() + text[: len(text) - draw(st.integers(0, 2))].encode()


@given(st.one_of(nearly_plain(), TEXT.map(lambda text: (HEADER + ROW + text + ROW).encode())))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_what_is_read_by_columns_is_what_is_read_by_records(data: bytes):
    by_column = told(by_columns, data)

    assert by_column is None or by_column == told(by_records, data)


@given(PLAIN_ROWS.filter(lambda rows: len(rows) <= 6 and all(any(map(str.strip, row)) for row in rows)))
@settings(max_examples=50, derandomize=True, deadline=None)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_well_formed_file_is_read_by_columns(quoting: int, end: str, rows: list[list[str]]):
    """Else the slow way would be the everyday way, and nobody would notice."""
    data = as_csv(rows, quoting=quoting, end=end).encode()

    assert told(by_columns, data) == told(by_records, data) is not None


def test_the_sample_file_is_read_by_columns():
    data = as_csv([], quoting=csv.QUOTE_MINIMAL, end="\n")
    text = io.StringIO(newline="")
    csv.writer(text).writerows([*row[:3], row[7]] for row in make_sample(100).rows)

    assert by_columns((data + text.getvalue()).encode(), ReadingLimits()) is not None


@pytest.mark.parametrize(
    "rows",
    [
        "",
        ROW + "\n" + ROW,
        "\n" + ROW,
        ROW + "\n",
        ROW + ",,,\n",
        ROW + " ,\u3000,\t,\n",
        ROW + "A-2,x\n",
        ROW + "A-2,x,y,z,5\n",
        'A-2,"x,b@example.jp,500\n',
        'A-2,"x"y,b@example.jp,500\n',
        'A-2,y"x",b@example.jp,500\n',
        'A-2, "x",b@example.jp,500\n',
        'A-2,"x" ,b@example.jp,500\n',
        "A-2,x\ry,b@example.jp,500\n",
        "A-2,x\u200by,b@example.jp,500\n",
        f"A-2,{'x' * 4001},b@example.jp,500\n",
        ROW * 10_001,
    ],
)
def test_in_any_doubt_nothing_is_said(rows: str):
    assert by_columns((HEADER + rows).encode(), ReadingLimits()) is None


def test_what_is_no_utf8_is_left_to_the_other():
    assert by_columns((HEADER + ROW).encode() + "A-2,山田,b@example.jp,500\n".encode("cp932"), ReadingLimits()) is None
