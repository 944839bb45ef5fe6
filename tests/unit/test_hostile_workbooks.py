"""Workbooks as strangers would send them: a refusal that says what to do, and nothing else happens."""

from __future__ import annotations

import io
import struct
import subprocess
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from assets.validated_csv.reading.workbook_process.archive import inflate
from assets.validated_csv.reading.workbook_process.refusal import Refused
from tests.unit.workbooks import GOOD, HEADER, NS, book, packed, read, refusal, row, written


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"  # whatever it is called


def bomb(path: Path) -> bytes:
    return packed({**book(row(1, *HEADER) + row(2, *GOOD)), "xl/media/x.bin": b"\0" * 60_000_000})


def hollow_sheet(path: Path) -> bytes:
    """Two cells, between them seventeen thousand million."""
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    return packed(book(row(1, *HEADER) + row(2, *GOOD) + far))


def many_entries(path: Path) -> bytes:
    return packed({**book(row(1, *HEADER)), **{f"x/{n}": "" for n in range(1_100)}})


def lying_size(path: Path) -> bytes:
    """A sheet that says it unpacks to less than it does."""
    data = packed(book(row(1, *HEADER) + row(2, *GOOD)))
    size = struct.pack("<I", len(book(row(1, *HEADER) + row(2, *GOOD))["xl/worksheets/sheet1.xml"].encode()))
    assert size in data
    return data.replace(size, struct.pack("<I", 10))


def overlapping(path: Path) -> bytes:
    """Two entries of the directory that share the same octets."""
    data = bytearray(packed({"a.xml": "a" * 1_000, "b.xml": "b" * 1_000}))
    second = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, second + 42, 0)
    return bytes(data)


def twins(path: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive = io.BytesIO(packed(book(row(1, *HEADER) + row(2, *GOOD))))
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr("XL/worksheets/sheet1.xml", "other")
    return archive.getvalue()


def entities(path: Path) -> bytes:
    """A thousand million laughs."""
    parts = book(row(1, *HEADER) + row(2, *GOOD))
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    parts["xl/sharedStrings.xml"] = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><sst {NS}><si><t>&l8;</t></si></sst>'
    return packed(parts)


def outside_entity(path: Path) -> bytes:
    parts = book(row(1, *HEADER) + row(2, *GOOD))
    parts["xl/sharedStrings.xml"] = (
        f'<!DOCTYPE x [<!ENTITY f SYSTEM "file://{path}">]><sst {NS}><si><t>&f;</t></si></sst>'
    )
    return packed(parts)


def nested(path: Path) -> bytes:
    """Archives within an archive: none of them is ever opened."""
    inner = packed({"x.bin": b"\0" * 5_000_000})
    return packed({f"{number}.zip": inner for number in range(16)})


def in_utf_16(path: Path) -> bytes:
    """A sheet that would be looked through without being understood."""
    parts: dict[str, str | bytes] = {**book(row(1, *HEADER) + row(2, *GOOD))}
    parts["xl/worksheets/sheet1.xml"] = (
        str(parts["xl/worksheets/sheet1.xml"]).replace("UTF-8", "UTF-16").encode("utf-16")
    )
    return packed(parts)


def other_office(path: Path) -> bytes:
    """LibreOffice's own format: the library reads it, but nobody would see its errors."""
    cells = "".join(
        f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>' for cell in HEADER
    )
    content = (
        '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
        f'<table:table table:name="s">{f"<table:table-row>{cells}</table:table-row>" * 2}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return packed({"mimetype": kind, "META-INF/manifest.xml": manifest, "content.xml": content})


def encrypted(path: Path) -> bytes:
    """As Excel saves a workbook that needs a password to open: no archive, but an old container with two streams."""
    names = ["Root Entry", "EncryptionInfo", "EncryptedPackage"]
    directory = b"".join(
        name.encode("utf-16-le").ljust(64, b"\0")
        + struct.pack(
            "<HBBiii", 2 * len(name) + 2, 5 if at == 0 else 2, 1, -1, 2 if at == 1 else -1, 1 if at == 0 else -1
        )
        + bytes(36)
        + struct.pack("<iQ", -2 if at == 0 else 2 + 8 * (at - 1), 0 if at == 0 else 4_096)
        for at, name in enumerate(names)
    ).ljust(512, b"\0")
    chains = [-3, -2] + [number if (number - 2) % 8 else -2 for number in range(3, 19)]
    table = struct.pack(f"<{len(chains)}i", *chains).ljust(512, b"\xff")
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
    head += bytes(6) + struct.pack("<iiiiiiiii", 0, 1, 1, 0, 4_096, -2, 0, -2, 0) + struct.pack("<i", 0)
    return head.ljust(512, b"\xff") + table + directory + bytes(16 * 512)


def with_password(path: Path) -> bytes:
    data = bytearray(packed({"xl/workbook.xml": "x"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (bomb, "FILE-WORKBOOK-TOO-LARGE"),
        (hollow_sheet, "FILE-WORKBOOK-TOO-LARGE"),
        (many_entries, "FILE-WORKBOOK-TOO-LARGE"),
        (lying_size, "FILE-WORKBOOK-BROKEN"),
        (overlapping, "FILE-WORKBOOK-UNSAFE"),
        (twins, "FILE-WORKBOOK-UNSAFE"),
        (entities, "FILE-WORKBOOK-UNSAFE"),
        (outside_entity, "FILE-WORKBOOK-UNSAFE"),
        (with_password, "FILE-WORKBOOK-PROTECTED"),
        (encrypted, "FILE-WORKBOOK-PROTECTED"),
        (nested, "FILE-WORKBOOK-BROKEN"),
        (in_utf_16, "FILE-WORKBOOK-UNSAFE"),
        (other_office, "FILE-WORKBOOK-BROKEN"),
        (lambda path: b"PK\x03\x04 and no archive", "FILE-WORKBOOK-BROKEN"),
        (lambda path: packed(book(row(1, *HEADER)))[:-30], "FILE-WORKBOOK-BROKEN"),
        (lambda path: packed({"readme.txt": "no workbook"}), "FILE-WORKBOOK-BROKEN"),
        (lambda path: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 2_000, "FILE-WORKBOOK-BROKEN"),
        (lambda path: packed(book(row(1, '<c @ t="s"><v>9</v></c>'))), "FILE-WORKBOOK-BROKEN"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_hostile_or_broken_workbook_costs_its_own_import_and_little_of_that(
    path: Path, make: Callable[[Path], bytes], code: str
):
    """Nor does anything of it appear anywhere, or a process stay behind."""
    before = psutil.Process().memory_info().rss
    children = psutil.Process().children()
    error = refusal(path, make(path))

    assert (error.code, error.facts) == (code, {})
    assert psutil.Process().memory_info().rss - before < 200_000_000
    assert set(psutil.Process().children()) <= set(children)


def test_what_an_archive_holds_beside_the_workbook_goes_nowhere(path: Path):
    """Names that lead out of a folder are never unpacked: nothing is, to any file."""
    parts = {**book(row(1, *HEADER) + row(2, *GOOD)), "../../outside.txt": "x", "/tmp/outside.txt": "x"}

    assert read(path, parts).row_count == 1
    assert [p.name for p in path.parent.iterdir()] == ["orders.csv"]


def link_out(path: Path) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("xl/media/link")
    entry.external_attr = 0o120777 << 16
    return entry


def test_macros_links_and_commands_are_neither_run_nor_followed(path: Path):
    """A link to a file of ours, a program in the workbook, a formula that would start one: its result is a cell."""
    command = "<c @ t=\"str\"><f>cmd|'/C calc'!A0</f><v>A-1</v></c>"
    data = io.BytesIO(packed({**book(row(1, *HEADER) + row(2, command, *GOOD[1:])), "xl/vbaProject.bin": b"\xcc\x61"}))
    with zipfile.ZipFile(data, "a") as file:
        file.writestr(link_out(path), "/etc/passwd")
        file.writestr("xl/externalLinks/externalLink1.xml", "<externalLink><ddeLink ddeService='cmd'/></externalLink>")

    assert read(path, data.getvalue()).rows[0][0] == "A-1"


def test_reading_ends_when_its_time_is_over(path: Path):
    started = time.monotonic()
    rows = row(1, *HEADER) + row(2, *GOOD) * 150_000
    error = refusal(path, book(rows), max_seconds=0.3, max_workbook_ratio=10_000)

    assert error.code == "FILE-TIME-LIMIT"
    assert time.monotonic() - started < 30


def test_each_limit_counts(path: Path):
    data = packed(book(row(1, *HEADER) + row(2, *GOOD) * 3))

    assert refusal(path, data, max_workbook_entries=5).code == "FILE-WORKBOOK-TOO-LARGE"
    assert refusal(path, data, max_workbook_unpacked_bytes=1_000).code == "FILE-WORKBOOK-TOO-LARGE"
    assert refusal(path, data, max_columns=3).code == "FILE-TOO-MANY-COLUMNS"
    assert refusal(path, data, max_bytes=100).code == "FILE-TOO-LARGE"
    assert refusal(path, written(("s", [HEADER, GOOD, GOOD], False)), max_rows=1).facts == {"rows": 2, "limit": 1}


def test_the_process_that_reads_knows_nothing_of_ours(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither our keys in the environment, nor our open files."""
    seen: list[dict[str, Any]] = []
    popen = subprocess.Popen

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.append(options)
        return popen(*arguments, **options)

    monkeypatch.setenv("BULK_ORDERS_ENCRYPTION_KEY", "secret")
    monkeypatch.setattr(subprocess, "Popen", watched)
    assert read(path, book(row(1, *HEADER) + row(2, *GOOD))).row_count == 1

    (options,) = seen
    assert options["env"] == {}
    assert options.get("close_fds", True)
    assert len(options["pass_fds"]) == 1


def test_inflating_stops_where_the_directory_says(path: Path):
    """Counted while it is unpacked, not after."""
    data = packed({"a.xml": "a" * 5_000_000})
    entry = zipfile.ZipFile(io.BytesIO(data)).infolist()[0]
    entry.file_size = 2_000_000
    seen = [0]

    def unpack() -> None:
        for chunk in inflate(data, entry):
            seen.append(len(chunk))

    with pytest.raises(Refused):
        unpack()
    assert 0 < sum(seen) <= 2_000_000
