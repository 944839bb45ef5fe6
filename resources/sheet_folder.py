"""The folder of key sheets: written whole, replaced whole, destroyed for good.

    <folder>/<batch_id>/<sheet id>.sheet      mode 0600
    <folder>/<batch_id>/destroyed             every sheet of the batch was destroyed
    <folder>/.erasures.jsonl                  which rows' keys were destroyed: numbers alone

It is no part of a backup of the data, and a backup of it is short-lived: see docs/decisions/0036 and 0037.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from domain.errors import KeyRefused, RowErased, TransientError
from resources.key_sheets import HEAD, Sealing, Sheet, head_of, rewrapped
from resources.regular_files import sync_folder

_NAME = re.compile(r"[0-9a-f]{16}\.sheet")
_ERASURES = ".erasures.jsonl"
_DESTROYED = "destroyed"
_HALF = ".part"
_BATCH_ID = re.compile(r"\w[\w\-]{0,99}")


class KeySheets:
    """The sheets of one installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, sheet: Sheet, master: Sealing) -> None:
        """Put a new sheet on the disk.

        Raises:
            TransientError: the folder cannot be written.
        """
        with _our_errors():
            folder = self._folder_of(sheet.batch_id)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.changing(sheet.batch_id), _our_errors():
            self._put(folder, _name(sheet.sheet_id), sheet.as_file(master))

    def version(self, batch_id: str, sheet_id: bytes) -> tuple[int, int]:
        """Changes whenever the sheet is replaced.

        Raises:
            KeyRefused: there is no such sheet.
            RowErased: every sheet of the batch was destroyed.
        """
        try:
            status = (self._folder_of(batch_id) / _name(sheet_id)).stat()
        except OSError:
            if (self._folder_of(batch_id) / _DESTROYED).exists():
                raise RowErased("BATCH-ROWS-EXPIRED", batch=batch_id) from None
            raise KeyRefused("SYS-ROW-KEYS-MISSING", batch=batch_id) from None
        return status.st_ino, status.st_mtime_ns

    def read(self, batch_id: str, sheet_id: bytes) -> bytes:
        """The file of a sheet.

        Raises:
            KeyRefused: there is none.
        """
        try:
            return (self._folder_of(batch_id) / _name(sheet_id)).read_bytes()
        except OSError:
            raise KeyRefused("SYS-ROW-KEYS-MISSING", batch=batch_id) from None

    def head(self, batch_id: str, sheet_id: bytes) -> bytes:
        """What a master key sealed of it: tells which one.

        Raises:
            KeyRefused: there is no such sheet, or it is none.
        """
        try:
            with open(self._folder_of(batch_id) / _name(sheet_id), "rb") as file:
                return head_of(batch_id, file.read(HEAD))
        except OSError:
            raise KeyRefused("SYS-ROW-KEYS-MISSING", batch=batch_id) from None

    def batches(self) -> list[str]:
        """The batches that have sheets, sorted."""
        with suppress(OSError):
            return sorted(path.name for path in self.folder.iterdir() if _BATCH_ID.fullmatch(path.name))
        return []

    def of_batch(self, batch_id: str) -> list[bytes]:
        """The sheets of a batch, also those whose rows were never committed."""
        with suppress(OSError):
            names = (path.name for path in self._folder_of(batch_id).iterdir())
            return sorted(bytes.fromhex(name.partition(".")[0]) for name in names if _NAME.fullmatch(name))
        return []

    @contextmanager
    def changing(self, batch_id: str) -> Iterator[None]:
        """Be the only one who changes sheets of a batch; a killed process lets go by itself.

        What one left half written goes: it may hold keys that are to be destroyed.
        """
        folder = self._folder_of(batch_id)
        with _our_errors():
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with _our_errors():
                for half in folder.glob(f".*{_HALF}"):
                    _destroy(half)
            yield
        finally:
            os.close(descriptor)

    def rewrap(self, batch_id: str, sheet_id: bytes, old: Sealing, new: Sealing) -> None:
        """Seal a sheet's file key under another master key. Within `changing`; killed, one of the two opens it."""
        octets = rewrapped(batch_id, sheet_id, self.read(batch_id, sheet_id), old, new)
        with _our_errors():
            self._put(self._folder_of(batch_id), _name(sheet_id), [octets])

    def destroy(self, sheet: Sheet, rows: Collection[int], master: Sealing) -> None:
        """Replace a sheet by one without these rows' keys, and write over what it was. Within `changing`."""
        folder = self._folder_of(sheet.batch_id)
        pieces = sheet.without(rows).as_file(master)
        with _our_errors(), open(folder / _name(sheet.sheet_id), "rb+", buffering=0) as before:
            self._put(folder, _name(sheet.sheet_id), pieces)
            _write_over(before.fileno())

    def destroy_batch(self, batch_id: str) -> int:
        """Destroy every sheet of a batch: none of its rows is ever opened again. How many there were."""
        folder = self._folder_of(batch_id)
        with _our_errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.changing(batch_id), _our_errors():
            self._put(folder, _DESTROYED, [])
            sheets = self.of_batch(batch_id)
            for sheet_id in sheets:
                _destroy(folder / _name(sheet_id))
        return len(sheets)

    # -- erasures -----------------------------------------------------------------------------------------------------

    def note_erasure(self, number: int, rows: Mapping[str, Sequence[int]]) -> None:
        """Write down beside the keys that these were destroyed: the database may come back from a backup."""
        told = json.dumps({"erasure": number, "rows": {batch: list(found) for batch, found in rows.items()}})
        line = f"\n{told}\n"  # begun anew: the last one may have been cut off
        with _our_errors():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self.folder / _ERASURES, flags, 0o600)
            try:
                os.write(descriptor, line.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_folder(self.folder)

    def erasures(self) -> dict[int, dict[str, list[int]]]:
        """The erasures that were carried out here: their rows by batch. A line that was cut off was not finished."""
        found: dict[int, dict[str, list[int]]] = {}
        with suppress(OSError):
            for line in (self.folder / _ERASURES).read_text(encoding="ascii", errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    told = json.loads(line)
                    found[int(told["erasure"])] = dict(told["rows"])
        return found

    def _folder_of(self, batch_id: str) -> Path:
        if not _BATCH_ID.fullmatch(batch_id):
            raise KeyRefused("SYS-ROW-KEYS-MISSING", batch="?")
        return self.folder / batch_id

    def _put(self, folder: Path, name: str, pieces: Iterable[bytes]) -> None:
        half = folder / f".{name}.{os.urandom(6).hex()}{_HALF}"
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        half.replace(folder / name)
        sync_folder(folder)


def _write_over(descriptor: int) -> None:
    """Zeros in place of what a file held. What a medium keeps besides is still sealed under a master key."""
    os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
    os.fsync(descriptor)


def _destroy(path: Path) -> None:
    with open(path, "rb+", buffering=0) as file:
        path.unlink()
        _write_over(file.fileno())


def _name(sheet_id: bytes) -> str:
    return f"{sheet_id.hex()}.sheet"


@contextmanager
def _our_errors() -> Iterator[None]:
    """A full disk or a forbidden folder, in our words; the system's own message holds paths."""
    try:
        yield
    except OSError:
        raise TransientError("SYS-FOLDER-NOT-WRITABLE", variable="BULK_ORDERS_KEY_SHEETS_DIR") from None
