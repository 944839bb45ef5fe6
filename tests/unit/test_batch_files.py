"""The folder protocol: nothing half-written is taken, nothing lost, nothing overwritten, and names mean nothing."""

import hashlib
import json
import os
import resource
import stat
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domain.errors import BulkOrdersError, FileRefused, InvariantBroken, TransientError
from resources import batch_files as module
from resources.batch_files import BatchFiles, FileChanged
from resources.file_labels import safe_label
from resources.import_folder import DroppedFile
from resources.regular_files import is_being_written

BATCH = "20260401-acme-0123456789ab"
DATA = b"order_number\nA-1\n"
SHA = hashlib.sha256(DATA).digest()
NAMES = {
    "option": "-rf.csv",
    "shell": "$(id);rm.csv",
    "newline": "a\nb.csv",
    "right to left": "a\u202evsc.exe",
    "long": "あ" * 80 + ".csv",
    "dots": "..csv.. ",
    "no ending": "orders",
    "not UTF-8": os.fsdecode(b"\xff\xfe.csv"),
    "a note": "orders.csv.note.txt",
}


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it."""


@pytest.fixture
def files(tmp_path: Path) -> BatchFiles:
    files = BatchFiles(tmp_path / "home", tmp_path / "in")
    files.prepare()
    return files


def drop(files: BatchFiles, name: str = "orders.csv", data: bytes = DATA, client: str = "acme") -> Path:
    path = files.import_dir / client / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (1_000, 1_000))
    return path


def settled(files: BatchFiles, settle_seconds: float = 2.0, now: float = 2_000.0) -> list[DroppedFile]:
    first = files.settled({}, settle_seconds=settle_seconds, now=now)
    assert first.settled == []
    return files.settled(json.loads(json.dumps(first.memory)), settle_seconds=settle_seconds, now=now + 5).settled


def everything(files: BatchFiles) -> list[bytes]:
    """The bytes of all order files there are, wherever they lie."""
    roots = (files.import_dir, files.home)
    paths = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return [path.read_bytes() for path in paths if not path.name.endswith((".note.txt", ".json"))]


# -- looking ----------------------------------------------------------------------------------------------------------


def test_a_file_is_taken_when_two_looks_agree_and_it_has_some_age(files: BatchFiles):
    path = drop(files)

    assert [(file.path, file.client) for file in settled(files)] == [(path, "acme")]
    assert settled(files, settle_seconds=5_000) == []


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells who has a file open")
@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_file_that_somebody_still_has_open_for_writing_is_waited_for(files: BatchFiles, mode: str):
    """An upload that stalls keeps its size for long, and its last row may be cut in the middle of an amount."""
    path = drop(files)
    other = drop(files, "other.csv")

    with path.open(mode), other.open("rb"):
        stalled = [file.path for file in settled(files)]

    assert stalled == [other]
    assert {file.path for file in settled(files)} == {path, other}


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells who has a file open")
def test_whoever_opens_a_file_while_it_is_looked_at_is_served_and_nobody_is_killed(tmp_path: Path):
    """Looking asks the system for a lease, which a writer breaks: with a signal that ends us, had we not chosen it."""
    path = tmp_path / "orders.csv"
    path.touch()
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            with path.open("ab") as file:
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    seen = {is_being_written(path) for _ in range(2_000)}
    over.set()
    writer.join()

    assert seen == {True, False}


@pytest.mark.parametrize("change", [lambda p: p.write_bytes(DATA * 2), lambda p: os.utime(p, (1_001, 1_001))])
def test_a_file_that_changed_between_two_looks_is_waited_for(files: BatchFiles, change: Callable[[Path], None]):
    path = drop(files)
    first = files.settled({}, settle_seconds=0, now=2_000)
    change(path)
    second = files.settled(first.memory, settle_seconds=0, now=2_005)

    assert (second.settled, second.waiting) == ([], 1)


def test_a_disk_that_is_full_is_not_kept_full(files: BatchFiles):
    path = drop(files)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, limits[1]))
    try:
        with pytest.raises(BulkOrdersError):
            files.archive(path, BATCH, SHA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(files.batch_dir(BATCH).iterdir()) == []
    assert path.read_bytes() == DATA


def test_a_file_whose_time_lies_ahead_is_taken_when_it_no_longer_changes(files: BatchFiles):
    """Written by a machine whose clock is, or unpacked in another time zone: it would wait until that day."""
    path = drop(files)
    os.utime(path, (90_000, 90_000))

    assert [file.path for file in settled(files)] == [path]


def test_a_file_replaced_by_another_of_equal_size_and_time_is_waited_for(files: BatchFiles):
    path = drop(files)
    first = files.settled({}, settle_seconds=0, now=2_000)
    other = drop(files, "other.tmp", DATA.replace(b"A-1", b"A-2"))
    other.rename(path)

    assert files.settled(first.memory, settle_seconds=0, now=2_005).settled == []


def test_files_in_the_import_folder_itself_belong_to_the_default_client(files: BatchFiles):
    drop(files, client=".")

    assert [file.client for file in settled(files)] == ["default"]


def test_what_is_no_dropped_file_is_passed_over(files: BatchFiles):
    for name in (".hidden.csv", "a.csv.part", "a.tmp", "A.TMP", "~$a.xlsx", "Thumbs.db", "b.csv.crdownload"):
        drop(files, name)
    folder = files.import_dir / "acme"
    (folder / "folder.csv").mkdir()
    (folder / "link.csv").symlink_to(folder / ".hidden.csv")
    os.mkfifo(folder / "fifo.csv")
    (files.import_dir / "linked").symlink_to(folder)

    assert settled(files) == []


def test_a_folder_that_cannot_be_read_does_not_disturb_the_others(files: BatchFiles, monkeypatch: pytest.MonkeyPatch):
    drop(files)
    drop(files, client="closed")
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)

    assert [file.client for file in settled(files)] == ["acme"]


def test_a_missing_import_folder_is_an_empty_one(tmp_path: Path):
    assert BatchFiles(tmp_path, tmp_path / "none").settled({}, settle_seconds=0, now=0).settled == []


def test_the_memory_shows_no_file_names_and_forgets_what_is_gone(files: BatchFiles):
    path = drop(files, "山田太郎.csv")
    look = files.settled({}, settle_seconds=0, now=2_000)
    assert "山田" not in json.dumps(look.memory, ensure_ascii=False)

    path.unlink()
    assert files.settled(look.memory, settle_seconds=0, now=2_000).memory == {}


# -- the archive ------------------------------------------------------------------------------------------------------


def test_a_taken_file_is_archived_unchanged_and_read_only(files: BatchFiles):
    path = drop(files)
    archived = files.archive(path, BATCH, files.digest(path))

    assert archived == files.home / "batches" / BATCH / "source.csv" == files.archived(BATCH)
    assert archived.read_bytes() == DATA
    assert stat.S_IMODE(archived.stat().st_mode) == 0o400
    assert stat.S_IMODE(archived.parent.stat().st_mode) == 0o700
    assert not path.exists()


def test_a_program_that_still_has_the_file_open_cannot_write_into_the_archive(files: BatchFiles):
    path = drop(files)
    with path.open("ab") as writing:
        archived = files.archive(path, BATCH, SHA)
        writing.write(b"more")

    assert archived.read_bytes() == DATA


def test_a_person_keeps_the_file_they_import_by_hand(files: BatchFiles, tmp_path: Path):
    path = tmp_path / "mine.CSV"
    path.write_bytes(DATA)

    assert files.archive_copy(path, BATCH, SHA).name == "source.csv"
    assert path.read_bytes() == DATA


def test_a_file_that_changed_since_it_was_recognised_stays_where_it_is(files: BatchFiles):
    path = drop(files, data=DATA + b"A-2\n")
    with pytest.raises(FileChanged):
        files.archive(path, BATCH, SHA)

    assert files.archived(BATCH) is None
    assert everything(files) == [DATA + b"A-2\n"]


def test_another_file_put_in_its_place_while_it_was_archived_is_not_removed(
    files: BatchFiles, monkeypatch: pytest.MonkeyPatch
):
    path = drop(files)
    copy = module.copy_synced

    def replaced_after(source: Path, target: Path) -> object:
        result = copy(source, target)
        drop(files, "new.tmp", b"new orders").rename(path)
        return result

    monkeypatch.setattr(module, "copy_synced", replaced_after)
    archived = files.archive(path, BATCH, SHA)

    assert (archived.read_bytes(), path.read_bytes()) == (DATA, b"new orders")


def test_an_archive_is_never_overwritten(files: BatchFiles):
    archived = files.archive(drop(files), BATCH, SHA)
    other = b"order_number\nB-1\n"
    path = drop(files, data=other)
    with pytest.raises(InvariantBroken):
        files.archive(path, BATCH, hashlib.sha256(other).digest())

    assert (archived.read_bytes(), path.read_bytes()) == (DATA, other)


def test_archiving_again_changes_nothing(files: BatchFiles):
    first = files.archive(drop(files), BATCH, SHA)
    inode = first.stat().st_ino

    assert files.archive(drop(files, "again.txt"), BATCH, SHA) == first
    assert first.stat().st_ino == inode
    assert everything(files) == [DATA]


KILL_POINTS = [
    "copy_synced",
    "write_private",
    "sync_folder",
    "_remove_if_same",
    "_identity",
    "rename",
    "unlink",
    "chmod",
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", KILL_POINTS)
def test_killed_at_any_step_the_next_look_completes_the_archive(
    files: BatchFiles, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
):
    """The file is always somewhere, and in the end exactly once, in the archive."""
    drop(files)
    (found,) = settled(files)
    with monkeypatch.context() as patch:
        # A killed process puts nothing back.
        patch.setattr(module, "_put_back", lambda held, path: None)
        owner = Path if step in ("rename", "unlink", "chmod") else module
        work = getattr(owner, step)

        def killed(*args: object, **named: object) -> None:
            if after:
                work(*args, **named)
            raise Killed

        patch.setattr(owner, step, killed)
        with pytest.raises(Killed):
            files.archive(found.path, BATCH, SHA)
    assert DATA in everything(files)
    for left_over in settled(files):
        files.archive(left_over.path, BATCH, SHA)
    if files.archived(BATCH) is None:
        pytest.fail("the file was not found again")

    assert everything(files) == [DATA]


@pytest.mark.parametrize("batch", ["", "..", "a/b", "../x", "a\0b", ".hidden", "-x" * 80])
def test_a_batch_id_cannot_lead_out_of_the_archive(files: BatchFiles, batch: str):
    with pytest.raises(BulkOrdersError):
        files.batch_dir(batch)


def test_a_full_disk_is_told_in_our_words(files: BatchFiles, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device", "/secret/path")

    monkeypatch.setattr(os, "fsync", full)
    path = drop(files)
    with pytest.raises(TransientError) as caught:
        files.archive(path, BATCH, SHA)

    assert "secret" not in str(caught.value)
    assert path.exists()


# -- set aside --------------------------------------------------------------------------------------------------------


def test_a_duplicate_goes_aside_with_a_note_in_both_languages(files: BatchFiles):
    files.archive(drop(files), BATCH, SHA)
    path = drop(files, "same bytes, other name.csv")
    aside = files.set_aside_duplicate(path, "acme", BATCH, SHA)

    assert aside == files.home / "duplicates" / "acme" / "same bytes, other name.csv"
    assert aside.read_bytes() == DATA
    assert not path.exists()
    note = aside.with_name(f"{aside.name}.note.txt")
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    text = note.read_text(encoding="utf-8-sig")
    assert text.count(BATCH) == 2
    assert "すでに取り込まれています" in text
    assert "already imported" in text


def test_the_batchs_own_file_left_over_by_a_kill_is_no_duplicate(files: BatchFiles, monkeypatch: pytest.MonkeyPatch):
    path = drop(files)

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "_remove_if_same", killed)
        with pytest.raises(Killed):
            files.archive(path, BATCH, SHA)

    assert files.set_aside_duplicate(path, "acme", BATCH, SHA) is None
    assert everything(files) == [DATA]
    assert list((files.home / "duplicates").iterdir()) == []


def test_a_duplicate_that_changed_meanwhile_is_no_duplicate(files: BatchFiles):
    path = drop(files, data=b"new orders")
    with pytest.raises(FileChanged):
        files.set_aside_duplicate(path, "acme", BATCH, SHA)

    assert path.read_bytes() == b"new orders"


def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_empty(files: BatchFiles):
    """Else personal files would outlive their time and nobody would hear of it."""
    away = files.home / "quarantine" / "acme"
    away.symlink_to("acme")
    with pytest.raises(TransientError):
        files.clients_set_aside(datetime.now(UTC))

    away.unlink()
    assert files.clients_set_aside(datetime.now(UTC)) == []


def test_an_unreadable_file_goes_to_quarantine_with_the_reason(files: BatchFiles):
    path = drop(files, "orders.xlsx", b"PK\x03\x04")
    aside = files.quarantine(path, "acme", FileRefused("FILE-BINARY"))

    assert aside.read_bytes() == b"PK\x03\x04"
    assert not path.exists()
    assert "FILE-BINARY" in aside.with_name(f"{aside.name}.note.txt").read_text(encoding="utf-8-sig")


def test_an_archived_file_is_copied_to_quarantine_under_its_own_name(files: BatchFiles):
    archived = files.archive(drop(files), BATCH, SHA)
    aside = files.quarantine(archived, "acme", FileRefused("FILE-NO-ROWS"), name="April.csv")

    assert aside.name == "April.csv"
    assert archived.read_bytes() == aside.read_bytes() == DATA


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_files_of_any_name_go_aside_without_touching_each_other(files: BatchFiles, name: str):
    for number in range(3):
        files.quarantine(drop(files, name, b"%d" % number), "../a\ncme", FileRefused("FILE-BINARY"))

    (folder,) = (files.home / "quarantine").iterdir()
    kept = sorted(path.read_bytes() for path in folder.iterdir() if path.stat().st_size == 1)
    assert kept == [b"0", b"1", b"2"]
    assert len(list(folder.iterdir())) == 6
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert list((files.import_dir / "acme").iterdir()) == []


def test_another_file_system_is_no_hindrance(files: BatchFiles, monkeypatch: pytest.MonkeyPatch):
    path = drop(files)

    def other_device(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "replace", other_device)

    assert files.quarantine(path, "acme", FileRefused("FILE-BINARY")).read_bytes() == DATA
    assert not path.exists()


@pytest.mark.parametrize(
    "name",
    [
        *NAMES.values(),
        "",
        ".",
        "..",
        "../../etc/passwd",
        "a\0b.csv",
        "C:\\x\\y.csv",
        "..\\..\\x",
        "a/../../b.csv",
        "/etc/passwd",
        "a" * 400,
    ],
)
def test_a_label_is_one_visible_line_and_no_path(name: str):
    label = safe_label(name)

    assert label == safe_label(label)
    assert label.isprintable()
    assert label
    assert not label.startswith(("-", ".", " "))
    assert "/" not in label
    assert "\\" not in label
    assert len(label.encode()) <= 180
    if name.endswith(".csv"):
        assert label.endswith(".csv")
