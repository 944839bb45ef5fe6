"""Files of a batch that hold what must not be read any more: replaced, and what they were written over.

Killed in between, the file is the old one or the new one, and the next call makes it the new one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from domain.errors import FileRefused, TransientError
from resources.regular_files import digest, sync_folder

_BLOCK = bytes(1 << 20)


def replace_archive(archived: Path, pieces: Iterable[bytes], name: str | None = None) -> bytes:
    """Put ``pieces`` in place of an archived file, read-only as it was, under another ``name`` where one is given.

    The SHA-256 of what stands there now.

    Raises:
        TransientError: the folder cannot be written.
    """
    half, final = archived.with_name(".source.redacted"), archived.with_name(name or archived.name)
    hasher = hashlib.sha256()
    with _our_errors():
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            for piece in pieces:
                hasher.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        half.chmod(0o400)
        with _written_over(archived):
            half.replace(final)
            if final != archived:
                archived.unlink()
            sync_folder(archived.parent)
    return hasher.digest()


def destroy_copies(folder: Path, of: set[bytes]) -> int:
    """Remove every file under ``folder`` whose SHA-256 is among ``of``, and write over it; how many there were.

    Raises:
        TransientError: one cannot be removed.
    """
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and _digest(path) in of]
    for path in found:
        with _our_errors(), _written_over(path):
            path.unlink()
    return len(found)


def holding(folder: Path, words: Iterable[bytes]) -> int:
    """How many files under ``folder`` hold one of these octets."""
    wanted = list(words)
    found = 0
    for path in sorted(folder.rglob("*")):
        with suppress(OSError):
            if path.is_file() and any(word in path.read_bytes() for word in wanted):
                found += 1
    return found


def _digest(path: Path) -> bytes:
    try:
        return digest(path)
    except FileRefused:
        return b""


@contextmanager
def _written_over(path: Path) -> Iterator[None]:
    """Zeros over the content of a file that loses its name in between."""
    path.chmod(0o600)
    with open(path, "rb+", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        yield
        for at in range(0, size, len(_BLOCK)):
            os.pwrite(file.fileno(), _BLOCK[: size - at], at)
        os.fsync(file.fileno())


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise TransientError("SYS-FOLDER-NOT-WRITABLE", variable="BULK_ORDERS_HOME") from None
