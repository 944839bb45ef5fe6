"""What office files are written in: recognised with a reason, asked where it is not certain, never mojibake."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_orders_file
from assets.validated_csv.reading.encodings import decoded
from assets.validated_csv.reading.japanese import Iso2022Jp, decode_euc_jp, encode_cp932
from assets.validated_csv.reading.taken import Wishes
from assets.validated_csv.source_table import SourceTable
from domain.errors import FileRefused

HEADER = "order_number,customer_name,email,amount\n"
ROW = "A-1,見本 カロミ,mihon@example.jp,500\n"


def row(name: str) -> str:
    return f"A-2,{name},b@example.jp,500\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def read(path: Path, data: bytes, wish: str | None = None) -> SourceTable:
    path.write_bytes(data)
    return read_orders_file(path, ReadingLimits(), Wishes(encoding=wish))


def refusal(path: Path, data: bytes, wish: str | None = None) -> tuple[str, dict[str, int | float | str]]:
    with pytest.raises(FileRefused) as caught:
        read(path, data, wish)
    return caught.value.code, caught.value.facts


# -- recognised -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "name", "reason"),
    [
        ("utf-8", "utf-8", "READ-ENCODING-ONLY"),
        ("utf-8-sig", "utf-8", "READ-ENCODING-MARK"),
        ("cp932", "cp932", "READ-ENCODING-ONLY"),
        ("euc-jp", "euc-jp", "READ-ENCODING-LIKELY"),
        ("iso-2022-jp", "iso-2022-jp", "READ-ENCODING-ESCAPES"),
        ("utf-16", "utf-16-le", "READ-ENCODING-MARK"),
        ("utf-16-le", "utf-16-le", "READ-ENCODING-ZEROS"),
        ("utf-16-be", "utf-16-be", "READ-ENCODING-ZEROS"),
    ],
)
def test_an_office_file_is_recognised_and_says_why(path: Path, written: str, name: str, reason: str):
    table = read(path, (HEADER + ROW * 3).encode(written))

    assert (table.taken.encoding, table.taken.encoding_reason) == (name, reason)
    assert table.rows == [["A-1", "見本 カロミ", "mihon@example.jp", "500"]] * 3


def test_letters_and_digits_alone_read_alike_in_every_encoding(path: Path):
    assert read(path, (HEADER + row("x")).encode()).taken.encoding_reason == "READ-ENCODING-ASCII"


@pytest.mark.parametrize("name", ["山田", "様", "髙﨑①", "～－①㈱", "ﾔﾏﾀﾞ ﾀﾛｳ", "齋藤", "外字\ue000と\ue757"])
def test_one_short_cell_of_an_office_file_is_enough(path: Path, name: str):
    """Good tools take such files for western ones."""
    table = read(path, (HEADER + row(name)).encode("cp932"))

    assert (table.taken.encoding, table.rows[0][1]) == ("cp932", name)


@pytest.mark.parametrize("name", ["山田", "様", "ヤマダ", "José", "Müller", "齋藤", "😀"])
def test_one_short_cell_of_utf_8_is_enough(path: Path, name: str):
    table = read(path, (HEADER + row(name)).encode())

    assert (table.taken.encoding, table.rows[0][1]) == ("utf-8", name)


def test_the_first_japanese_may_come_far_down(path: Path):
    data = (HEADER + row("x") * 2_000 + ROW).encode("cp932")

    assert read(path, data).rows[-1][1] == "見本 カロミ"


# -- asked ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "candidates"),
    [
        (row("髙").encode("cp932"), "cp932, euc-jp, windows-1252"),
        (row("ｱｲｳ").encode("cp932"), "cp932, windows-1252"),
        (row("山田").encode("euc-jp"), "cp932, euc-jp, windows-1252"),
        (row("ñ").encode(), "utf-8, cp932, euc-jp, windows-1252"),
        (row("Gérard").encode("cp1252"), "cp932, windows-1252"),
        (b"A-1,\xc0\xaf,a@example.jp,500\n", "cp932, euc-jp, windows-1252"),
    ],
    ids=["two octets", "three kana", "two kanji of EUC", "one western letter", "western file", "overlong slash"],
)
def test_too_little_evidence_is_a_question_with_the_candidates(path: Path, data: bytes, candidates: str):
    """Each of these has a reading that is wrong and looks possible."""
    expected = ("FILE-ENCODING-UNSURE", {"candidates": candidates, "line": 3})

    assert refusal(path, (HEADER + row("x")).encode() + data) == expected


@pytest.mark.parametrize(("written", "name"), [("cp932", "髙"), ("euc-jp", "山田"), ("cp1252", "Gérard")])
def test_what_a_person_sets_answers_the_question(path: Path, written: str, name: str):
    wish = {"cp1252": "windows-1252"}.get(written, written)
    table = read(path, (HEADER + row(name)).encode(written), wish)

    assert (table.taken.encoding_reason, table.rows[0][1]) == ("READ-ENCODING-SET", name)


@pytest.mark.parametrize(
    ("data", "wish", "line"),
    [
        ((HEADER + row("x") + ROW).encode("cp932"), "utf-8", 3),
        ((HEADER + row("x") + ROW).encode("cp932"), "euc-jp", 3),
        ((HEADER + ROW).encode("utf-8-sig"), "cp932", 1),
        ((HEADER + ROW).encode("utf-16"), "utf-8", 1),
        ((HEADER + ROW).encode(), "cp932", 2),
    ],
)
def test_a_file_that_is_not_what_was_set_is_refused(path: Path, data: bytes, wish: str, line: int):
    assert refusal(path, data, wish) == ("FILE-ENCODING-SET", {"encoding": wish, "line": line})


def test_what_was_set_does_not_make_mojibake_of_utf_8(path: Path):
    """These octets are possible in CP932 too."""
    data = (HEADER + row("見本")).encode()

    assert decoded(data, "cp932")
    assert refusal(path, data, "cp932")[0] == "FILE-ENCODING-MIXED"


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [("utf-8", "cp932"), ("cp932", "utf-8"), ("utf-8", "euc-jp"), ("euc-jp", "cp932"), ("cp932", "euc-jp")],
)
@pytest.mark.parametrize("name", ["見本 カロミ", "やまだ たろう"])
def test_two_encodings_in_one_file_are_named_with_the_line(path: Path, first: str, second: str, name: str):
    data = (HEADER + row(name) * 2).encode(first) + (row(name) * 2).encode(second)
    code, facts = refusal(path, data)

    assert code == "FILE-ENCODING-MIXED"
    assert {facts["encoding"], facts["other"]} == {first, second}
    assert facts["line"] == (4 if facts["encoding"] == first else 2)


@pytest.mark.parametrize(
    "data",
    [b"A-2,\xc0\xaf,b\n", b"A-2,\xed\xa0\x80,b\n", b"A-2,\xf5\x80\x80\x80,b\n", b"A-2,\xe5\xb1", b"A-2,\xe5\xb1,b\n"],
    ids=["overlong", "surrogate", "beyond Unicode", "cut off at the end", "cut off"],
)
def test_what_is_no_utf_8_is_refused_with_its_line(path: Path, data: bytes):
    assert refusal(path, (HEADER + ROW).encode() + data) == ("FILE-ENCODING", {"line": 3})


@pytest.mark.parametrize("octet", [0x80, 0xA0, 0xFD, 0xFE, 0xFF])
def test_octets_that_python_alone_reads_as_cp932_are_refused(path: Path, octet: int):
    data = (HEADER + ROW + row("Q山")).encode("cp932").replace(b"Q", bytes([octet]))

    assert refusal(path, data) == ("FILE-ENCODING", {"line": 3})


@pytest.mark.parametrize(
    "tail",
    [b"\x00\xd8,\x00", b"a"],
    ids=["lone surrogate", "half a unit"],
)
def test_broken_utf_16_is_refused_with_its_line(path: Path, tail: bytes):
    assert refusal(path, (HEADER + ROW).encode("utf-16") + tail) == ("FILE-ENCODING", {"line": 3})


@pytest.mark.parametrize("sequence", [b"\x1b$B\x7f\x7f", b"\x1b$(D0!", b"\x1b$B8+K\n", b"\x1b$B8\x1b(B"])
def test_broken_iso_2022_jp_is_refused_with_its_line(path: Path, sequence: bytes):
    data = (HEADER + ROW).encode("iso-2022-jp") + b"A-2," + sequence + b"\x1b(B,b@example.jp,500\n"

    assert refusal(path, data) == ("FILE-ENCODING", {"line": 3})


@pytest.mark.parametrize("data", [b"\0\0", HEADER.encode("utf-32"), HEADER.encode() + b"A\0B,x,y,z\n"])
def test_zeros_that_are_no_utf_16_are_no_text(path: Path, data: bytes):
    assert refusal(path, data) in (("FILE-BINARY", {}), ("FILE-ENCODING", {"line": 1}))


# -- the codecs -------------------------------------------------------------------------------------------------------


def test_cp932_is_written_as_windows_writes_it():
    """Python takes the copies that NEC selected: 髙 would become EEE0."""
    assert encode_cp932("髙①～﨑∵㈱￢ⅰ見") == bytes.fromhex("fbfc 8740 8160 fab1 81e6 878a 81ca fa40 8ca9")


def test_no_character_of_cp932_is_written_to_the_copies_of_nec():
    text = "".join(
        sign
        for lead in (*range(0x81, 0xA0), *range(0xE0, 0xFD))
        for trail in range(0x40, 0xFD)
        if len(sign := bytes((lead, trail)).decode("cp932", "replace")) == 1 and sign != "\ufffd"
    )
    written = encode_cp932(text)

    assert decoded(written, "cp932") == text
    assert not [at for at in range(0, len(written), 2) if written[at] in (0xED, 0xEE)]
    assert len([at for at in range(0, len(written), 2) if written[at] in (0xFA, 0xFB, 0xFC)]) > 300


def test_the_same_name_reads_alike_in_every_encoding():
    """Python's EUC-JP lacks ① and reads the wave dash as another sign than CP932 does."""
    name = "①㈱髙～－∥￠￡￢ｱ"
    euc = b"\xad\xa1\xad\xea\xfc\xe2\xa1\xc1\xa1\xdd\xa1\xc2\xa1\xf1\xa1\xf2\xa2\xcc\x8e\xb1"
    jis = b'\x1b$B-!-j|b!A!]!B!q!r"L\x1b(I1\x1b(B'

    assert decode_euc_jp(euc) == name == Iso2022Jp().decode(jis, final=True) == decoded(encode_cp932(name), "cp932")


def test_jis_roman_has_its_own_yen_sign():
    assert Iso2022Jp().decode(b"\x1b(J\\~\x1b(B\\~", final=True) == "¥‾\\~"


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "euc-jp"])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_first_japanese_line_longer_than_the_excerpt_is_not_cut_within_a_character(
    path: Path, encoding: str, shift: int
):
    """A row of many columns of Japanese: half a character at the end of the excerpt refused the whole file."""
    header = HEADER.strip() + "," + ",".join(f"c{number}" for number in range(30)) + "\n"
    cells = ",".join("見本のため長い文章です" * 20 for _ in range(30))
    data = header + "x" * shift + f"A-2,見本,b@example.jp,500,{cells}\n" + f"A-3,x,c@example.jp,500{',' * 30}\n"

    assert read(path, data.encode(encoding)).taken.encoding == encoding
