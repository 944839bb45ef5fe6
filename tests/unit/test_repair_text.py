"""The repair file as text holds the client's own octets: whatever nobody touched is what came."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.batch_report.repair_sheet import RepairRow, RepairSheet
from assets.batch_report.repair_text import repair_octets
from assets.validated_csv.account import reading_record
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.reading.originals import original_cells, original_records
from assets.validated_csv.reading.taken import Taken
from assets.validated_csv.source_table import SourceTable
from domain import repair
from domain.client_profile import ClientProfile
from domain.formulas import harmless, restored
from domain.issues import RowIssue
from domain.states import BatchState
from resources.database.batches import Batch
from resources.encryption import Vault

VAULT = Vault(bytes(range(32)))
LIMITS = ReadingLimits()
HEADER = "order_number{d}customer_name{d}email{d}amount{d}備考"


def batch_of(table: SourceTable) -> Batch:
    unknown = dict.fromkeys(Batch.__slots__)
    known = {
        "batch_id": f"20260401-acme-{table.sha256.hex()[:12]}",
        "file_sha256": table.sha256,
        "source_columns": table.header,
        "reading": reading_record(table, {}),
        "state": BatchState.PARTIAL,
        "reason_facts": {},
        "created_at": datetime(2026, 4, 1, tzinfo=UTC),
    }
    return Batch(**(unknown | known))


def sheet_of(table: SourceTable, rejected: Sequence[int]) -> RepairSheet:
    """These rows of a file, counted from 1, as if their amounts were bad."""
    batch = batch_of(table)
    rows = []
    for number in rejected:
        line = table.line_numbers[number - 1]
        issues = (RowIssue(number, line, "amount", "ORD-AMOUNT-RANGE"),)
        mark = str(repair.make_mark(batch.batch_id, batch.file_sha256, number, VAULT.tag))
        rows.append(RepairRow(line, line, tuple(table.rows[number - 1]), issues, mark))
    return RepairSheet(batch, rows)


def repair_file(path: Path, rejected: Sequence[int], profile: ClientProfile | None = None) -> tuple[SourceTable, bytes]:
    table = read_orders_file(path, LIMITS, profile=profile or ClientProfile())
    return table, b"".join(repair_octets(sheet_of(table, rejected), path))


def added_octets(octets: bytes, taken: Taken) -> tuple[bytes, bytes]:
    """A record of a repair file without what is added, and that."""
    languages = 1 if taken.encoding == "windows-1252" or taken.encoding_reason == "READ-ENCODING-ASCII" else 2
    delimiter = taken.delimiter.encode(taken.encoding)
    cells = original_cells(octets, taken)
    added = 4 + 2 * languages
    own = delimiter.join(cells[:-added])
    return own, octets[len(own) :]


CASES = {
    "UTF-8 with its mark, CRLF": ("utf-8-sig", ",", "\r\n"),
    "UTF-8, LF": ("utf-8", ",", "\n"),
    "CP932, CRLF": ("cp932", ",", "\r\n"),
    "CP932, semicolons, CR": ("cp932", ";", "\r"),
    "UTF-16 with tabs, as Excel's Unicode text": ("utf-16", "\t", "\r\n"),
    "UTF-16 the other way round": ("utf-16-be", ",", "\r\n"),
    "EUC-JP": ("euc-jp", ",", "\n"),
    "JIS": ("iso-2022-jp", ",", "\r\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_untouched_rows_and_the_header_are_the_octets_that_came(tmp_path: Path, case: str):
    """Odd quotes, quoted line breaks, titles above the header and the line ends with them."""
    encoding, d, end = CASES[case]
    rows = [
        f"注文一覧{d}{d}",
        HEADER.format(d=d),
        f'A-1{d}見本 "カロミ"{d}a@example.jp{d}1{d}',
        f"A-2{d}見本{d}b@example.jp{d}500{d}",
        f'"A-3"{d}"二\n行, ""引用""{d} 表"{d}c@example.jp{d}2{d}"ソ表能"',
        f"A-4{d}見本{d}d@example.jp{d}3{d}",
    ]
    path = tmp_path / "orders.csv"
    text = end.join(rows).replace("二\n行", f"二{end}行")
    path.write_bytes(text.encode(encoding))
    table, octets = repair_file(path, [1, 3, 4])
    made = tmp_path / "repair.csv"
    made.write_bytes(octets)
    taken = table.taken
    back = read_orders_file(made, LIMITS)

    assert octets.startswith(path.read_bytes()[: text.index(end) + len(end)])
    assert (back.taken.encoding, back.taken.delimiter, back.taken.marked) == (taken.encoding, d, taken.marked)
    assert back.taken.header_row == taken.header_row == 2
    came = [record for _, record in original_records(path, taken, [2, *(table.line_numbers[i] for i in (0, 2, 3))])]
    given = [record for _, record in original_records(made, back.taken, [2, *back.line_numbers])]
    for before, after in zip(came, given, strict=True):
        own, added = added_octets(after, back.taken)
        assert before.startswith(own)
        assert before[len(own) :] == added[len(added) - len(before[len(own) :]) :]  # the line end, or none in the last
    assert [row[:5] for row in back.rows] == [table.rows[i] for i in (0, 2, 3)]


def test_characters_with_two_codes_and_user_defined_ones_come_back_as_they_came(tmp_path: Path):
    """髙 is FBFC from Windows and EEE0 from elsewhere; 外字 are nobody else's."""
    name = bytes.fromhex("eee0 fbfc 879a fa5b 81e6 f040 f9fc 835c")
    row = b"A-1," + name + b",a@example.jp,1\r\n"
    path = tmp_path / "orders.csv"
    path.write_bytes(b"order_number,customer_name,email,amount\r\n" + row)
    _, octets = repair_file(path, [1], ClientProfile(encoding="cp932"))

    assert octets.splitlines(keepends=True)[1].startswith(row.removesuffix(b"\r\n") + b",2,")


def test_a_file_of_plain_ascii_stays_one(tmp_path: Path):
    """Excel would show Japanese of ours in it as rubbish, and save that."""
    path = tmp_path / "orders.csv"
    path.write_bytes(b"order_number,customer_name,email,amount\nA-1,Taro,a@example.jp,1\n")
    _, octets = repair_file(path, [1])

    assert octets.isascii()
    assert b"repair_message_en" in octets
    assert b"repair_message," not in octets


def test_a_cell_that_runs_is_the_only_thing_that_is_written_otherwise(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_bytes('order_number,customer_name,email,amount\nA-1,"=1+1","a@example.jp",-5\n髙,b,c,d\n'.encode())
    _, octets = repair_file(path, [1])

    assert octets.splitlines()[1].startswith(b"A-1,'=1+1,\"a@example.jp\",'-5,2,")


def test_a_line_that_leaves_jis_shifted_in_does_not_garble_what_follows(tmp_path: Path):
    """Some systems shift back at the beginning of the next line only."""
    path = tmp_path / "orders.csv"
    kanji = b"\x1b$B8+K\\"
    path.write_bytes(
        b"order_number,customer_name,email,amount,x\nA-1," + kanji + b"\x1b(B,a@example.jp,1," + kanji + b"\n\x1b(BA-2,"
        b"b,b@example.jp,2,c\n"
    )
    table, octets = repair_file(path, [1, 2])
    made = tmp_path / "repair.csv"
    made.write_bytes(octets)

    assert [row[:5] for row in read_orders_file(made, LIMITS).rows] == table.rows
    assert table.rows[0][4] == "見本"


def test_without_the_archived_file_the_cells_are_encoded_anew(tmp_path: Path):
    path = tmp_path / "orders.csv"
    path.write_bytes(
        'order_number,customer_name,email,amount\r\n"A-1",髙橋,a@example.jp,1\r\n'.encode("cp932", "ignore")
    )
    table = read_orders_file(path, LIMITS, profile=ClientProfile(encoding="cp932"))
    octets = b"".join(repair_octets(sheet_of(table, [1]), None))

    assert octets.decode("cp932").splitlines()[1].startswith("A-1,")


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"other"), lambda path: path.unlink(), lambda _: None])
def test_an_archived_file_that_was_changed_is_not_believed(tmp_path: Path, spoil: Callable[[Path], object]):
    """What was read of it is kept with the batch; nothing stops, and nothing of another file is given out."""
    path = tmp_path / "orders.csv"
    path.write_bytes(b"order_number,customer_name,email,amount\nA-1,Taro,a@example.jp,1\n")
    table = read_orders_file(path, LIMITS)
    spoil(path)

    octets = b"".join(repair_octets(sheet_of(table, [1]), path))
    assert octets.splitlines()[1].startswith(b"A-1,Taro,a@example.jp,1,2,amount,")


CELL = st.text(alphabet=st.sampled_from("=+-@'\"\t,;\n\r aA1あ髙ソ①ｱ～漢"), max_size=8)
ROW = st.tuples(st.just("A"), CELL, CELL, CELL, CELL).map(list)


@given(
    st.lists(ROW, min_size=1, max_size=6),
    st.sampled_from(["utf-8-sig", "utf-8", "cp932", "utf-16", "euc-jp"]),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_whatever_is_in_a_row_comes_back_as_it_was(
    rows: list[list[str]], encoding: str, delimiter: str, end: str, sparing: bool
):
    """Every value is itself again, every cell that needs no apostrophe has its own octets; the same file is made."""
    rows = [[f"A-{number}", *row[1:]] for number, row in enumerate(rows, start=1)]
    text = io.StringIO(newline="")
    # Sparing with quotes, Python's writer forgets a line break that is not the end of its own lines.
    quoting = csv.QUOTE_MINIMAL if sparing and end == "\r\n" else csv.QUOTE_ALL
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([HEADER.format(d=delimiter).split(delimiter), *rows])
    wish = ClientProfile(encoding={"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(encoding, encoding))
    with tempfile.TemporaryDirectory() as folder:
        path, made = Path(folder) / "orders.csv", Path(folder) / "repair.csv"
        path.write_bytes(text.getvalue().encode(encoding, "replace"))
        table, octets = repair_file(path, range(1, len(rows) + 1), wish)
        made.write_bytes(octets)
        back = read_orders_file(made, LIMITS, profile=wish)
        again = b"".join(repair_octets(sheet_of(table, range(1, len(rows) + 1)), path))
        came = original_records(path, table.taken, table.line_numbers)
        given = list(original_records(made, back.taken, back.line_numbers))

        assert [[restored(cell) for cell in row[:5]] for row in back.rows] == table.rows
        assert [cell for row in back.rows for cell in row if harmless(restored(cell)) != cell] == []
        assert again == octets
        for row, (_, before), (_, after) in zip(table.rows, came, given, strict=True):
            for cell, own, returned in zip(
                row, *(original_cells(r, table.taken)[:5] for r in (before, after)), strict=True
            ):
                assert harmless(cell) != cell or own == returned
        assert sha256(path.read_bytes()).digest() == table.sha256
