"""Totals in a file of their own are understood as people and programs write them, or refused with the line."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from domain.errors import FileRefused
from domain.repair import MARK
from domain.side_totals import parse_side_totals
from domain.trailer import CountOf, Totals
from resources import side_files
from resources.import_folder import look


@pytest.mark.parametrize(
    ("text", "totals"),
    [
        ("件数: 120\n金額：１，２３４円\n", Totals(120, 1_234)),
        ("rows = 120", Totals(120, None, CountOf.LINES)),
        ('{"orders": 3, "amount": 1234567}', Totals(3, 1_234_567, CountOf.ORDERS)),
        ('{"amount": "1,500円", "rows": 2.0}', Totals(2, 1_500, CountOf.LINES)),
        ('件数,金額\n120,"1,234"\n', Totals(120, 1_234)),
        ("行数\t合計金額\r\n3\t￥1,500\r\n", Totals(3, 1_500, CountOf.LINES)),
        ("金額,1,500", Totals(None, 1_500)),
        ("# made by the shop\n\nファイル名: orders.csv\n注文数 ３件\ntotal 500 yen", Totals(3, 500, CountOf.ORDERS)),
    ],
)
def test_what_is_declared_is_understood(text: str, totals: Totals):
    assert parse_side_totals(text) == totals


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 0),
        ("# nothing", 0),
        ("hello", 1),
        ("件数: 3\namuont: 500", 2),
        ("rows: 3\nrows: 3", 2),
        ("rows: 3\n件数: 3", 2),
        ("rows: -3", 1),
        ("rows: 1.000", 1),
        ("金額: " + "9" * 5_000, 1),
        ("件数,金額\n120", 2),
        ("件数,金額", 0),
        ("{", 1),
        ('{"rows": NaN}', 0),
        ('{"rows": [3]}', 0),
        ('{"rows": true}', 0),
        ('{"rows": 3, "rows": 4}', 0),
        ('{"rows": ' + "9" * 5_000 + "}", 0),
        ("{" * 5_000, 1),
        ("[3]", 1),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line_and_nothing_of_it(text: str, line: int):
    """A check that looks at nothing is worse than none."""
    with pytest.raises(FileRefused) as refused:
        parse_side_totals(text)

    assert (refused.value.code, refused.value.facts) == ("FILE-SIDE-UNREADABLE", {"line": line})
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16"])
def test_it_is_read_in_every_encoding_that_notepad_writes(tmp_path: Path, encoding: str):
    path = tmp_path / "orders.csv.totals"
    path.write_bytes("件数：12件\r\n".encode(encoding))

    assert side_files.read_side_totals(path) == Totals(12, None)


def test_octets_that_are_no_text_too_many_of_them_and_links_are_refused(tmp_path: Path):
    path = tmp_path / "orders.csv.totals"
    for octets in (b"\x82\xff\xff: 3", b"rows: 3\n" + b"#" * 70_000):
        path.write_bytes(octets)
        with pytest.raises(FileRefused, match="FILE-SIDE-UNREADABLE"):
            side_files.read_side_totals(path)
    (tmp_path / "link.totals").symlink_to(path)
    with pytest.raises(FileRefused, match="FILE-NOT-REGULAR"):
        side_files.read_side_totals(tmp_path / "link.totals")


def test_whose_a_file_of_totals_is_says_its_name():
    names = [
        "a.csv",
        "a.csv.totals",
        "b.xlsx",
        "b.totals.txt",
        "c.csv",
        "c.tsv",
        "c.totals",
        "C.CSV.Totals.JSON",
        "d.totals",
    ]

    assert side_files.owners(names) == {
        "a.csv.totals": "a.csv",
        "b.totals.txt": "b.xlsx",
        "c.totals": None,  # of which of the two?
        "C.CSV.Totals.JSON": None,
        "d.totals": None,
    }
    assert not side_files.is_side_file("totals.csv")
    assert not side_files.is_side_file("orders.totals.xlsx")


def drop(folder: Path, name: str, text: str = "x", age: float = 10.0) -> Path:
    path = folder / name
    path.write_text(text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def seen(folder: Path, now: float = 1_000_000) -> tuple[list[tuple[str, list[str]]], list[str], int]:
    """After a first look: the settled files with their totals, the totals left alone, and how many still wait."""
    first = look(folder, {}, 2.0, now)
    found = look(folder, first.memory, 2.0, now)
    settled = [(file.path.name, [side.name for side in file.sides]) for file in found.settled]
    return settled, [file.path.name for file in found.alone], found.waiting


def test_orders_are_given_out_with_their_totals_and_never_the_totals_as_orders(tmp_path: Path):
    drop(tmp_path, "orders.csv")
    drop(tmp_path, "orders.csv.totals")
    drop(tmp_path, "other.csv")
    drop(tmp_path, "third.totals.txt")

    assert seen(tmp_path) == ([("orders.csv", ["orders.csv.totals"]), ("other.csv", [])], ["third.totals.txt"], 0)


def test_orders_wait_while_their_totals_are_being_written(tmp_path: Path):
    drop(tmp_path, "orders.csv")
    drop(tmp_path, "orders.csv.totals", age=1.0)

    assert seen(tmp_path) == ([], [], 2)
    assert seen(tmp_path, now=1_000_005) == ([("orders.csv", ["orders.csv.totals"])], [], 0)


def test_the_totals_of_another_client_are_none(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    drop(tmp_path / "one", "orders.csv")
    drop(tmp_path / "two", "orders.csv.totals")

    assert seen(tmp_path) == ([("orders.csv", [])], ["orders.csv.totals"], 0)


def test_the_archive_keeps_every_content_once_and_the_last_counts(tmp_path: Path):
    folder = tmp_path / "batch"
    folder.mkdir()
    for text in ("rows: 1", "rows: 1", "rows: 2"):
        side_files.archive(drop(tmp_path, "orders.csv.totals", text), folder)
    last = side_files.archived(folder)

    assert sorted(path.name for path in folder.iterdir()) == ["totals-1.txt", "totals-2.txt"]
    assert last is not None
    assert (last.read_text(), last.stat().st_mode & 0o777) == ("rows: 2", 0o400)


def test_a_repaired_file_is_known_by_its_beginning(tmp_path: Path):
    for name, octets in (
        ("utf8.csv", f"番号,{MARK}\n".encode()),
        ("cp932.csv", f"番号,{MARK}\n".encode("cp932")),
        ("utf16.csv", f"番号\t{MARK}\n".encode("utf-16")),
    ):
        (tmp_path / name).write_bytes(octets)
        assert side_files.may_be_repaired(tmp_path / name), name
    for name in ("book.xlsx", "broken.xlsx"):
        with zipfile.ZipFile(tmp_path / name, "w") as book:
            if name == "book.xlsx":
                book.writestr("xl/sharedStrings.xml", f"<si><t>{MARK}</t></si>")
    (tmp_path / "plain.csv").write_text("order_number,amount\n")

    assert side_files.may_be_repaired(tmp_path / "book.xlsx")
    assert not any(side_files.may_be_repaired(tmp_path / name) for name in ("broken.xlsx", "plain.csv", "none.csv"))


@pytest.mark.parametrize("damaged", range(40, 60))
def test_a_damaged_workbook_is_no_repaired_file(tmp_path: Path, damaged: int):
    """Whatever the damage looks like to the library: nobody else's file waits for it."""
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("xl/sharedStrings.xml", "<si><t>注文一覧</t></si>" * 50)
    octets = bytearray(path.read_bytes())
    octets[damaged] ^= 0xFF
    path.write_bytes(octets)

    assert not side_files.may_be_repaired(path)
