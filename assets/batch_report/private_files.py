"""Files of a report: readable by their owner only, whole or not there, written by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


class PrivateFile:
    """A file under another name until `finish`; what a killed writer left of it is written over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = _draft_of(path)
        self._draft.unlink(missing_ok=True)
        self.octets: IO[bytes] = os.fdopen(os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def __enter__(self) -> PrivateFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.octets.close()
        self._draft.unlink(missing_ok=True)  # of a writer that failed

    def finish(self) -> None:
        """Give it its name, now that everything in it is on the disk."""
        self.octets.flush()
        os.fsync(self.octets.fileno())
        self._draft.replace(self._path)


def leave_nothing(path: Path) -> None:
    """Remove a file of an earlier report that this one does not have, and what a killed writer left of it."""
    path.unlink(missing_ok=True)
    _draft_of(path).unlink(missing_ok=True)


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Be the only one who writes into a folder, made if it is missing; a killed one lets go by itself."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
