"""The search for canaries finds them however they are hidden, and takes nothing else for one."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import quopri
import random
import unicodedata
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable

import pytest

from evidence.leaks import canaries
from evidence.leaks.canaries import Flock
from evidence.leaks.search import search, search_raw


def hiragana(text: str) -> str:
    return "".join(chr(ord(sign) - 0x60) if "ァ" <= sign <= "ヶ" else sign for sign in text)


def half_width(text: str) -> str:
    """As old systems write kana; both signs of the mark have no such form and stay."""
    table = {unicodedata.normalize("NFKC", chr(code)): chr(code) for code in range(0xFF66, 0xFF9E)}
    return "".join(table.get(sign, sign) for sign in text)


def zipped(octets: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", octets)
    return made.getvalue()


HIDINGS: dict[str, Callable[[str], bytes]] = {
    "raw": lambda text: text.encode(),
    "upper case": lambda text: text.upper().encode(),
    "hiragana": lambda text: hiragana(text).encode(),
    "half-width kana": lambda text: half_width(text).encode(),
    "composed otherwise": lambda text: unicodedata.normalize("NFKD", text).encode(),
    "repr": lambda text: ascii(text).encode(),
    "JSON": lambda text: json.dumps({"x": text}).encode(),
    "JSON in JSON": lambda text: json.dumps({"x": json.dumps([text])}).encode(),
    "URL": lambda text: urllib.parse.quote(text, safe="").encode(),
    "URL, CP932": lambda text: urllib.parse.quote(text.encode("cp932"), safe="").encode(),
    "form": lambda text: urllib.parse.urlencode({"q": text}).encode(),
    "HTML": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace"),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 of a part of something": lambda text: b"x" + base64.b64encode(b"a:" + text.encode() + b"!"),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(json.dumps({"to": text}, ensure_ascii=False).encode()),
    "hexadecimal": lambda text: b"\\x" + text.encode().hex().encode(),
    "octal": lambda text: "".join(f"\\{octet:03o}" for octet in text.encode()).encode(),
    "repr of octets": lambda text: repr(text.encode()).encode(),
    "quoted-printable": lambda text: quopri.encodestring(text.encode()),
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "UTF-16, odd place": lambda text: b"x" + text.encode("utf-16-be"),
    "CP932": lambda text: text.encode("cp932"),
    "EUC-JP": lambda text: text.encode("euc_jp"),
    "zlib": lambda text: zlib.compress(text.encode()),
    "gzip": lambda text: gzip.compress(text.encode()),
    "zip": lambda text: zipped(text.encode()),
    "base64 of zlib": lambda text: base64.b64encode(zlib.compress(text.encode())),
}


@pytest.mark.parametrize("hiding", HIDINGS)
@pytest.mark.parametrize("write", [canaries.letters, canaries.kana, canaries.phone])
def test_a_canary_is_found_however_it_is_hidden(hiding: str, write: Callable[[int], str]):
    flock = Flock()
    for _ in range(4_812):
        flock.fresh("note", "row")
    text = f"担当 {write(4_811)} です" if hiding.startswith(("JSON", "raw", "UTF-16")) else write(4_811)

    found = list(search(flock, "sink", "here", HIDINGS[hiding](text)))

    assert [one.number for one in found] == [4_811]
    assert write(4_811) not in found[0].said(flock)


@pytest.mark.parametrize("column", canaries.WRITTEN)
def test_every_way_of_writing_a_column_is_recognised(column: str):
    flock = Flock()

    for _ in range(6):
        value = flock.value(column, "row")
        assert [one.number for one in search(flock, "s", "w", value.encode())] == [len(flock) - 1]
        assert {one.number for one in search_raw(flock, "s", "w", b"\0" + value.encode())} <= {len(flock) - 1}


def test_digests_times_and_numbers_are_no_canaries():
    """A hundred thousand canaries would otherwise be found in every log."""
    flock = Flock()
    for _ in range(100_000):
        flock.fresh("phone", "row")
    rng = random.Random(1)
    lines = [f"{rng.randbytes(32).hex()} 2026-01-15T09:07{rng.random()} {rng.randrange(10**16)}" for _ in range(3_000)]

    assert list(search(flock, "s", "w", "\n".join(lines).encode())) == []


def test_a_token_that_nobody_planted_is_none():
    assert list(search(Flock(), "s", "w", canaries.letters(7).encode())) == []
