"""A folder for one benchmark, gone at its end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def bench_folder() -> Iterator[Path]:
    """Others may enter it: run by root, the database works as another user, inside the folder and nowhere else."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)
