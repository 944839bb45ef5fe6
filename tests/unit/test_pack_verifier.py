"""The script inside a pack: its cryptography agrees with the library, its container is a zip, it never crashes."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.pack import verify_pack

SCRIPT = Path(verify_pack.__file__)


def test_signatures_are_judged_as_the_library_judges_them() -> None:
    rng = random.Random(4)
    for size in (0, 1, 31, 1000):
        key = Ed25519PrivateKey.generate()
        public, content = key.public_key().public_bytes_raw(), rng.randbytes(size)
        signature = key.sign(content)
        spoilt = bytearray(signature)
        spoilt[rng.randrange(64)] ^= 1 << rng.randrange(8)

        assert verify_pack.signed_by(public, content, signature)
        assert not verify_pack.signed_by(public, content, bytes(spoilt))
        assert not verify_pack.signed_by(public, content + b"x", signature)
        assert not verify_pack.signed_by(os.urandom(32), content, signature)


def test_a_signature_has_one_form() -> None:
    """The answer plus the group's order would verify too, and must not: every byte of a pack counts."""
    key = Ed25519PrivateKey.generate()
    signature = key.sign(b"x")
    order = 2**252 + 27742317777372353535851937790883648493
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")

    assert not verify_pack.signed_by(key.public_key().public_bytes_raw(), b"x", other)


def test_the_container_is_a_zip_that_everybody_reads() -> None:
    parts = {"a.txt": b"one", "source/注文.csv": os.urandom(3000), "empty": b""}
    octets = verify_pack.container(parts.items())

    with zipfile.ZipFile(io.BytesIO(octets)) as read:
        assert read.testzip() is None
        assert {name: read.read(name) for name in read.namelist()} == parts
        assert {info.external_attr >> 16 for info in read.infolist()} == {0o100600}
    assert verify_pack.opened(octets) == parts


def test_rubbish_is_no_pack_and_no_crash() -> None:
    rng = random.Random(9)
    good = verify_pack.container([("manifest.json", b"{}"), ("manifest.signature.json", b"[]")])
    rubbish = [b"", b"PK", good, good[:-3], *(rng.randbytes(size) for size in (1, 22, 500))]
    rubbish += [good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :] for at in range(len(good))]

    assert all(verify_pack.verify(octets)[1] for octets in rubbish)


@pytest.mark.parametrize("value", ["null", "[]", "{}", '{"files": 1}', '{"files": {"x": {}}}', "[" * 50_000, "\xff"])
def test_a_signed_manifest_that_makes_no_sense_is_no_crash(value: str) -> None:
    key = Ed25519PrivateKey.generate()
    manifest = value.encode("latin-1")
    signature = {"public_key": key.public_key().public_bytes_raw().hex(), "signature": key.sign(manifest).hex()}
    parts = [("manifest.json", manifest), ("manifest.signature.json", verify_pack.canonical(signature))]

    assert verify_pack.verify(verify_pack.container(parts))[1]


def test_the_script_needs_nothing_but_python(tmp_path: Path) -> None:
    """Isolated from everything that is installed, and from us."""
    script = tmp_path / "verify.py"
    script.write_bytes(SCRIPT.read_bytes())
    (tmp_path / "x.zip").write_bytes(b"no zip")
    command = [sys.executable, "-I", "-S", str(script)]
    found = subprocess.run([*command, str(tmp_path / "x.zip"), "--json"], capture_output=True, text=True, check=False)
    missing = subprocess.run([*command, str(tmp_path / "y.zip")], capture_output=True, text=True, check=False)

    assert (found.returncode, missing.returncode) == (1, 2)
    assert [finding["code"] for finding in json.loads(found.stdout)["findings"]] == ["TRUNCATED"]
    assert "Traceback" not in found.stderr + missing.stderr


def test_every_finding_has_words_in_both_languages() -> None:
    source = SCRIPT.read_text(encoding="utf-8")
    named = set(re.findall(r'(?:Finding|_check_records)\("([A-Z-]+)"', source))

    assert named == set(verify_pack.MESSAGES)
    assert {len(texts) for texts in verify_pack.MESSAGES.values()} == {2}
