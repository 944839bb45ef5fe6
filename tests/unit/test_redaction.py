"""An archived text without some of its records: nothing of them to be read, every other octet where it was."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from assets.validated_csv.reading.encodings import CP932, EUC_JP, ISO_2022_JP, UTF_8, UTF_16_BE, UTF_16_LE
from assets.validated_csv.reading.originals import redacted
from assets.validated_csv.reading.taken import Taken
from resources.redaction import destroy_copies, holding, replace_archive

LINES = [
    "番号,氏名,メモ\r\n",
    "1,山田 花子,\r\n",
    '2,佐藤 一郎,"一行目\r\n二行目, ""花子"" \r\n"\r\n',
    "3,山田 花子,終\r\n",
    "4,佐藤 一郎,終",
]
AT = [1, 2, 3, 6, 7]
"""The lines at which they begin."""

ENCODINGS = [UTF_8, CP932, EUC_JP, ISO_2022_JP, UTF_16_LE, UTF_16_BE]


def pieces(encoding: str) -> list[bytes]:
    found = [line.encode(encoding) for line in LINES]
    found[0] = {UTF_16_LE: codecs.BOM_UTF16_LE, UTF_16_BE: codecs.BOM_UTF16_BE}.get(encoding, b"") + found[0]
    return found


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("gone", [[2], [1, 2, 4], []])
def test_each_record_is_found_and_no_other_is_touched(tmp_path: Path, encoding: str, gone: list[int]) -> None:
    """Also one of several lines, and one that looks like another."""
    path, before = tmp_path / "source.csv", pieces(encoding)
    path.write_bytes(b"".join(before))
    taken = Taken(kind="csv", header_row=1, encoding=encoding, delimiter=",")

    after = b"".join(redacted(path, taken, {AT[record] for record in gone}))

    assert len(after) == sum(map(len, before))
    begin = 0
    for record, octets in enumerate(before):
        here = after[begin : begin + len(octets)]
        begin += len(octets)
        assert (here == octets) == (record not in gone)
        if record in gone:
            assert set(here.decode("ascii" if encoding not in (UTF_16_LE, UTF_16_BE) else encoding)) <= set("x\r\n")
    if encoding not in (UTF_16_LE, UTF_16_BE):
        assert after.count(b"\n") == b"".join(before).count(b"\n")


def test_what_was_there_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "source.xlsx"
    path.write_bytes(b"secret" * 1_000)
    path.chmod(0o400)
    with path.open("rb") as before:
        digest = replace_archive(path, [b"gone"], "source.erased")
        assert set(before.read()) == {0}

    assert [(p.name, p.read_bytes(), p.stat().st_mode & 0o777) for p in tmp_path.iterdir()] == [
        ("source.erased", b"gone", 0o400)
    ]
    assert len(digest) == 32


def test_copies_are_known_by_their_octets(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    same, other = tmp_path / "a" / "1.csv", tmp_path / "a" / "2.csv"
    same.write_bytes(b"same")
    other.write_bytes(b"other, with a@example.jp in it")
    from hashlib import sha256

    assert holding(tmp_path, [b"a@example.jp"]) == 1
    assert destroy_copies(tmp_path, {sha256(b"same").digest()}) == 1
    assert (same.exists(), other.exists()) == (False, True)
    assert destroy_copies(tmp_path / "none", {b""}) == 0
