"""Files that break in every way a file can, each full of canaries."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping

from evidence.leaks.canaries import HEADER, WRITTEN, Flock, csv_octets

_ROWS = 12


def _rows(flock: Flock, place: str, *, bad: bool = False) -> list[dict[str, str]]:
    return [flock.row(n, place, fault=n if bad else None) for n in range(1, _ROWS + 1)]


def _without_header(flock: Flock) -> bytes:
    """The first row is somebody."""
    return csv_octets(_rows(flock, "no header")).split(b"\r\n", 1)[1]


def _names_as_columns(flock: Flock) -> bytes:
    """A sheet on its side: persons where the names of columns belong."""
    rows = _rows(flock, "turned")
    lines = [",".join(f'"{row[column]}"'.replace('""', "'") for row in rows) for column in ("customer_name", *WRITTEN)]
    return "\r\n".join(lines).encode()


def _twice_the_column(flock: Flock) -> bytes:
    text = csv_octets(_rows(flock, "column twice"))
    return text.replace(b"item_code", b"email", 1)


def _torn(flock: Flock) -> bytes:
    """A quote that never ends."""
    text = csv_octets(_rows(flock, "torn quote"))
    return text + b'"' + flock.value("note", "torn quote").encode() + b"\r\n" + text


def _mixed_encodings(flock: Flock) -> bytes:
    good = csv_octets(_rows(flock, "half UTF-8"))
    return good + csv_octets(_rows(flock, "half CP932"), "cp932").split(b"\r\n", 1)[1]


def _with_nul(flock: Flock) -> bytes:
    return csv_octets(_rows(flock, "NUL")).replace(b"JPY", b"J\0PY", 3)


def _long_cell(flock: Flock) -> bytes:
    rows = _rows(flock, "long cell")
    rows[3]["note"] = flock.value("note", "long cell") * 2_000
    return csv_octets(rows)


def _short_and_long_lines(flock: Flock) -> bytes:
    lines = csv_octets(_rows(flock, "ragged")).decode().split("\r\n")
    lines[2], lines[4] = lines[2] + "," + flock.value("address", "ragged"), lines[4].rsplit(",", 3)[0]
    return "\r\n".join(lines).encode()


def _workbook(flock: Flock, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """A workbook as an office makes it, and something done to its parts."""
    import xlsxwriter

    made = io.BytesIO()
    with xlsxwriter.Workbook(made, {"in_memory": True}) as book:
        sheet = book.add_worksheet("注文")  # its name is told with every row, like the file's
        sheet.write_row(0, 0, HEADER)
        for at, row in enumerate(_rows(flock, "workbook"), start=1):
            sheet.write_row(at, 0, [row[name] for name in HEADER])
        sheet.write_comment(1, 1, flock.value("note", "comment"), {"author": flock.value("LINE ID", "author")})
        book.set_properties({"author": flock.value("LINE ID", "property"), "comments": flock.value("note", "property")})
    parts: dict[str, bytes] = {}
    with zipfile.ZipFile(made) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    again = io.BytesIO()
    with zipfile.ZipFile(again, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in parts.items():
            archive.writestr(name, octets)
    return again.getvalue()


def _as_it_is(_: dict[str, bytes]) -> None:
    pass


def _broken_xml(parts: dict[str, bytes]) -> None:
    parts["xl/sharedStrings.xml"] = parts["xl/sharedStrings.xml"][:-40]


def _wrong_reference(parts: dict[str, bytes]) -> None:
    sheet = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b"<v>3</v>", b"<v>999999</v>").replace(b't="s"', b't="e"', 5)


HOSTILE: Mapping[str, Callable[[Flock], bytes]] = {
    "no-header.csv": _without_header,
    "turned.csv": _names_as_columns,
    "column-twice.csv": _twice_the_column,
    "torn.csv": _torn,
    "mixed.csv": _mixed_encodings,
    "nul.csv": _with_nul,
    "long-cell.csv": _long_cell,
    "ragged.csv": _short_and_long_lines,
    "all-bad.csv": lambda flock: csv_octets(_rows(flock, "all bad", bad=True)),
    "cp932.csv": lambda flock: csv_octets(_rows(flock, "cp932"), "cp932"),
    "utf-16.csv": lambda flock: csv_octets(_rows(flock, "utf-16"), "utf-16"),
    "iso-2022.csv": lambda flock: csv_octets(_rows(flock, "iso-2022"), "iso2022_jp"),
    "book.xlsx": lambda flock: _workbook(flock, _as_it_is),
    "broken.xlsx": lambda flock: _workbook(flock, _broken_xml),
    "wrong.xlsx": lambda flock: _workbook(flock, _wrong_reference),
    "cut.xlsx": lambda flock: _workbook(flock, _as_it_is)[:-200],
    "no-book.xlsx": lambda flock: csv_octets(_rows(flock, "no book")),
    "only-canaries.bin": lambda flock: "\n".join(flock.value("note", "binary") for _ in range(20)).encode(),
}
"""By the name under which each is dropped."""
