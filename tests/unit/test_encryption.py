"""Personal data at rest: opened by the right key at the right place only, and a key is never lost or overwritten."""

from __future__ import annotations

import base64
import dataclasses
import os
import shlex
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from domain.errors import KeyRefused, OperationRefused, RowErased
from domain.people import folded_mail
from resources.encryption import MasterKey, Vault
from resources.key_sheets import row_address
from resources.key_sources import KeySource, make_key_file
from resources.sheet_folder import KeySheets

CELLS = ["N-1", "山田 花子", "hanako@example.jp", "", '"quoted", \n line']
ROW = "\0".join(CELLS).encode()
KEY = bytes(range(32))


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(KEY, sheets=KeySheets(tmp_path / "sheets"))


def sealed(vault: Vault, row: bytes = ROW) -> bytes:
    return vault.seal_rows("b", 1, [row])[0]


def test_what_was_sealed_opens_again(vault: Vault):
    assert vault.open_cells("b", 1, sealed(vault)) == CELLS


def test_rows_sealed_at_once_open_one_by_one_each_at_its_place_only(vault: Vault):
    made = vault.seal_rows("b", 5, [ROW, b"x", b"x", b""])

    assert [vault.open_cells("b", number, value) for number, value in enumerate(made, start=5)] == [
        CELLS,
        ["x"],
        ["x"],
        [""],
    ]
    for place in (4, 6, 8, 9):
        with pytest.raises(KeyRefused):
            vault.open_cells("b", place, made[2])


def test_no_nonce_is_used_twice(vault: Vault):
    """Two values sealed with one nonce would give the key away."""
    made = [value for _ in range(20) for value in vault.seal_rows("b", 1, [b"x"] * 100)]

    assert len({value[9:21] for value in made}) == 2_000


def test_sealed_cells_show_nothing_and_never_look_alike(vault: Vault):
    first, second = sealed(vault), sealed(vault)

    assert first != second
    assert not any(cell.encode() in first for cell in CELLS if cell)


@pytest.mark.parametrize(("batch", "row"), [("b", 2), ("c", 1), ("b-1", 1), ("", 1), ("../b", 1)])
def test_a_value_moved_to_another_row_does_not_open(vault: Vault, batch: str, row: int):
    """The place is part of the seal: two customers cannot be exchanged by an UPDATE."""
    moved = sealed(vault)

    with pytest.raises(KeyRefused) as refused:
        vault.open_cells(batch, row, moved)

    assert refused.value.code in ("SYS-ROW-KEYS-BROKEN", "SYS-ROW-KEYS-MISSING")


def test_every_changed_bit_is_noticed(vault: Vault):
    good = sealed(vault, b"x")
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        with pytest.raises(KeyRefused):
            vault.open_cells("b", 1, bytes(changed))


def test_every_truncation_is_noticed(vault: Vault):
    good = sealed(vault)
    for length in range(1, len(good)):
        with pytest.raises(KeyRefused):
            vault.open_cells("b", 1, good[:length])
    with pytest.raises(RowErased):  # so retention leaves them
        vault.open_cells("b", 1, b"")


def test_another_key_opens_nothing(vault: Vault, tmp_path: Path):
    made = sealed(vault)
    other = Vault(os.urandom(32), sheets=KeySheets(tmp_path / "sheets"))

    with pytest.raises(KeyRefused) as refused:
        other.open_cells("b", 1, made)

    assert refused.value.facts == {"key_id": other.key_id}


def test_a_destroyed_key_is_gone_and_not_only_said_to_be(vault: Vault, tmp_path: Path):
    """Whoever takes the word away that the row is erased still has nothing to combine it with."""
    made = vault.seal_rows("b", 1, [ROW, ROW, ROW])
    sheets = KeySheets(tmp_path / "sheets")
    sheet_id = sheets.of_batch("b")[0]
    before = (tmp_path / "sheets" / "b" / f"{sheet_id.hex()}.sheet").open("rb")
    sheets.destroy(vault.sheet("b", sheet_id), [2], vault.newest)
    after = vault.sheet("b", sheet_id)
    unsaid = dataclasses.replace(after, erased=bytes(3))

    assert [vault.cells_or_none("b", row, sealed) for row, sealed in enumerate(made, start=1)] == [CELLS, None, CELLS]
    assert after.rows_erased() == [2]
    with pytest.raises(RowErased):
        vault.open_cells("b", 2, made[1])
    assert unsaid.opened(1, made[0][9:]) == ROW
    assert unsaid.opened(2, made[1][9:]) != ROW
    assert set(before.read()) == {0}  # what the file was is written over
    before.close()


@pytest.mark.parametrize("how", ["one row", "the batch"])
def test_keys_that_a_killed_process_left_half_written_are_destroyed_too(vault: Vault, tmp_path: Path, how: str):
    """Sealing them under another master key writes all of them; killed there, they would outlive their destruction."""
    vault.seal_rows("b", 1, [ROW, ROW, ROW])
    sheets = KeySheets(tmp_path / "sheets")
    [whole] = (tmp_path / "sheets" / "b").iterdir()
    half = whole.with_name(f".{whole.name}.0123456789ab.part")
    half.write_bytes(whole.read_bytes())
    opened = half.open("rb")

    if how == "the batch":
        sheets.destroy_batch("b")
    else:
        with sheets.changing("b"):
            sheets.destroy(vault.sheet("b", sheets.of_batch("b")[0]), [2], vault.newest)

    assert not half.exists()
    assert set(opened.read()) == {0}
    opened.close()


def test_nobody_seals_a_sheet_anew_while_its_batch_is_destroyed(vault: Vault, tmp_path: Path):
    """It would be there again afterwards, with every key."""
    vault.seal_rows("b", 1, [ROW])
    sheets = KeySheets(tmp_path / "sheets")
    [sheet_id] = sheets.of_batch("b")
    with ThreadPoolExecutor(1) as beside:
        with sheets.changing("b"):
            destroyed = beside.submit(sheets.destroy_batch, "b")
            assert wait([destroyed], 0.3).not_done
            sheets.rewrap("b", sheet_id, vault.newest, MasterKey(os.urandom(32)))
        assert destroyed.result(30) == 1

    assert sheets.of_batch("b") == []


def test_an_erasure_is_noted_behind_one_that_was_cut_off(tmp_path: Path):
    sheets = KeySheets(tmp_path / "sheets")
    sheets.note_erasure(1, {"b": [2]})
    noted = tmp_path / "sheets" / ".erasures.jsonl"
    noted.write_text(noted.read_text() + '{"erasure": 2, "ro')

    sheets.note_erasure(2, {"b": [3]})

    assert sheets.erasures() == {1: {"b": [2]}, 2: {"b": [3]}}


def test_the_blind_index_finds_a_person_within_its_sheet_alone(vault: Vault, tmp_path: Path):
    """Two sheets do not tell that they have a customer in common."""
    people = [folded_mail("Ａ@example.jp"), b"", folded_mail("b@example.jp"), folded_mail(" a@EXAMPLE.jp")]
    for batch in ("b", "c"):
        vault.seal_rows(batch, 5, [ROW] * 4, people)
    sheets = KeySheets(tmp_path / "sheets")
    one, two = (vault.sheet(batch, sheets.of_batch(batch)[0]) for batch in ("b", "c"))

    assert one.rows_of(folded_mail("a@example.jp")) == [5, 8]
    assert (one.rows_of_nobody(), one.rows_of(b"x")) == ([6], [])
    assert not {one.people[at : at + 8] for at in (0, 16)} & {two.people[at : at + 8] for at in (0, 16)}
    assert one.without([5]).people[:8] == bytes(8)
    assert one.without([5]).rows_of(folded_mail("a@example.jp")) == [8]
    assert one.without([5]).rows_of_nobody() == [6]


def test_a_row_of_before_there_were_keys_of_rows_opens_still(vault: Vault):
    """Sealed under the master key itself, as every row once was."""
    old = MasterKey(KEY).seal(ROW, row_address("b", 1))

    assert vault.open_cells("b", 1, old) == CELLS
    with pytest.raises(KeyRefused):
        vault.open_cells("b", 2, old)


def test_a_key_shows_its_name_and_nothing_else():
    vault = Vault(KEY, os.urandom(32))
    shown = f"{vault!r} {vault} {vars(Vault)} {vault.masters} {vault.newest.first_index}"

    assert vault.key_id in shown
    assert KEY.hex() not in shown
    assert base64.b64encode(KEY).decode() not in shown
    assert repr(vault.newest.first_index.tagging) not in shown


def test_a_check_value_is_opened_by_its_key_only(vault: Vault):
    key, other = MasterKey(KEY), MasterKey(os.urandom(32))

    assert key.opens(key.make_check_value())
    assert not other.opens(key.make_check_value())
    assert not key.opens(b"")
    assert not key.opens(sealed(vault))


def test_what_is_compared_outlives_the_key(vault: Vault):
    """A repair file that came before a rotation, and an order of yesterday, are recognised after it."""
    newer = MasterKey(os.urandom(32))
    kept = newer.seal_index(vault.newest.first_index)
    later = Vault(os.urandom(32)).with_index(newer.open_index(kept))

    assert (later.tag("t"), later.likenesses([b"l"])) == (vault.tag("t"), vault.likenesses([b"l"]))
    assert Vault(os.urandom(32)).tag("t") != vault.tag("t")


def test_likenesses_are_those_of_every_version_before():
    """Orders of last week are still recognised after an update."""
    described = [b"who\x1fwhat", b"", "山田".encode()]

    assert Vault(KEY).likenesses(described) == (-995924134219693728, -4251163625346508217, 1500850474846798633)
    assert Vault(os.urandom(32)).likenesses(described) != Vault(KEY).likenesses(described)


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
    assert KeySource(None, path).keys() == KeySource(path.read_text(), tmp_path / "none").keys()


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
    assert len(KeySource(None, path).keys()) == 1


def test_a_draft_left_by_a_killed_start_is_in_nobodys_way(tmp_path: Path):
    """Process ids come again."""
    path = tmp_path / "key"
    (tmp_path / f".key.{os.getpid()}").write_bytes(b"half")

    make_key_file(path)

    assert KeySource(None, path).keys()


@pytest.mark.parametrize(
    "text", ["", "short", *(base64.b64encode(bytes(n)).decode() for n in (31, 33)), "é" * 44, "!" * 44]
)
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, text: str):
    with pytest.raises(KeyRefused) as refused:
        KeySource(text, tmp_path / "none").keys()

    assert refused.value.code == "SYS-KEY-INVALID"
    assert refused.value.facts == {}


def test_a_missing_key_file_is_said(tmp_path: Path):
    with pytest.raises(KeyRefused) as refused:
        KeySource(None, tmp_path / "none").keys()

    assert refused.value.code == "SYS-KEY-MISSING"


def test_a_key_of_the_environment_comes_before_the_file(tmp_path: Path):
    path = tmp_path / "key"
    make_key_file(path)
    given = base64.b64encode(KEY).decode()

    assert KeySource(f" {given}\n", path).keys() == [KEY] != KeySource(None, path).keys()


def test_several_keys_stand_below_each_other_the_newest_first(tmp_path: Path):
    source = KeySource(None, tmp_path / "key")
    source.make_first()
    first = source.keys()
    source.make_newest()
    both = source.keys()
    source.drop(MasterKey(first[0]).key_id)

    assert both[1:] == first
    assert source.keys() == both[:1]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


UNWRAP = "import base64, sys; print(base64.b64encode(bytes(o ^ 90 for o in sys.stdin.buffer.read())).decode())"


def command(program: str) -> str:
    return shlex.join([sys.executable, "-c", program])


def test_a_command_unwraps_each_key_and_neither_is_ever_an_argument(tmp_path: Path):
    """What a KMS does: arguments of a process are read by anybody on the machine."""
    keys = [os.urandom(32), os.urandom(32)]
    wrapped = "\n".join(base64.b64encode(bytes(o ^ 90 for o in key)).decode() for key in keys)

    assert KeySource(wrapped, tmp_path / "none", command(UNWRAP)).keys() == keys


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("raise SystemExit(3)", "SYS-KEY-COMMAND"),
        ("print('canary')", "SYS-KEY-INVALID"),
        ("pass", "SYS-KEY-INVALID"),
        ("import sys; sys.stdout.buffer.write(b'\\xff' * 40)", "SYS-KEY-INVALID"),
    ],
)
def test_a_command_that_gives_no_key_is_refused_without_its_words(tmp_path: Path, program: str, code: str):
    with pytest.raises(KeyRefused) as refused:
        KeySource(base64.b64encode(KEY).decode(), tmp_path / "none", command(program)).keys()

    assert (refused.value.code, refused.value.facts) == (code, {})


@pytest.mark.parametrize("given", ["", "   ", "'", "/nowhere/at-all"])
def test_a_command_that_is_none_is_refused(tmp_path: Path, given: str):
    with pytest.raises(KeyRefused) as refused:
        KeySource(base64.b64encode(KEY).decode(), tmp_path / "none", given).keys()

    assert refused.value.code == "SYS-KEY-COMMAND"


def test_keys_from_elsewhere_are_neither_made_nor_removed_here(tmp_path: Path):
    for source in (KeySource("x", tmp_path / "key"), KeySource(None, tmp_path / "key", "kms")):
        with pytest.raises(KeyRefused):
            source.make_first()
        with pytest.raises((OperationRefused, KeyRefused)):
            source.make_newest()

    assert list(tmp_path.iterdir()) == []
