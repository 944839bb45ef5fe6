"""What the process that reads workbooks does by itself, so as not to import what takes longer than the reading."""

import io
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import python_calamine
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.validated_csv.reading.workbook_process import cell_text, directory, talk
from assets.validated_csv.reading.workbook_process.cell_text import as_text
from assets.validated_csv.reading.workbook_process.directory import Entry, entries_of, plain_entries
from assets.validated_csv.reading.workbook_process.refusal import Refused
from tests.unit.workbooks import GOOD, HEADER, written

ROOT = Path(directory.__file__).parents[4]


def archive(names: tuple[str, ...] = ("xl/workbook.xml", "[Content_Types].xml", "a"), comment: bytes = b"") -> bytes:
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, name * 50)
        file.comment = comment
    return octets.getvalue()


def told(entries: list[Entry]) -> list[tuple[object, ...]]:
    return [tuple(getattr(entry, name) for name in Entry.__slots__) for entry in entries]


def told_by_python(octets: bytes) -> list[tuple[object, ...]] | None:
    try:
        found = zipfile.ZipFile(io.BytesIO(octets)).infolist()
    except Exception:
        return None
    return [tuple(getattr(entry, name) for name in Entry.__slots__) for entry in found]


# -- the directory of an archive --------------------------------------------------------------------------------------


def test_an_ordinary_directory_is_read_without_pythons_module(monkeypatch: pytest.MonkeyPatch):
    octets = archive()
    expected = told_by_python(octets)
    monkeypatch.setitem(sys.modules, "zipfile", None)

    assert told(entries_of(octets)) == expected


@pytest.mark.parametrize(
    "octets",
    [archive(comment=b"x"), b"PK\x03\x04 before it" + archive(), archive(("日本.xml",))],
)
def test_any_other_directory_is_left_to_pythons_module(octets: bytes):
    assert plain_entries(octets) is None
    assert told(entries_of(octets)) == told_by_python(octets)


@pytest.mark.parametrize("octets", [b"", b"PK\x05\x06", archive()[:-30]])
def test_an_archive_without_its_end_is_broken(octets: bytes):
    with pytest.raises(Refused, match="FILE-WORKBOOK-BROKEN"):
        entries_of(octets)


@given(st.integers(0, 2**32))
@settings(max_examples=400, derandomize=True, deadline=None)
def test_where_it_answers_pythons_module_says_the_same(seed: int):
    """However its octets were changed."""
    rng = random.Random(seed)
    octets = bytearray(archive())
    for _ in range(rng.randint(1, 4)):
        octets[rng.randrange(len(octets) // 3, len(octets))] = rng.choice([0, 1, 0xFF, rng.randrange(256)])
    found = plain_entries(bytes(octets))

    assert found is None or told(found) == told_by_python(bytes(octets))


# -- answers ----------------------------------------------------------------------------------------------------------

SAID = st.recursive(
    st.one_of(st.text(), st.integers()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(SAID)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_answers_are_json(said: object):
    assert json.loads(talk.as_json(said)) == said


def test_a_number_is_written_the_same_whether_it_came_before_or_not(monkeypatch: pytest.MonkeyPatch):
    """True and 1 and 1.0 are equal, and written each in its own way; what is remembered has a limit."""
    monkeypatch.setattr(cell_text, "_REMEMBERED", 3)
    row = [1.0, True, 1, "1", None, -0.0, 0.1, 1e20, float("nan"), float("inf"), 123456.0]
    expected = ["1", "TRUE", "1", "1", "", "0", "0.1", "1E+20", "#NUM!", "#NUM!", "123456"]

    assert [as_text(row), as_text(row[::-1]), as_text(row)] == [expected, expected[::-1], expected]


# -- the process ------------------------------------------------------------------------------------------------------


def test_a_plain_workbook_is_read_without_the_imports_that_take_long(tmp_path: Path):
    """They took 75 ms, as long as half of reading 10,000 rows."""
    path = tmp_path / "orders.xlsx"
    path.write_bytes(written(("orders", [list(HEADER), GOOD], False)))
    script = f"""
import sys
sys.path += [{str(ROOT)!r}, {str(Path(python_calamine.__file__).parents[1])!r}]
from assets.validated_csv.reading.workbook_process import talk
from assets.validated_csv.reading.workbook_process.archive import checked_archive
from assets.validated_csv.reading.workbook_process.sheets import sheets_of
octets = open({str(path)!r}, "rb").read()
sheets, _ = sheets_of(octets, checked_archive(octets, dict(entries=100, unpacked_bytes=10**8, ratio=100)), None)
print([cells for _, cells in sheets[1].rows()][1][3], *sorted(sys.modules))
"""
    said = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True).stdout

    assert said.startswith("500 ")
    assert {"json", "re", "dataclasses", "zipfile", "typing", "datetime", "xml.etree"}.isdisjoint(said.split())
