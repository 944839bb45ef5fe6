"""Thousands of damaged files: each is read or refused with a code, in time, and says nothing of what is in it.

Every file follows from its number, so a failing one can be made again. ``BULK_ORDERS_FUZZ_FILES`` sets how many; the
long campaign is ``make fuzz``.
"""

from __future__ import annotations

import csv
import io
import os
import random
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import xlsxwriter

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.source_table import SourceTable
from assets.validated_csv.validation import validate
from domain import catalogue
from domain.errors import FileRefused

FILES = int(os.environ.get("BULK_ORDERS_FUZZ_FILES", "1000"))
WORKBOOKS = FILES // 25  # each costs a process
HEADER = ["order_number", "customer_name", "email", "amount", "note"]
CANARIES = ("カナリア", "canary", "Ｃ９０")
LIMITS = ReadingLimits(max_rows=200, max_seconds=10, max_cell_characters=500)
SECONDS = 20
VALIDATED_ONE_IN = 20  # validation takes longer than reading

ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "cp932", "cp932", "euc-jp", "iso-2022-jp", "utf-16", "utf-16-le")
PIECES = (
    *(b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\x1a", b"\x1b$B", b"\x1b(B", b"\x1b(I", b"\\"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\x81", b"\x8f", b"\xe3\x81"),
    *(
        b"=1+1",
        b"sep=|\n",
        b"\n" * 3_000,
        b"x" * 2_000,
        b"," * 400,
        b'"\n' * 50,
        "山田".encode("cp932"),
        "山田".encode(),
    ),
    *("\u202e".encode(), "\u2028".encode(), "\x85".encode(), b"PK\x03\x04"),
)

XML_PIECES = (b"<", b"/>", b'"', b"</row>", b'r="XFD1048576"', b"9", b't="e"', b"<f>1</f>", b's="1"')


@dataclass(frozen=True)
class Made:
    """A file, and the records in it that nobody touched."""

    data: bytes
    untouched: list[list[str]]


def good_row(number: int) -> list[str]:
    note = ("", "のし不要", 'カナリア "見本"', "一行目\n二行目", "a,b;c\td")[number % 5]
    return [f"G-{number:04d}", f"カナリア {number}", f"canary.{number}@example.jp", str(100 + number), note]


def as_text(rows: list[list[str]], rng: random.Random) -> str:
    text = io.StringIO(newline="")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    end = rng.choice(("\r\n", "\n"))
    csv.writer(text, quoting=quoting, lineterminator=end, delimiter=rng.choice(",,\t;")).writerows(rows)
    return text.getvalue()


def any_damage(rng: random.Random) -> Made:
    """Octets changed anywhere."""
    rows = [good_row(number) for number in range(rng.randrange(1, 25))]
    titles = [["注文一覧"], []] if rng.random() < 0.2 else []
    blank = [[""] * 5] * rng.choice((0, 0, 3, 100))
    data = bytearray(as_text([*titles, HEADER, *rows, *blank], rng).encode(rng.choice(ENCODINGS)))
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at, upto = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        upto = min(upto, at + rng.choice((1, 3, 40, 1_000)))
        what = rng.randrange(6)
        if what == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif what == 1:
            data[at:at] = rng.choice(PIECES)
        elif what == 2:
            del data[at:upto]
        elif what == 3:
            data[at:at] = data[at:upto]
        elif what == 4:
            data[at:upto] = bytes(reversed(data[at:upto]))
        elif len(data) > 30 and rng.random() < 0.3:
            del data[at:]
        if not data:
            break
    return Made(bytes(data), [])


def _extra(cells: list[str]) -> list[str]:
    return [*cells, "x"]


def _short(cells: list[str]) -> list[str]:
    return cells[:2]


def _control(cells: list[str]) -> list[str]:
    return [cells[0], "a\u202eb\x07", *cells[2:]]


def _long(cells: list[str]) -> list[str]:
    return [*cells[:4], "長" * 600]


def _garbled(cells: list[str]) -> list[str]:
    return [*cells[:3], "\ufffd", ""]


def _blank(cells: list[str]) -> list[str]:
    return [" "] * 5


def _values(cells: list[str]) -> list[str]:
    return ["B-1", "", "canary(at)example.jp", "1,000円?", "'; DROP TABLE orders;--"]


ROW_DAMAGES: tuple[Callable[[list[str]], list[str]], ...] = (
    *(_extra, _short, _control, _long, _garbled, _blank, _values),
)


def damaged_rows(rng: random.Random) -> Made:
    """Good and bad rows mixed: every good one must be taken."""
    rows = [good_row(number) for number in range(rng.randrange(2, 40))]
    bad = set(rng.sample(range(len(rows)), rng.randrange(len(rows))))
    damaged = [rng.choice(ROW_DAMAGES)(row) if at in bad else row for at, row in enumerate(rows)]
    encoding = rng.choice(("utf-8", "utf-8-sig", "utf-16"))
    data = as_text([HEADER, *damaged], rng).encode(encoding)
    return Made(data, [row for at, row in enumerate(rows) if at not in bad])


def workbook(rng: random.Random) -> Made:
    """A workbook whose archive, or whose XML, was changed somewhere."""
    packed = io.BytesIO()
    with xlsxwriter.Workbook(packed) as book:
        sheet = book.add_worksheet("カナリア")
        for at, row in enumerate([HEADER, *(good_row(number) for number in range(rng.randrange(1, 20)))]):
            sheet.write_row(at, 0, row)
    data = bytearray(packed.getvalue())
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return Made(bytes(data), [])
    parts = {name: bytearray(zipfile.ZipFile(packed).read(name)) for name in zipfile.ZipFile(packed).namelist()}
    for _ in range(rng.choice((1, 3, 10))):
        part = parts[rng.choice(["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", *parts])]
        at = rng.randrange(len(part))
        part[at : at + rng.choice((0, 1, 20))] = rng.choice((*PIECES, *XML_PIECES))
    again = io.BytesIO()
    with zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, bytes(part))
    return Made(again.getvalue(), [])


def read_in_time(path: Path, data: bytes) -> SourceTable | FileRefused:
    path.write_bytes(data)
    started = time.monotonic()
    try:
        return read_orders_file(path, LIMITS)
    except FileRefused as error:
        return error
    finally:
        assert time.monotonic() - started < SECONDS


def says_nothing_of_values(said: SourceTable | FileRefused) -> None:
    if isinstance(said, FileRefused):
        assert said.code in catalogue.CODES
        assert said.__suppress_context__ or said.__context__ is None
        texts = [str(said), *(str(catalogue.fill(said.code, said.facts, language)) for language in ("ja", "en"))]
        assert not [text for text in texts if "?" in text.replace("「?」", "")]
    else:
        texts = [str(issue) for issue in said.issues] + [str(said.taken.to_json()).replace("'sheet': 'カナリア'", "")]
        assert {issue.code for issue in said.issues} <= set(catalogue.CODES)
    assert not [text for text in texts for canary in CANARIES if canary in text]


@pytest.mark.timeout(0)
@pytest.mark.parametrize("make", [any_damage, damaged_rows, workbook], ids=lambda make: make.__name__)
def test_damaged_files_are_read_or_refused(tmp_path: Path, make: Callable[[random.Random], Made]):
    files = WORKBOOKS if make is workbook else (FILES - WORKBOOKS) // 2
    read = 0
    for number in range(files):
        made = make(random.Random(f"{make.__name__} {number}"))
        said = read_in_time(tmp_path / f"{number}.csv", made.data)
        says_nothing_of_values(said)
        read += isinstance(said, SourceTable)
        if made.untouched:
            assert isinstance(said, SourceTable), (number, said)
            faulty = {issue.import_row_number for issue in said.issues}
            taken = [cells for at, cells in enumerate(said.rows, start=1) if at not in faulty]
            assert [row for row in made.untouched if row not in taken] == [], number
            if number % VALIDATED_ONE_IN == 0:
                accepted = set(validate(said).accepted["order_number"])
                assert {row[0] for row in made.untouched} <= accepted, number
        (tmp_path / f"{number}.csv").unlink()

    assert 0.05 * files < read, "the files are no longer worth reading"
