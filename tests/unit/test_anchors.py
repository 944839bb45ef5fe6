"""Anchors: what they sign cannot be changed, a path shows one head and no other, a foreign one is called foreign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from audit.anchor_check import AnchorWitness, check_anchors
from domain.anchors import (
    NO_ANCHOR,
    Anchor,
    AnchoredHead,
    Statement,
    merkle_path,
    merkle_root,
    read_anchor,
    read_statement,
    root_from_path,
)
from domain.errors import KeyRefused, TransientError
from domain.trail_faults import FaultKind
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import SigningKey, TrustedKeys, open_signing_key, trusted_keys
from resources.database.trail_anchors import StoredAnchor

HERE = "installation-1"


def heads(count: int) -> tuple[AnchoredHead, ...]:
    return tuple(AnchoredHead(f"chain-{n}", n + 1, f"{n:064x}") for n in range(count))


def made(key: SigningKey, number: int, previous: str, of: tuple[AnchoredHead, ...], installation: str = HERE) -> Anchor:
    said = Statement(installation, number, 1_700_000_000_000_000, previous, len(of), merkle_root(of), key.key_id)
    return Anchor(said.to_body(), key.sign(said.to_body().encode()).hex(), of)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return open_signing_key(tmp_path / "keys" / "anchors.key")


@pytest.fixture
def keys(key: SigningKey, tmp_path: Path) -> TrustedKeys:
    return trusted_keys(tmp_path / "keys" / "anchors.key")


def found(anchors: list[tuple[int, Anchor | None]], keys: TrustedKeys, copies: int | None = None) -> list[object]:
    """The faults of these files, whose copies in the database are as they should be."""
    good = [StoredAnchor(number, anchor) for number, anchor in anchors if anchor is not None][:copies]
    told = {copy.number: copy.anchor.digest for copy in good}
    return [(fault.kind, fault.seq) for fault in check_anchors(AnchorWitness(anchors, good, told, HERE), keys).faults]


def chain_of(key: SigningKey, count: int) -> list[tuple[int, Anchor | None]]:
    anchors: list[tuple[int, Anchor | None]] = []
    previous = NO_ANCHOR
    for number in range(1, count + 1):
        anchor = made(key, number, previous, heads(number))
        anchors.append((number, anchor))
        previous = anchor.digest
    return anchors


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 100])
def test_every_head_has_a_path_to_the_root_and_no_other_head_has(count: int) -> None:
    of = heads(count)
    for head in of:
        path = merkle_path(of, head.chain)

        assert root_from_path(head, path) == merkle_root(of)
        assert root_from_path(replace(head, seq=head.seq + 1), path) != merkle_root(of)


def test_an_anchor_is_the_same_after_its_file(key: SigningKey, tmp_path: Path) -> None:
    anchor = made(key, 1, NO_ANCHOR, heads(3))
    folder = AnchorFolder(tmp_path / "anchors")
    folder.write(1, 1_700_000_000_000_000, anchor)

    assert folder.read(1) == anchor
    assert [path.stat().st_mode & 0o777 for path in folder.folder.glob("*/*")] == [0o400]


def test_a_number_is_written_once(key: SigningKey, tmp_path: Path) -> None:
    folder = AnchorFolder(tmp_path / "anchors")
    folder.write(1, 1_700_000_000_000_000, made(key, 1, NO_ANCHOR, ()))

    with pytest.raises(TransientError, match="SYS-FOLDER-NOT-WRITABLE"):
        folder.write(1, 1_700_000_000_000_000, made(key, 1, NO_ANCHOR, heads(1)))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"body": 1}', '{"heads": [1]}', "[" * 100_000, "\0"])
def test_what_is_no_anchor_is_none(text: str) -> None:
    assert read_anchor(text) is None
    assert read_statement(text) is None


def test_good_anchors_have_no_fault(key: SigningKey, keys: TrustedKeys) -> None:
    assert found(chain_of(key, 4), keys) == []


def test_the_newest_file_may_be_ahead_of_the_database(key: SigningKey, keys: TrustedKeys) -> None:
    """Its maker was killed between the two."""
    assert found(chain_of(key, 3), keys, copies=2) == []
    assert found(chain_of(key, 4), keys, copies=2) == [(FaultKind.ANCHOR_MISSING, 4)]


def test_what_is_wrong_with_an_anchor_is_called_by_its_name(key: SigningKey, keys: TrustedKeys, tmp_path: Path) -> None:
    good = chain_of(key, 3)
    second = good[1][1]
    assert second is not None
    stranger = open_signing_key(tmp_path / "other" / "anchors.key")
    previous = good[0][1].digest if good[0][1] else ""
    altered, foreign = FaultKind.ANCHOR_ALTERED, FaultKind.ANCHOR_FOREIGN
    spoilt: dict[str, tuple[Anchor | None, FaultKind]] = {
        "unreadable": (None, altered),
        "body": (replace(second, body=second.body.replace('"number":2', '"number":4')), altered),
        "signature": (replace(second, signature="00" * 64), altered),
        "no signature": (replace(second, signature="zz"), altered),
        "heads": (replace(second, heads=heads(1)), altered),
        "another key": (made(stranger, 2, previous, heads(2)), foreign),
        "another installation": (made(key, 2, previous, heads(2), installation="elsewhere"), foreign),
        "another past": (made(key, 2, "ab" * 32, heads(2)), altered),
        "another number": (good[2][1], altered),
    }
    first = {}
    for what, (anchor, _) in spoilt.items():
        files = [good[0], (2, anchor), good[2]]
        copies = [StoredAnchor(number, one) for number, one in good if one is not None]
        told = {copy.number: copy.anchor.digest for copy in copies}
        faults = check_anchors(AnchorWitness(files, copies, told, HERE), keys).faults
        first[what] = (faults[0].kind, faults[0].seq)

    assert first == {what: (kind, 2) for what, (_, kind) in spoilt.items()}


def test_a_missing_anchor_is_missing(key: SigningKey, keys: TrustedKeys) -> None:
    good = chain_of(key, 3)
    copies = [StoredAnchor(number, one) for number, one in good if one is not None]
    told = {copy.number: copy.anchor.digest for copy in copies}
    for gone in (0, 1, 2):
        files = [one for place, one in enumerate(good) if place != gone]
        faults = check_anchors(AnchorWitness(files, copies, told, HERE), keys).faults

        assert [(fault.kind, fault.seq) for fault in faults] == [(FaultKind.ANCHOR_MISSING, gone + 1)]


def test_a_key_is_made_once_and_read_by_its_owner_alone(key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "anchors.key"

    assert open_signing_key(path).key_id == key.key_id
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(trusted_keys(path).by_id) == [key.key_id]
    assert "rivate" not in repr(key)


def test_the_keys_before_stay_trusted(key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "anchors.key"
    path.unlink()
    newer = open_signing_key(path)

    assert set(trusted_keys(path).by_id) == {key.key_id, newer.key_id}


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 44, bytes(range(9))])
def test_a_wrong_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "anchors.key"
    path.write_bytes(content)

    with pytest.raises(KeyRefused, match="SYS-ANCHOR-KEY-INVALID"):
        open_signing_key(path)
