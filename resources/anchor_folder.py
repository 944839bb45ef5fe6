"""The folder of anchors, outside the database: one file each, written once, never opened for writing again.

    <folder>/<yyyy-mm>/<number, 9 digits>.json

Best on another machine's storage, or on one that forbids changes. Killed while writing: a hidden half file, which
nobody reads and the next writer replaces.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from domain.anchors import Anchor, read_anchor
from domain.errors import TransientError
from resources.regular_files import sync_folder

_NAME = re.compile(r"(\d{9})\.json")
_LONGEST = 64_000_000


class AnchorFolder:
    """The anchors in one folder, by number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, number: int, at_us: int, anchor: Anchor) -> None:
        """Put an anchor into its file, for good.

        Raises:
            TransientError: the folder cannot be written, or this number is taken.
        """
        month = self.folder / f"{datetime.fromtimestamp(at_us / 1_000_000, UTC):%Y-%m}"
        path = month / f"{number:09}.json"
        half = month / f".{path.name}.part"
        try:
            month.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileNotFoundError):
                half.unlink()
            descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            with os.fdopen(descriptor, "wb") as file:
                file.write(anchor.to_json().encode())
                file.flush()
                os.fsync(file.fileno())
            os.link(half, path)  # fails where the name exists
            half.unlink()
            sync_folder(month)
        except OSError:
            raise TransientError("SYS-FOLDER-NOT-WRITABLE", variable="BULK_ORDERS_ANCHOR_DIR") from None

    def numbers(self) -> list[int]:
        """The numbers of all files there are, sorted; a number twice where two folders have it."""
        return sorted(number for number, _ in self._files())

    def read_all(self) -> Iterator[tuple[int, Anchor | None]]:
        """Every anchor by its file's number, in order; None where the file holds none."""
        for number, path in sorted(self._files()):
            yield number, _read(path)

    def newest(self) -> tuple[int, Anchor] | None:
        """The readable anchor with the highest number of the newest month, without looking at all the others."""
        with suppress(OSError):
            for month in sorted((path for path in self.folder.iterdir() if path.is_dir()), reverse=True):
                for path in sorted(month.glob("*.json"), reverse=True):
                    if (named := _NAME.fullmatch(path.name)) and (anchor := _read(path)) is not None:
                        return int(named[1]), anchor
        return None

    def read(self, number: int) -> Anchor | None:
        """One anchor; None when there is none, or the file holds none."""
        found = [path for at, path in self._files() if at == number]
        return _read(found[0]) if len(found) == 1 else None

    def _files(self) -> Iterator[tuple[int, Path]]:
        with suppress(OSError):
            for path in self.folder.glob("*/*.json"):
                if named := _NAME.fullmatch(path.name):
                    yield int(named[1]), path


def _read(path: Path) -> Anchor | None:
    try:
        with open(path, "rb") as file:
            text = file.read(_LONGEST + 1)
        return None if len(text) > _LONGEST else read_anchor(text.decode())
    except (OSError, ValueError):
        return None
