"""Text files as strangers could send them: they cost little, are refused with a code, and harm no other row."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.reading import csv_file, octets
from assets.validated_csv.reading.parts import MOST_UNWANTED
from assets.validated_csv.reading.source import open_source
from assets.validated_csv.source_table import SourceTable
from domain.errors import FileRefused
from domain.headers import recognised

HEADER = b"order_number,customer_name,email,amount\n"
ROW = "A-1,見本 カロミ,mihon@example.jp,500\n".encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def read(path: Path, data: bytes, **limits: float) -> SourceTable:
    path.write_bytes(data)
    return read_orders_file(path, ReadingLimits(**limits))  # type: ignore[arg-type]


def refusal(path: Path, data: bytes, **limits: float) -> tuple[str, dict[str, int | float | str]]:
    with pytest.raises(FileRefused) as caught:
        read(path, data, **limits)
    return caught.value.code, caught.value.facts


# -- what it costs ----------------------------------------------------------------------------------------------------


def test_a_file_of_a_gigabyte_is_refused_unread(path: Path):
    """Nothing is in it: it has a length and no content on the disk."""
    path.touch()
    os.truncate(path, 1 << 30)

    with pytest.raises(FileRefused) as caught:
        read_orders_file(path, ReadingLimits())
    assert (caught.value.code, caught.value.facts) == ("FILE-TOO-LARGE", {"limit_mb": 50})


def test_what_lies_beyond_the_limit_of_rows_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(octets, "BLOCK_OCTETS", 1_000)
    monkeypatch.setattr(csv_file, "BLOCK_OCTETS", 1_000)
    path.write_bytes(HEADER + ROW * 10_000)

    with open_source(path, ReadingLimits(max_rows=100), recognised) as source:
        with pytest.raises(FileRefused) as caught:
            list(source.parts)
        assert source.size_bytes < 20_000
    assert caught.value.code == "FILE-TOO-MANY-ROWS"
    assert 100 < int(caught.value.facts["rows"]) < 200


def test_reading_text_ends_when_its_time_is_over(path: Path):
    assert refusal(path, HEADER + ROW, max_seconds=1e-6)[0] == "FILE-TIME-LIMIT"


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "euc-jp", "iso-2022-jp", "utf-16"])
def test_a_line_without_end_is_not_held_for_ever(path: Path, encoding: str):
    data = (HEADER + ROW).decode() + "見本" * 600_000

    assert refusal(path, data.encode(encoding))[0] == "FILE-LINE-TOO-LONG"


def test_shifts_of_iso_2022_jp_that_shift_nothing_are_no_line_without_end(path: Path):
    """Decoded they are nothing at all; a file of them took minutes."""
    assert refusal(path, HEADER + b"\x1b$B\x1b(B" * 500_000) == ("FILE-LINE-TOO-LONG", {"line": 2})


def test_a_long_run_of_half_width_kana_takes_no_time(path: Path):
    """Looked for Japanese from each of its signs, this line alone would take hours."""
    data = HEADER + ROW.decode().encode("euc-jp") * 20 + b"\xb1" * 900_001 + b"\n"

    assert refusal(path, data)[0] in ("FILE-ENCODING-MIXED", "FILE-ENCODING")


def test_unwanted_characters_by_the_hundred_thousand_take_no_time(path: Path):
    """Each of them counted the cells before it."""
    names = b",".join(b"c%d" % number for number in range(190))
    row = b"A-1,x,a@example.jp,500," + b"," * 189 + b'"' + b"\x07" * 100_000 + b'"\n'
    table = read(path, HEADER[:-1] + b"," + names + b"\n" + row * 300)

    assert len(table.rows) == 300
    assert [(issue.import_row_number, issue.code) for issue in table.issues if issue.column != "c189"] == []
    assert {issue.code for issue in table.issues} == {"ORD-CELL-CONTROL", "ORD-CELL-TOO-LONG"}


def test_of_a_row_full_of_unwanted_characters_not_every_cell_is_said(path: Path):
    """Ten thousand such rows would be two million faults of one small file."""
    names = b",".join(b"c%d" % number for number in range(100))
    row = b"A-1,x,a@example.jp,500," + b",".join([b"\x07"] * 100) + b"\n"
    table = read(path, HEADER[:-1] + b"," + names + b"\n" + row + b"A-2,x,a@example.jp,500" + b"," * 100 + b"\n")

    assert [issue.import_row_number for issue in table.issues] == [1] * MOST_UNWANTED


def test_thousands_of_rows_of_another_width_are_each_named(path: Path):
    table = read(path, HEADER + (b"a,b\n" * 4 + ROW) * 1_000)

    assert len(table.rows) == 5_000
    assert [(issue.line_number, issue.code) for issue in table.issues[:5]] == [
        *((line, "ORD-COLUMNS-COUNT") for line in (2, 3, 4, 5)),
        (7, "ORD-COLUMNS-COUNT"),
    ]
    assert len(table.issues) == 4_000


# -- what it is -------------------------------------------------------------------------------------------------------


def archive(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, HEADER + ROW)
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (HEADER + ROW + archive("x.csv"), "FILE-BINARY"),
        (archive("orders.csv") + HEADER + ROW, "FILE-WORKBOOK-BROKEN"),
        (archive("orders.csv"), "FILE-WORKBOOK-BROKEN"),
        (b"%PDF-1.7\n" + HEADER + ROW, "FILE-BINARY"),
        (b"GIF89a" + HEADER + ROW, "FILE-BINARY"),
        (b"\x1f\x8b\x08\x00" + HEADER + ROW, "FILE-BINARY"),
    ],
    ids=["text before an archive", "text behind an archive", "an archive of text", "PDF", "GIF", "gzip"],
)
def test_what_is_two_kinds_of_file_at_once_is_none_of_orders(path: Path, data: bytes, code: str):
    assert refusal(path, data)[0] == code


def test_a_row_behind_a_cell_of_thousands_of_lines_has_its_own_line(path: Path):
    many = b'A-1,"' + b"x\n" * 1_900 + b'",a@example.jp,500\n'
    table = read(path, HEADER + many + ROW)

    assert table.line_numbers == [2, 1_903]
    assert table.issues == []


@pytest.mark.parametrize("first", [b"sep=;\r\n", b'"sep=;"\r\n', b"SEP=;\n"])
def test_the_line_of_excel_that_names_the_delimiter_is_no_header(path: Path, first: bytes):
    table = read(path, first + (HEADER + ROW).replace(b",", b";"))

    assert (table.header_line, table.taken.delimiter, len(table.rows)) == (2, ";", 1)


def test_the_last_row_needs_no_line_end(path: Path):
    assert len(read(path, HEADER + ROW + ROW.rstrip()).rows) == 2


def test_a_thousand_marks_on_one_letter_are_a_cell_that_is_too_long(path: Path):
    table = read(path, HEADER + f"A-1,Z{chr(0x300) * 10_000},a@example.jp,500\n".encode() + ROW)

    assert [(issue.import_row_number, issue.code) for issue in table.issues] == [(1, "ORD-CELL-TOO-LONG")]
