"""Where tests keep whole installations: in memory where the machine has room there.

A PostgreSQL database is some hundred files, and each test makes one: on a disk that takes seconds, in memory less than
a tenth. Nothing here may depend on what outlives the machine.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 3_000_000_000


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that other users may enter but not list: the database may run as another user."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if _has_room(_MEMORY) else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free > _ROOM_BYTES
