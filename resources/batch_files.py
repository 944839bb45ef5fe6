"""The folders: orders are dropped in one, archived per batch in another, set aside in two more.

    <import>/<client>/*           dropped by people; taken once they no longer change
    <home>/batches/<batch_id>/    source.<ext>: the archived copy, 0400, the only one that is read from then on;
                                  totals-<n>.txt: the file of totals that came with it, if one did
    <home>/duplicates/<client>/   files whose bytes were imported before, each with a note
    <home>/quarantine/<client>/   files that cannot be read, each with a note

A file's name is a label: it never decides where something is written. Every step can be killed anywhere and called
again; the docstrings say what is left behind and who repairs it. Nothing is ever overwritten, and bytes leave the
import folder only after they are safe elsewhere.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domain import catalogue
from domain.errors import BulkOrdersError, FileRefused, InvariantBroken, NotFound, TransientError
from resources import side_files
from resources.file_labels import HELD, extension, safe_label
from resources.import_folder import Look, look
from resources.local.files import write_private
from resources.regular_files import copy_synced, digest, sync_folder


class FileChanged(TransientError):
    """The file's bytes are no longer those it was recognised by; it stays where it is and is looked at again."""


@dataclass(frozen=True, slots=True)
class ArchivedTotals:
    """A dropped file of totals whose content is safe, as it was when it was copied."""

    path: Path
    status: os.stat_result


_ASIDE = ("duplicates", "quarantine")


class BatchFiles:
    """The folders of one installation. Holds no state: everything is in the file system."""

    def __init__(self, home: Path, import_dir: Path) -> None:
        self.home = home.absolute()
        self.import_dir = import_dir.absolute()

    def prepare(self) -> None:
        """Make the folders that are missing, readable by their owner alone."""
        with _our_errors():
            for folder in (self.import_dir, *(self.home / name for name in ("batches", *_ASIDE))):
                _make_private(folder)

    def settled(self, memory: Mapping[str, list[int]], *, settle_seconds: float, now: float) -> Look:
        """The dropped files that no longer change; ``memory`` is from the last look, ``now`` in epoch seconds."""
        return look(self.import_dir, memory, settle_seconds, now)

    def digest(self, path: Path) -> bytes:
        """SHA-256 of a file's content.

        Raises:
            FileRefused: it is gone, forbidden or no regular file.
        """
        return digest(path)

    # -- the archive --------------------------------------------------------------------------------------------------

    def batch_dir(self, batch_id: str) -> Path:
        """The folder of a batch, made if it is missing."""
        with _our_errors():
            return _make_private(self._folder_of(batch_id))

    def report_dir(self, batch_id: str) -> Path:
        """The folder of a batch's result files, made if it is missing."""
        with _our_errors():
            return _make_private(self._folder_of(batch_id) / "report")

    def has_report(self, batch_id: str) -> bool:
        """Whether a batch has result files: it came to its end once."""
        with _our_errors():
            folder = self._folder_of(batch_id) / "report"
            return folder.is_dir() and any(folder.iterdir())

    def archived(self, batch_id: str) -> Path | None:
        """The archived file of a batch, or None."""
        return next(iter(self.archives(batch_id)), None)

    def archives(self, batch_id: str) -> list[Path]:
        """The same, with one beside it that was to be destroyed: the kill came first, or a backup brought it back."""
        return sorted(self._folder_of(batch_id).glob(f"{_SOURCE}.*"))

    def batch_names(self) -> list[str]:
        """The batches whose files are archived here."""
        found = {path.parent.name for path in (self.home / "batches").glob(f"*/{_SOURCE}.*")}
        return sorted(name for name in found if _BATCH_ID.fullmatch(name))

    def _folder_of(self, batch_id: str) -> Path:
        if not _BATCH_ID.fullmatch(batch_id):
            raise NotFound("BATCH-NOT-FOUND", batch="?")
        return self.home / "batches" / batch_id

    def archive(self, path: Path, batch_id: str, sha256: bytes, totals: ArchivedTotals | None = None) -> Path:
        """Take a dropped file: archived unchanged, then gone from the import folder, and before it its ``totals``.

        Killed while copying: a hidden half copy, replaced by the next call. Killed after the archive stands and before
        the dropped file is gone: the next call with it, or `set_aside_duplicate`, removes it. Killed while it is being
        removed: it is in the import folder under a name of ours, which the next look gives out as any other file.

        Raises:
            FileChanged: the bytes are not those of ``sha256``; nothing was archived, the file is untouched.
            FileRefused: the file cannot be opened.
            InvariantBroken: the batch has an archive of other bytes.
        """
        archived, status = self._archive(path, batch_id, sha256)
        origin = archived.parent / _ORIGIN
        with _our_errors():
            write_private(origin, json.dumps(_identity(status)))
            self.drop_totals(totals)
            _remove_if_same(path, status)
            origin.unlink()
        return archived

    def archive_copy(self, path: Path, batch_id: str, sha256: bytes) -> Path:
        """As `archive`, and the person's own file stays where it is."""
        return self._archive(path, batch_id, sha256)[0]

    def _archive(self, path: Path, batch_id: str, sha256: bytes) -> tuple[Path, os.stat_result]:
        folder = self.batch_dir(batch_id)
        final = folder / f"{_SOURCE}{extension(path.name, '.csv')}"
        half = folder / _HALF_SOURCE
        with _our_errors(), _only_one(folder):
            half.unlink(missing_ok=True)
            # Copied, never renamed: a program that still has the dropped file open must not write into the archive.
            written, status = copy_synced(path, half)
            existing = self.archived(batch_id)
            if written != sha256 or existing is not None:
                half.unlink()
            if written != sha256:
                raise FileChanged("FILE-CHANGED")
            if existing is None:
                half.chmod(0o400)
                half.rename(final)
                sync_folder(folder)
                return final, status
        if digest(existing) != sha256:
            raise InvariantBroken("FILE-ARCHIVE-CHANGED", batch=batch_id)
        return existing, status

    def remove_half_copy(self, batch_id: str) -> None:
        """Remove what a killed process left of the dropped file, if it did."""
        folder = self.batch_dir(batch_id)
        with _our_errors(), _only_one(folder):
            (folder / _HALF_SOURCE).unlink(missing_ok=True)

    def archive_totals(self, path: Path, batch_id: str) -> ArchivedTotals:
        """Keep a file of totals with its batch; it stays where it is until it is dropped.

        Raises:
            FileRefused: the file cannot be opened.
        """
        folder = self.batch_dir(batch_id)
        with _our_errors(), _only_one(folder):
            return ArchivedTotals(path, side_files.archive(path, folder))

    def drop_totals(self, totals: ArchivedTotals | None) -> None:
        """Remove a file of totals that was archived, unless another has taken its name meanwhile."""
        if totals is not None:
            with _our_errors():
                _remove_if_same(totals.path, totals.status)

    def archived_totals(self, batch_id: str) -> Path | None:
        """The file of totals that came last with a batch, or None."""
        return side_files.archived(self._folder_of(batch_id))

    def destroy(self, batch_id: str) -> None:
        """Remove all that is kept of a batch; nothing there is fine. Killed in between, the rest goes next time."""
        folder = self._folder_of(batch_id)
        with _our_errors():
            if folder.exists():
                shutil.rmtree(folder)
                sync_folder(folder.parent)

    # -- set aside ----------------------------------------------------------------------------------------------------

    def set_aside_duplicate(
        self, path: Path, client: str, batch_id: str, sha256: bytes, why: str = "FILE-DUPLICATE"
    ) -> Path | None:
        """Move a file whose bytes are those of ``batch_id`` to the duplicates, with a note that says ``why``.

        None when it is the batch's own file, left over by a kill between archive and removal: then it is removed.
        Killed in between: the file is in one of the two folders, or in the import folder under a name of ours.

        Raises:
            FileChanged: the bytes are not those of ``sha256``; the file is untouched.
        """
        with _our_errors(), _held(path) as held:
            if digest(held) != sha256:
                raise FileChanged("FILE-CHANGED")
            if self._is_origin(held, batch_id) and self.archived(batch_id) is not None:
                held.unlink()
                return None
            note = _note(FileRefused(why, batch=batch_id))
            return _move_aside(held, self._aside("duplicates", client), path.name, note)

    def quarantine(self, path: Path, client: str, error: BulkOrdersError, *, name: str | None = None) -> Path:
        """Set aside a file that cannot be imported, unchanged, with a note that says why.

        A dropped file is moved; an archived one is copied, under ``name``, what the client called it. Killed in
        between: as `set_aside_duplicate`; called again for an archived file, a second copy stands beside the first.
        """
        with _our_errors():
            folder = self._aside("quarantine", client)
            if path.absolute().is_relative_to(self.home / "batches"):
                return _copy_aside(path, folder, name or path.name, _note(error))
            with _held(path) as held:
                return _move_aside(held, folder, name or path.name, _note(error))

    def clients_set_aside(self, before: datetime) -> list[str]:
        """Whose files lie aside since before that moment."""
        with _our_errors():
            folders = [folder for kind in _ASIDE for folder in _entries(self.home / kind)]
            return sorted({folder.name for folder in folders if any(_older(folder, before))})

    def destroy_set_aside(self, client: str, before: datetime) -> int:
        """Remove them, and their notes: how many. Killed in between, the rest goes next time."""
        count = 0
        with _our_errors():
            for folder in (self.home / kind / safe_label(client) for kind in _ASIDE):
                for path in list(_older(folder, before)):
                    path.unlink(missing_ok=True)
                    count += 1
                if folder.exists():
                    sync_folder(folder)
        return count

    def _aside(self, kind: str, client: str) -> Path:
        return _make_private(self.home / kind / safe_label(client))

    def _is_origin(self, path: Path, batch_id: str) -> bool:
        with suppress(OSError, ValueError):
            known = json.loads((self.batch_dir(batch_id) / _ORIGIN).read_text(encoding="ascii"))
            return bool(known == _identity(path.lstat()))
        return False


def _older(folder: Path, before: datetime) -> Iterator[Path]:
    """Files that nobody moved or changed since: a dropped file comes with a time of its own."""
    for path in _entries(folder):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) < before.timestamp():
                yield path


def _entries(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []


# -- moving -----------------------------------------------------------------------------------------------------------


_SOURCE = "source"
_HALF_SOURCE = f".{_SOURCE}.part"
_ORIGIN = ".origin.json"  # which dropped file the archive was made of, until that is gone
_BATCH_ID = re.compile(r"\w[\w\-]{0,99}")


@contextmanager
def _our_errors() -> Iterator[None]:
    """A full disk or a forbidden folder, in our words; the system's own message holds paths."""
    try:
        yield
    except OSError:
        raise TransientError("SYS-FOLDER-NOT-WRITABLE", variable="BULK_ORDERS_HOME") from None


def _make_private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """One process at a time; a killed one lets go by itself."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


@contextmanager
def _held(path: Path) -> Iterator[Path]:
    """Hold a dropped file; whatever goes wrong, it gets its name again."""
    held = _hold(path)
    try:
        yield held
    except BaseException:
        _put_back(held, path)
        raise


def _hold(path: Path) -> Path:
    """Rename a dropped file to a hidden name of ours beside it: from then on nobody can put another in its place."""
    ending = side_files.ENDING if side_files.is_side_file(path.name) else extension(path.name, ".csv")
    held = path.with_name(f"{HELD}{secrets.token_hex(6)}{ending}")
    try:
        path.rename(held)
    except OSError:
        raise FileRefused("FILE-NOT-FOUND" if not os.path.lexists(path) else "FILE-UNREADABLE") from None
    return held


def _put_back(held: Path, path: Path) -> None:
    """Give a held file its name again; if that is taken by now it keeps ours and is seen again at the next look."""
    if os.path.lexists(held) and not os.path.lexists(path):
        with suppress(OSError):
            held.rename(path)


def _remove_if_same(path: Path, status: os.stat_result) -> None:
    """Remove the dropped file unless another has taken its name meanwhile."""
    try:
        held = _hold(path)
    except FileRefused:  # gone already, or in a folder that we may not change: it will be recognised as a left-over
        return
    if _identity(held.lstat()) == _identity(status):
        held.unlink()
    else:
        _put_back(held, path)


def _reserve(folder: Path, name: str) -> Path:
    """A name in ``folder`` that nobody has, with an empty file in its place."""
    ending = extension(name, "")
    stem = name[: len(name) - len(ending)]
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{stem} ({number}){ending}")
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return target
        except FileExistsError:
            number += 1


def _copy_aside(path: Path, folder: Path, name: str, note: str) -> Path:
    target = _reserve(folder, safe_label(name))
    copy_synced(path, target)
    _write_note(target, note)
    return target


def _move_aside(held: Path, folder: Path, name: str, note: str) -> Path:
    target = _reserve(folder, safe_label(name))
    try:
        _move(held, target)
    except BaseException:
        target.unlink()
        raise
    with suppress(OSError):  # somebody else's file stays as it was
        target.chmod(0o600)
    _write_note(target, note)
    return target


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError:  # another file system
        copy_synced(source, target)
        source.unlink()


def _write_note(target: Path, note: str) -> None:
    path = _reserve(target.parent, f"{target.name}.note.txt")
    path.write_text(note, encoding="utf-8")
    sync_folder(target.parent)


def _note(error: BulkOrdersError) -> str:
    """Japanese first, then English; CRLF and a BOM, so that any editor of any age shows it."""
    lines: list[str] = []
    for language in ("ja", "en"):
        text = catalogue.fill(error.code, error.facts, language)
        lines += [error.code, text.message, text.cause, text.remedy, ""]
    return "\ufeff" + "\r\n".join(lines)
