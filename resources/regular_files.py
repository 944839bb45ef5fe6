"""Opening, copying and moving files that others gave us. Their names are labels; what is opened is a regular file.

No link is followed, no FIFO waited for, no device read. What is written is synced to the disk, file and folder.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from domain.errors import FileRefused

_CHUNK_BYTES = 1 << 20
_NOT_OPENED = {errno.ENOENT: "FILE-NOT-FOUND", errno.ELOOP: "FILE-NOT-REGULAR", errno.ENXIO: "FILE-NOT-REGULAR"}


def open_regular(path: Path) -> int:
    """A descriptor for reading.

    Raises:
        FileRefused: FILE-NOT-FOUND, FILE-IS-DIRECTORY, FILE-NOT-REGULAR or FILE-UNREADABLE.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:  # NUL in the name
        raise FileRefused("FILE-NOT-FOUND") from None
    except OSError as error:
        raise FileRefused(_NOT_OPENED.get(error.errno or 0, "FILE-UNREADABLE")) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise FileRefused("FILE-IS-DIRECTORY" if stat.S_ISDIR(mode) else "FILE-NOT-REGULAR")


def digest(path: Path) -> bytes:
    """SHA-256 of the content (32 bytes), in constant memory.

    Raises:
        FileRefused: as `open_regular`.
    """
    hasher = hashlib.sha256()
    for chunk in _chunks(open_regular(path)):
        hasher.update(chunk)
    return hasher.digest()


def is_being_written(path: Path) -> bool:
    """Whether a program of this machine has the file open for writing, be it that it has not written for long.

    As far as the system tells: Linux does, of our own user's files, and root of any; else it counts as no.
    """
    if sys.platform != "linux":
        return False
    try:
        descriptor = open_regular(path)
    except FileRefused:
        return False
    try:
        # Who opens it for writing in this very moment waits for us, and we are told by a signal: one that is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def copy_synced(source: Path, target: Path) -> tuple[bytes, os.stat_result]:
    """Copy into ``target`` (made or emptied, mode 0600) and sync it; nothing is left of a copy that fails.

    Gives the digest of the bytes written, and the status of the very file they were read from.

    Raises:
        FileRefused: as `open_regular`, for the source.
    """
    reading = open_regular(source)
    status = os.fstat(reading)
    hasher = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(target, flags, 0o600), "wb") as writing:
            for chunk in _chunks(reading):
                hasher.update(chunk)
                writing.write(chunk)
            writing.flush()
            os.fsync(writing.fileno())
    except OSError:  # a full disk would stay full
        target.unlink(missing_ok=True)
        raise
    return hasher.digest(), status


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _chunks(descriptor: int) -> Iterator[bytes]:
    with open(descriptor, "rb", buffering=0) as file:
        try:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
        except OSError:
            raise FileRefused("FILE-UNREADABLE") from None
