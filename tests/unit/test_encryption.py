"""Personal data at rest: opened by the right key at the right place only, and a key is never lost or overwritten."""

from __future__ import annotations

import base64
import os
import stat
import threading
from pathlib import Path

import pytest

from domain.errors import KeyRefused
from resources.encryption import Vault, make_key_file, open_vault

CELLS = ["N-1", "山田 花子", "hanako@example.jp", "", '"quoted", \n line']
KEY = bytes(range(32))


def test_what_was_sealed_opens_again():
    vault = Vault(KEY)

    assert vault.open_cells("b", 1, vault.seal_cells("b", 1, CELLS)) == CELLS


def test_rows_sealed_at_once_open_one_by_one_each_at_its_place_only():
    vault = Vault(KEY)
    sealed = vault.seal_rows("b", 5, ["\0".join(CELLS).encode(), b"x", b"x"])

    opened = [vault.open_cells("b", number, value) for number, value in enumerate(sealed, start=5)]

    assert opened == [CELLS, ["x"], ["x"]]
    with pytest.raises(KeyRefused):
        vault.open_cells("b", 6, sealed[2])


def test_no_nonce_is_used_twice():
    """Two values sealed with one nonce would give the key away."""
    vault = Vault(KEY)
    sealed = [value for _ in range(20) for value in vault.seal_rows("b", 1, [b"x"] * 100)]

    assert len({value[5:17] for value in sealed}) == 2_000


@pytest.mark.parametrize("cells", [[], ["secret\0"], ["a", "secret\0b"]])
def test_cells_that_would_come_back_otherwise_are_not_sealed(cells: list[str]):
    """Cells are joined by NUL, which no file that we read can hold."""
    with pytest.raises(ValueError, match="cells that would not come back") as refused:
        Vault(KEY).seal_cells("b", 1, cells)

    assert "secret" not in str(refused.value)


def test_sealed_cells_show_nothing_and_never_look_alike():
    vault = Vault(KEY)
    first, second = vault.seal_cells("b", 1, CELLS), vault.seal_cells("b", 1, CELLS)

    assert first != second
    assert not any(cell.encode() in first for cell in CELLS if cell)


@pytest.mark.parametrize(("batch", "row"), [("b", 2), ("c", 1), ("b|1", 1), ("", 1)])
def test_a_value_moved_to_another_row_does_not_open(batch: str, row: int):
    """The place is part of the seal: two customers cannot be exchanged by an UPDATE."""
    vault = Vault(KEY)

    with pytest.raises(KeyRefused) as refused:
        vault.open_cells(batch, row, vault.seal_cells("b", 1, CELLS))

    assert refused.value.code == "SYS-KEY-WRONG"


def test_every_changed_bit_is_noticed():
    vault = Vault(KEY)
    sealed = vault.seal_cells("b", 1, ["x"])
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(KeyRefused):
            vault.open_cells("b", 1, bytes(changed))


def test_every_truncation_is_noticed():
    vault = Vault(KEY)
    sealed = vault.seal_cells("b", 1, CELLS)
    for length in range(len(sealed)):
        with pytest.raises(KeyRefused):
            vault.open_cells("b", 1, sealed[:length])


def test_another_key_opens_nothing():
    sealed = Vault(KEY).seal_cells("b", 1, CELLS)
    other = Vault(os.urandom(32))

    with pytest.raises(KeyRefused) as refused:
        other.open_cells("b", 1, sealed)

    assert refused.value.facts == {"key_id": other.key_id}


def test_a_key_shows_its_name_and_nothing_else():
    vault = Vault(KEY)
    shown = f"{vault!r} {vault} {vars(Vault)}"

    assert vault.key_id in shown
    assert KEY.hex() not in shown
    assert base64.b64encode(KEY).decode() not in shown


def test_a_check_value_is_opened_by_its_key_only():
    vault, other = Vault(KEY), Vault(os.urandom(32))

    assert vault.opens(vault.make_check_value())
    assert not other.opens(vault.make_check_value())
    assert not vault.opens(b"")
    assert not vault.opens(vault.seal_cells("b", 1, CELLS))


def test_a_new_key_file_is_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "keys" / "personal-data.key"
    before = os.umask(0)
    try:
        make_key_file(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert open_vault(None, path).key_id == open_vault(path.read_text(), tmp_path / "none").key_id


def test_an_existing_key_file_is_never_touched(tmp_path: Path):
    """Losing the key is losing the data."""
    path = tmp_path / "key"
    path.write_bytes(b"not even a key")
    before = path.stat()
    make_key_file(path)

    assert path.read_bytes() == b"not even a key"
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_two_starts_at_once_agree_on_one_key(tmp_path: Path):
    """Two threads of one process too: the draft's name must not be the meeting point."""
    path = tmp_path / "key"
    faults: list[BaseException] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        try:
            barrier.wait()
            make_key_file(path)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert [p.name for p in tmp_path.iterdir()] == ["key"]
    assert len(open_vault(None, path).key_id) == 8


def test_a_draft_left_by_a_killed_start_is_in_nobodys_way(tmp_path: Path):
    """Process ids come again."""
    path = tmp_path / "key"
    (tmp_path / f".key.{os.getpid()}").write_bytes(b"half")

    make_key_file(path)

    assert open_vault(None, path).key_id


@pytest.mark.parametrize(
    "text", ["", "short", *(base64.b64encode(bytes(n)).decode() for n in (31, 33)), "é" * 44, "!" * 44]
)
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, text: str):
    with pytest.raises(KeyRefused) as refused:
        open_vault(text, tmp_path / "none")

    assert refused.value.code == "SYS-KEY-INVALID"
    assert refused.value.facts == {}


def test_a_missing_key_file_is_said(tmp_path: Path):
    with pytest.raises(KeyRefused) as refused:
        open_vault(None, tmp_path / "none")

    assert refused.value.code == "SYS-KEY-MISSING"


def test_a_key_of_the_environment_comes_before_the_file(tmp_path: Path):
    path = tmp_path / "key"
    make_key_file(path)
    given = base64.b64encode(KEY).decode()

    assert open_vault(f" {given}\n", path).key_id == Vault(KEY).key_id != open_vault(None, path).key_id
