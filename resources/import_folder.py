"""Looking at the import folder: which dropped files no longer change. Looking changes nothing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from domain.identity import DEFAULT_CLIENT
from resources.file_labels import is_ignored

Memory = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file in the import folder. ``client`` is its folder's name as it is, `DEFAULT_CLIENT` for the folder itself."""

    path: Path
    client: str
    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the import folder saw. ``memory`` is to be handed to the next look."""

    settled: list[DroppedFile]
    memory: Memory
    waiting: int


def look(import_dir: Path, memory: Mapping[str, list[int]], settle_seconds: float, now: float) -> Look:
    """The files that no longer change, oldest first: size, time and inode as at the last look, and of some age.

    ``memory`` holds only the files still lying there, under hashes of their names, so that it may be shown anywhere.
    What cannot be looked at is passed over and never disturbs the others.
    """
    settled: list[DroppedFile] = []
    lying: Memory = {}
    for file in _dropped(import_dir):
        seen = [file.size, file.mtime_ns, file.inode]
        key = hashlib.blake2b(os.fsencode(file.path), digest_size=9).hexdigest()
        lying[key] = seen
        if memory.get(key) == seen and now - file.mtime_ns / 1e9 >= settle_seconds:
            settled.append(file)
    settled.sort(key=lambda file: (file.mtime_ns, os.fsencode(file.path)))
    return Look(settled, lying, len(lying) - len(settled))


def _dropped(import_dir: Path) -> Iterator[DroppedFile]:
    for entry in _entries(import_dir):
        if _is_folder(entry):
            yield from _files(Path(entry.path), entry.name)
    yield from _files(import_dir, DEFAULT_CLIENT)


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
            yield DroppedFile(Path(entry.path), client, status.st_size, status.st_mtime_ns, status.st_ino)
