"""Reading by columns is only a faster way to say what reading record by record says, and parts join without a seam."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_order_tables, read_orders_file
from assets.validated_csv.reading import csv_file, octets
from assets.validated_csv.reading.csv_columns import marks_of, read_columns
from assets.validated_csv.reading.csv_records import read_records
from assets.validated_csv.reading.parts import WANTED_OCTETS, Part, holds_unwanted
from assets.validated_csv.source_table import SourceTable
from domain.errors import FileRefused
from orchestration.sample import make_sample

NAMES = ["order_number", "customer_name", "email", "amount"]
HEADER = ",".join(NAMES) + "\n"
ROW = "A-1,見本 カロミ,mihon@example.jp,500\n"
LONGEST = 13

STRUCTURE = ['"', '""', ",", "\n", "\r\n", "\r", " ", "\t", "\\", "'", "NULL"]
LETTERS = ["a", "見", "x" * 14, "\u3000", "\x0b", "\x1c", "\x85", "\u200b", "\ufeff", "\ufffd"]
SIGNS = st.sampled_from(STRUCTURE + LETTERS)
TEXT = st.lists(SIGNS, max_size=4).map("".join)
PLAIN_CELL = st.sampled_from(["", "a", "見本", " ", "two\nlines", "two\r\nlines", 'a "word"', "a,b", '"', "NA", "1.0"])
PLAIN_ROWS = st.lists(st.lists(PLAIN_CELL, min_size=4, max_size=4), min_size=1, max_size=7)


def by_columns(data: bytes, longest: int = LONGEST) -> Part | None:
    form = {"delimiter": ",", "width": len(NAMES), "first_line": 2, "max_cell_characters": longest}
    return read_columns(data, marks_of(data), **form)  # type: ignore[arg-type]


def by_records(data: bytes, longest: int = LONGEST) -> Part:
    read = read_records(data, delimiter=",", width=len(NAMES), first_line=2, max_cell_characters=longest, at_end=True)
    assert (read.octets, read.lines) == (len(data), len(list(io.StringIO(data.decode(), newline=""))))
    return read.part


def told(read: Callable[[bytes], Part | None], data: bytes) -> object:
    """Everything that is said about some records, so that it can be compared; None where nothing is said."""
    try:
        part = read(data)
    except FileRefused as error:
        return error.code, error.facts
    if part is None:
        return None
    columns = [column.to_pylist() for column in part.cells.columns]
    return part.cells.joined.to_pylist(), columns, part.cells.whole_rows.tolist(), part.line_numbers, part.faults


def as_csv(rows: list[list[str]], *, quoting: int, end: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=end).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """A well-formed file, with a few signs put in somewhere or its last ones cut off."""
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    text = as_csv(draw(PLAIN_ROWS), quoting=quoting, end=draw(st.sampled_from(["\n", "\r\n"])))
    at = draw(st.integers(0, len(text)))
    text = text[:at] + draw(st.one_of(st.just(""), TEXT)) + text[at:]
    return text[: len(text) - draw(st.integers(0, 2))].encode()


@given(st.one_of(nearly_plain(), TEXT.map(lambda text: (ROW + text + ROW).encode())).filter(bool))
@settings(max_examples=300, derandomize=True, deadline=None)
def test_what_is_read_by_columns_is_what_is_read_by_records(data: bytes):
    by_column = told(by_columns, data)

    assert by_column is None or by_column == told(by_records, data)


@given(PLAIN_ROWS)
@settings(max_examples=50, derandomize=True, deadline=None)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_well_formed_file_is_read_by_columns(quoting: int, end: str, rows: list[list[str]]):
    """Else the slow way would be the everyday way, and nobody would notice."""
    data = as_csv(rows, quoting=quoting, end=end).encode()

    assert told(by_columns, data) == told(by_records, data) is not None


@pytest.mark.parametrize(
    "rows",
    [
        ROW + "\n" + ROW,
        "\n" + ROW + "\n\n",
        ROW + ",,,\n" * 3 + ROW,
        ROW + " ,\u3000,\t,\n",
        ROW + "A-2,x\n" + ROW,
        "A-0,x,y,z,5\n" + ROW + "A-2,x,y,z,5\n,,,,,,\n",
        ROW + 'A-2,"x,\n""y""",z\n',
        "A-2,x\u200by,b@example.jp,500\n",
        f"A-2,{'x' * 4001},b@example.jp,500\n",
        ROW + "A-3,x,y,z",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_and_ragged_rows_and_bad_cells_are_everyday_too(rows: str, end: str):
    data = rows.replace("\n", end).encode()

    assert told(by_columns, data) == told(by_records, data) is not None


@pytest.mark.parametrize(
    "rows",
    [
        'A-2,"x,b@example.jp,500\n',
        'A-2,"x"y,b@example.jp,500\n',
        'A-2,y"x",b@example.jp,500\n',
        'A-2, "x",b@example.jp,500\n',
        'A-2,"x" ,b@example.jp,500\n',
        "A-2,x\ry,b@example.jp,500\n",
        "A-2," + "x" * 200_000 + ",b@example.jp,500\n",
    ],
)
def test_in_any_doubt_nothing_is_said(rows: str):
    assert by_columns(rows.encode()) is None


def test_every_unwanted_character_is_met_by_the_quick_look():
    signs = [chr(sign) for sign in (*range(0xD800), *range(0xE000, 0x110000))]
    unwanted = [sign for sign in signs if holds_unwanted(sign)]
    assert "\x01" in unwanted
    assert "\ufffd" in unwanted
    assert not [sign for sign in unwanted if not sign.encode().translate(None, WANTED_OCTETS)]


def test_the_sample_file_is_read_by_columns():
    text = io.StringIO(newline="")
    csv.writer(text).writerows([*row[:3], row[7]] for row in make_sample(100, bad=0.3).rows)

    assert by_columns(text.getvalue().encode(), 4_000) is not None


# -- parts ------------------------------------------------------------------------------------------------------------


def whole(table: SourceTable) -> object:
    return table.rows, [c.to_pylist() for c in table.cells.columns], table.line_numbers, table.issues, table.sha256


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16", "euc-jp", "iso-2022-jp"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_however_a_file_is_cut_into_parts_it_is_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, end: str
):
    """Cut within characters, cells, line ends and quoted line breaks; by octets and by lines."""
    rows = [
        ["A-1", "見本 カロミ", "a@example.jp", "500"],
        ["A-2", 'two\nlines "q"', "b@example.jp", "500"],
        ["A-3", "x"],
    ]
    text = HEADER + as_csv([*rows * 30, ["", "", "", ""], ["A-4", "五", "c@example.jp", "1"]], quoting=0, end="\n")
    path = tmp_path / "orders.csv"
    path.write_bytes(text.replace("\n", end).encode(encoding))
    expected = whole(read_orders_file(path, ReadingLimits()))
    assert len(expected[0]) == 91  # type: ignore[index]
    for block, lines in ((64, 200), (97, 2), (501, 3), (10_000, 2), (10_000, 7)):
        monkeypatch.setattr(octets, "BLOCK_OCTETS", block)
        monkeypatch.setattr(csv_file, "_LINES_OF_PART", lines)
        monkeypatch.setattr(csv_file, "BLOCK_OCTETS", block)
        monkeypatch.setattr(csv_file, "EXCERPT_OCTETS", 400)
        tables = list(read_order_tables(path, ReadingLimits()))

        before = [sum(table.row_count for table in tables[:i]) for i in range(len(tables))]
        assert len(tables) > 1
        assert [table.rows_before for table in tables] == before
        assert whole(read_orders_file(path, ReadingLimits())) == expected


@pytest.mark.parametrize(
    ("tail", "code"),
    [('A-9,"open,c@example.jp,1\n' + ROW * 50, "FILE-QUOTE-UNCLOSED"), ('A-9,"x"y,c,1\n' + ROW, "FILE-QUOTE-UNCLOSED")],
)
def test_a_fault_far_down_has_its_line_whatever_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: str, code: str
):
    path = tmp_path / "orders.csv"
    path.write_bytes((HEADER + ROW * 100 + tail).encode())
    monkeypatch.setattr(octets, "BLOCK_OCTETS", 200)
    monkeypatch.setattr(csv_file, "BLOCK_OCTETS", 200)

    with pytest.raises(FileRefused) as caught:
        read_orders_file(path, ReadingLimits())
    assert (caught.value.code, caught.value.facts) == (code, {"line": 102})


def test_octets_that_go_wrong_far_down_have_their_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "orders.csv"
    path.write_bytes((HEADER + ROW * 100).encode() + b"A-2,\xe5\xb1,b@example.jp,1\n")
    monkeypatch.setattr(octets, "BLOCK_OCTETS", 200)
    monkeypatch.setattr(csv_file, "BLOCK_OCTETS", 200)

    with pytest.raises(FileRefused) as caught:
        read_orders_file(path, ReadingLimits())
    assert (caught.value.code, caught.value.facts) == ("FILE-ENCODING", {"line": 102})
