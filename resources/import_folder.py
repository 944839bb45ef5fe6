"""Looking at the import folder: which dropped files no longer change. Looking changes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from domain.identity import DEFAULT_CLIENT
from resources import side_files
from resources.file_labels import is_ignored
from resources.regular_files import is_being_written

Memory = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file in the import folder. ``client`` is its folder's name as it is, `DEFAULT_CLIENT` for the folder itself.

    ``arrived`` is when it came there or was last written (epoch seconds); ``sides`` are the files of totals beside it.
    """

    path: Path
    client: str
    size: int
    mtime_ns: int
    inode: int
    arrived: float = 0.0
    sides: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the import folder saw. ``memory`` is to be handed to the next look.

    ``settled`` are files of orders, each with its files of totals, which have settled too; ``alone`` are files of
    totals whose orders are not there.
    """

    settled: list[DroppedFile]
    memory: Memory
    waiting: int
    alone: list[DroppedFile] = field(default_factory=list)


def look(import_dir: Path, memory: Mapping[str, list[int]], settle_seconds: float, now: float) -> Look:
    """The files that no longer change, oldest first: size, time and inode as at the last look, and of some age.

    Not one that somebody has open for writing: an upload that stalls looks finished, and its last row may be cut.

    ``memory`` holds only the files still lying there, under hashes of their names, so that it may be shown anywhere.
    What cannot be looked at is passed over and never disturbs the others.
    """
    settled: list[DroppedFile] = []
    alone: list[DroppedFile] = []
    lying: Memory = {}
    for files in _dropped(import_dir):
        quiet: set[Path] = set()
        for file in files:
            seen = [file.size, file.mtime_ns, file.inode]
            key = hashlib.blake2b(os.fsencode(file.path), digest_size=9).hexdigest()
            lying[key] = seen
            # Its time may lie ahead, by another clock: two looks alike say enough then.
            is_old = abs(now - file.mtime_ns / 1e9) >= settle_seconds
            if memory.get(key) == seen and is_old and not is_being_written(file.path):
                quiet.add(file.path)
        orders, without = _with_their_totals(files)
        settled += [file for file in orders if quiet.issuperset((file.path, *file.sides))]
        alone += [file for file in without if file.path in quiet]
    settled.sort(key=lambda file: (file.mtime_ns, os.fsencode(file.path)))
    taken = sum(1 + len(file.sides) for file in settled) + len(alone)
    return Look(settled, lying, len(lying) - taken, alone)


def _with_their_totals(files: Sequence[DroppedFile]) -> tuple[list[DroppedFile], list[DroppedFile]]:
    """The files of orders of one folder with the files of totals beside them, and the files of totals of none."""
    owner_of = side_files.owners(file.path.name for file in files)
    sides: dict[str | None, list[DroppedFile]] = {}
    for file in files:
        if file.path.name in owner_of:
            sides.setdefault(owner_of[file.path.name], []).append(file)
    orders = [
        replace(file, sides=tuple(sorted(side.path for side in sides.get(file.path.name, []))))
        for file in files
        if file.path.name not in owner_of
    ]
    return orders, sides.get(None, [])


def _dropped(import_dir: Path) -> Iterator[list[DroppedFile]]:
    """Folder by folder."""
    for entry in _entries(import_dir):
        if _is_folder(entry):
            yield list(_files(Path(entry.path), entry.name))
    yield list(_files(import_dir, DEFAULT_CLIENT))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # vanished or forbidden: nothing to see there now
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and not is_ignored(entry.name)
    except OSError:
        return False


def _files(folder: Path, client: str) -> Iterator[DroppedFile]:
    for entry in _entries(folder):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # vanished while we looked
            continue
        if stat.S_ISREG(status.st_mode) and not is_ignored(entry.name):
            # Copied with its old time, a file has been here since its entry changed.
            arrived = max(status.st_mtime_ns, status.st_ctime_ns) / 1e9
            yield DroppedFile(Path(entry.path), client, status.st_size, status.st_mtime_ns, status.st_ino, arrived)
