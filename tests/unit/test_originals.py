"""What is given back to a client holds the client's own octets, whatever they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.reading import octets
from assets.validated_csv.reading.originals import encode, original_beginning, original_cells, original_records
from assets.validated_csv.reading.taken import Taken, Wishes

ROWS = (
    "注文一覧{d}{d}\n"
    "order_number{d}customer_name{d}email{d}amount\n"
    'A-1{d}見本 "カロミ"{d}a@example.jp{d}500\n'
    '"A-2"{d}"two\nlines, ""quoted""{d} 表"{d}b@example.jp{d}\n'
    "{d}{d}{d}\n"
    "A-3{d}ragged\n"
    "A-4{d}ソ表能{d}d@example.jp{d}1"
)


def written(path: Path, encoding: str, end: str, delimiter: str) -> bytes:
    data = ROWS.format(d=delimiter).replace("\n", end).encode(encoding)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "euc-jp", "iso-2022-jp", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_all_records_with_what_is_between_them_are_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, end: str, delimiter: str
):
    """ソ表能 end with the octet of a backslash in CP932, and JIS has quotes and commas within its characters."""
    path = tmp_path / "orders.csv"
    data = written(path, encoding, end, delimiter)
    table = read_orders_file(path, ReadingLimits())
    monkeypatch.setattr(octets, "BLOCK_OCTETS", 37)
    records = dict(original_records(path, table.taken, table.line_numbers))
    beginning = original_beginning(path, table.taken)

    assert table.line_numbers == [3, 4, 7, 8]
    blank = f"{delimiter * 3}{end}".encode(encoding.replace("utf-16-be", "utf_16_be").replace("-sig", ""))
    blank = blank.removeprefix(b"\xff\xfe") if encoding == "utf-16" else blank
    assert beginning + records[3] + records[4] + blank + records[7] + records[8] == data


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "euc-jp", "iso-2022-jp", "utf-16"])
def test_cells_and_delimiters_are_the_record(tmp_path: Path, encoding: str):
    path = tmp_path / "orders.csv"
    written(path, encoding, "\r\n", ",")
    table = read_orders_file(path, ReadingLimits())
    for (_, record), cells in zip(original_records(path, table.taken, table.line_numbers), table.rows, strict=True):
        found = original_cells(record, table.taken)
        delimiter = ",".encode("utf-16-le") if encoding == "utf-16" else b","

        assert len(found) == len(cells)
        assert record.startswith(delimiter.join(found))
        assert record[len(delimiter.join(found)) :].replace(b"\0", b"") in (b"\r\n", b"")


def test_characters_with_two_codes_come_back_as_they_came(tmp_path: Path):
    """髙 has the codes FBFC, EEE0; ∵ has 81E6, 879A, FA5B; 外字 are nobody else's."""
    path = tmp_path / "orders.csv"
    name = bytes.fromhex("eee0 fbfc 879a fa5b 81e6 f040 f9fc 835c")
    row = b"A-1," + name + b",a@example.jp,500\r\n"
    path.write_bytes(b"order_number,customer_name,email,amount\r\n" + row)
    table = read_orders_file(path, ReadingLimits(), Wishes(encoding="cp932"))
    ((_, record),) = original_records(path, table.taken, [2])

    assert table.rows[0][1] == "髙髙∵∵∵\ue000\ue757ソ"
    assert record == row
    assert original_cells(record, table.taken)[1] == name


@pytest.mark.parametrize(
    ("encoding", "octets"),
    [
        ("cp932", bytes.fromhex("fbfc 8160 3f")),
        ("utf-8", "髙～😀".encode()),
        ("euc-jp", bytes.fromhex("3f a1c1 3f")),
        ("iso-2022-jp", b"?\x1b$B!A\x1b(B?"),
    ],
)
def test_what_we_write_ourselves_is_in_the_encoding_of_the_file(encoding: str, octets: bytes):
    assert encode("髙～😀", encoding) == octets


def test_a_sep_line_stays_at_the_top(tmp_path: Path):
    path = tmp_path / "orders.csv"
    data = b"sep=;\r\norder_number;customer_name;email;amount\r\nA-1;x;a@example.jp;500\r\n"
    path.write_bytes(data)
    taken: Taken = read_orders_file(path, ReadingLimits()).taken

    assert (taken.delimiter, taken.header_row) == (";", 2)
    assert original_beginning(path, taken) == data[: data.index(b"A-1")]
