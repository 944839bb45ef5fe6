"""Thousands of damaged files: each is read or refused with a code, in time, and says nothing of what is in it.

Every file follows from the seed and its number, so a failing one can be made again. ``BULK_ORDERS_FUZZ_FILES`` sets how
many, ``BULK_ORDERS_FUZZ_SEED`` the seed; the long campaign is ``make fuzz``, which tells what became of the files.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import random
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import xlsxwriter

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.source_table import SourceTable
from assets.validated_csv.validation import validate
from domain import catalogue
from domain.errors import FileRefused

FILES = int(os.environ.get("BULK_ORDERS_FUZZ_FILES", "1000"))
SEED = os.environ.get("BULK_ORDERS_FUZZ_SEED", "1")
EVERYDAY = 1_000
WORKBOOKS = FILES // 50  # of each kind: each costs a process
HEADER = ["order_number", "customer_name", "email", "amount", "note"]
CANARIES = ("カナリア", "canary", "Ｃ９０")
LIMITS = ReadingLimits(max_rows=200, max_seconds=20, max_cell_characters=500)
SECONDS = 60  # only what hangs takes so long
VALIDATED_ONE_IN = 10  # validation takes longer than reading

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


# -- text -------------------------------------------------------------------------------------------------------------


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
    return [*cells[:4], "長x" * 300]


def _garbled(cells: list[str]) -> list[str]:
    return [*cells[:3], "\ufffd", ""]


def _blank(cells: list[str]) -> list[str]:
    return [" "] * 5


def _values(cells: list[str]) -> list[str]:
    return ["B-1", "", "canary(at)example.jp", "1,000円?", "'; DROP TABLE orders;--"]


def _excel(cells: list[str]) -> list[str]:
    return ["2.01E+10", *cells[1:3], "#SPILL!", cells[4]]


ROW_DAMAGES: tuple[Callable[[list[str]], list[str]], ...] = (
    *(_extra, _short, _control, _long, _garbled, _blank, _values, _excel),
)


def damaged_rows(rng: random.Random) -> Made:
    """Good and bad rows mixed: every good one must be taken."""
    rows = [good_row(number) for number in range(rng.randrange(2, 40))]
    bad = set(rng.sample(range(len(rows)), rng.randrange(len(rows))))
    damaged = [rng.choice(ROW_DAMAGES)(row) if at in bad else row for at, row in enumerate(rows)]
    text, encoding = as_text([HEADER, *damaged], rng), rng.choice(ENCODINGS)
    good = [row for at, row in enumerate(rows) if at not in bad]
    try:
        return Made(text.encode(encoding), good)
    except UnicodeEncodeError:  # some damage exists in Unicode alone
        return Made(text.encode(), good)


# -- workbooks --------------------------------------------------------------------------------------------------------


def _packed(parts: Mapping[str, bytes | bytearray]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, part in parts.items():
            file.writestr(name, bytes(part))
    return archive.getvalue()


def _parts_of(archive: bytes) -> dict[str, bytearray]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: bytearray(file.read(name)) for name in file.namelist()}


def _written(rows: list[list[str]]) -> bytes:
    data = io.BytesIO()
    with xlsxwriter.Workbook(data) as book:
        sheet = book.add_worksheet("注文")
        for at, row in enumerate(rows):
            sheet.write_row(at, 0, row)
    return data.getvalue()


def workbook(rng: random.Random) -> Made:
    """A workbook whose archive, or whose XML, was changed somewhere."""
    data = bytearray(_written([HEADER, *(good_row(number) for number in range(rng.randrange(1, 20)))]))
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return Made(bytes(data), [])
    parts = _parts_of(bytes(data))
    for _ in range(rng.choice((1, 3, 10))):
        part = parts[rng.choice(["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", *parts])]
        at = rng.randrange(len(part))
        part[at : at + rng.choice((0, 1, 20))] = rng.choice((*PIECES, *XML_PIECES))
    return Made(_packed(parts), [])


CELL_DAMAGES = (
    '<c r="{}" t="e"><v>#SPILL!</v></c>',
    '<c r="{}" t="e"><f>X1</f><v>#FIELD!</v></c>',
    '<c r="{}" t="e"/>',
    '<c r="{}"><f>1+1</f></c>',
    '<c r="{}" t="inlineStr"><is><t>a\u200bb</t></is></c>',
    '<c r="{}" t="inlineStr"><is><t>' + "長" * 600 + "</t></is></c>",
    '<c r="{}" t="inlineStr"><is><t>#VALUE!</t></is></c>',
)


def damaged_cells(rng: random.Random) -> Made:
    """A workbook with single damaged cells: every other row must be taken."""
    rows = [good_row(number) for number in range(rng.randrange(2, 40))]
    bad = set(rng.sample(range(len(rows)), rng.randrange(len(rows))))
    sheet = _sheet_row(1, HEADER, "", -1) + "".join(
        _sheet_row(at + 2, row, rng.choice(CELL_DAMAGES), rng.randrange(4) if at in bad else -1)
        for at, row in enumerate(rows)
    )
    parts = _parts_of(_written([]))
    name = "xl/worksheets/sheet1.xml"
    parts[name] = parts[name].replace(b"<sheetData/>", f"<sheetData>{sheet}</sheetData>".encode())
    return Made(_packed(parts), [row for at, row in enumerate(rows) if at not in bad])


def _sheet_row(number: int, cells: list[str], damage: str, damaged: int) -> str:
    written = [
        damage.format(f"{'ABCDE'[at]}{number}")
        if at == damaged
        else f'<c r="{"ABCDE"[at]}{number}" t="inlineStr"><is><t xml:space="preserve">{escape(cell)}</t></is></c>'
        for at, cell in enumerate(cells)
    ]
    return f'<row r="{number}">{"".join(written)}</row>'


# -- what must hold ---------------------------------------------------------------------------------------------------


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
        texts = [*map(str, said.issues), str(replace(said.taken, sheet=""))]
        assert {issue.code for issue in said.issues} <= set(catalogue.CODES)
    assert not [text for text in texts for canary in CANARIES if canary in text]


def holds_all_good_rows(table: SourceTable, good: list[list[str]], *, validated: bool) -> None:
    faulty = {issue.import_row_number for issue in table.issues}
    taken = [cells for at, cells in enumerate(table.rows, start=1) if at not in faulty]

    assert [row for row in good if row not in taken] == []
    if validated:
        assert {row[0] for row in good} <= set(validate(table).accepted["order_number"])


MAKERS: dict[Callable[[random.Random], Made], int] = {
    any_damage: FILES // 2 - WORKBOOKS,
    damaged_rows: FILES // 2 - WORKBOOKS,
    workbook: WORKBOOKS,
    damaged_cells: WORKBOOKS,
}


@pytest.mark.timeout(0)
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_damaged_files_are_read_or_refused(
    tmp_path: Path,
    make: Callable[[random.Random], Made],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    caplog.set_level(logging.DEBUG)
    told: Counter[str] = Counter()
    for number in range(MAKERS[make]):
        made = make(random.Random(f"{SEED} {make.__name__} {number}"))
        said = read_in_time(tmp_path / "orders.csv", made.data)
        says_nothing_of_values(said)
        told["read" if isinstance(said, SourceTable) else said.code] += 1
        if made.untouched:
            assert isinstance(said, SourceTable), (number, said)
            holds_all_good_rows(said, made.untouched, validated=number % VALIDATED_ONE_IN == 0)
        elif isinstance(said, SourceTable) and number % VALIDATED_ONE_IN == 0:
            validate(said)
    output = caplog.text + "".join(capfd.readouterr())

    assert not [canary for canary in CANARIES if canary in output]
    assert "Traceback" not in output
    assert 0.05 * MAKERS[make] < told["read"], "the files are no longer worth reading"
    if FILES > EVERYDAY:
        with capfd.disabled():
            sys.stdout.write(f"\nseed {SEED}, {make.__name__}, {MAKERS[make]:,} files: {dict(told.most_common())}\n")
