"""A backup on the disk: one folder, readable by its owner alone, complete or not there at all.

    <folder>/bulk-orders-<yyyymmddThhmmssZ>/
        database.dump    the whole database, Dagster's records too
        files.tar        archived files, reports, anchors
        backup.json      what it is, with the digests of both, signed

No key is in it: neither those of personal data nor the one that signs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import NotFound, TerminalError, TransientError
from resources.regular_files import digest, sync_folder

DUMP, FILES, MANIFEST = "database.dump", "files.tar", "backup.json"
NAME = "bulk-orders-"
_HALF = ".part"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PARTS = (DUMP, FILES)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is signed about a backup: ``body`` is text, because its very bytes are."""

    body: str
    signature: str  # hexadecimal

    @property
    def said(self) -> dict[str, Any]:
        """The body's content."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of the body, hexadecimal."""
        return hashlib.sha256(self.body.encode()).hexdigest()


@contextmanager
def writing(final: Path) -> Iterator[Writing]:
    """A backup that is being made: whole under its name in the end, or gone, since it holds names in clear text.

    What a killed one left goes first.

    Raises:
        TransientError: the folder cannot be written.
        TerminalError: a backup of this very second is there.
    """
    half = final.with_name(f".{final.name}{_HALF}")
    if final.exists():
        raise TerminalError("SYS-BACKUP-EXISTS", folder=str(final))
    with our_errors():
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in final.parent.glob(f".{NAME}*{_HALF}"):
            _remove_if_left(left)
        half.mkdir(mode=0o700)
        descriptor = os.open(half, _FOLDER)
    try:
        with suppress(OSError):  # on a file system without locks the half ones of killed processes stay
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield Writing(half, final)
    finally:
        shutil.rmtree(half, ignore_errors=True)
        os.close(descriptor)


def _remove_if_left(half: Path) -> None:
    """A killed process has let go of it."""
    with suppress(FileNotFoundError):
        descriptor = os.open(half, _FOLDER)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        finally:
            os.close(descriptor)
        shutil.rmtree(half)


@dataclass(frozen=True, slots=True)
class Writing:
    """A backup that is being made in ``half``, and gets the name ``final`` last."""

    half: Path
    final: Path

    @property
    def dump(self) -> Path:
        """Where the database goes."""
        return self.half / DUMP

    def pack(self, folders: Mapping[str, Path]) -> None:
        """The folders under their names, as they are now; what goes away meanwhile is left out."""
        with our_errors():
            descriptor = os.open(self.half / FILES, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
                for name, folder in folders.items():
                    for path in sorted(folder.rglob("*")):
                        if path.is_file() and not path.is_symlink() and not path.name.endswith(_HALF):
                            with suppress(FileNotFoundError):
                                tar.add(path, f"{name}/{path.relative_to(folder)}", recursive=False)
                file.flush()

    def parts(self) -> dict[str, dict[str, str | int]]:
        """Digest and size of each part, once it is on the disk."""
        found: dict[str, dict[str, str | int]] = {}
        with our_errors():
            for name in _PARTS:
                path = self.half / name
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
                found[name] = {"sha256": digest(path).hex(), "bytes": path.stat().st_size}
        return found

    def finish(self, manifest: Manifest) -> None:
        """Put the manifest beside them and give the folder its name."""
        with our_errors():
            text = json.dumps({"body": manifest.body, "signature": manifest.signature}, sort_keys=True) + "\n"
            descriptor = os.open(self.half / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.half)
            self.half.rename(self.final)
            sync_folder(self.final.parent)


def read_manifest(folder: Path) -> Manifest:
    """What stands in a backup's manifest; nothing of it is checked yet.

    Raises:
        NotFound: there is no backup here.
        TerminalError: SYS-BACKUP-DAMAGED.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise NotFound("SYS-BACKUP-NOT-FOUND", folder=folder.name) from None
    try:
        document = json.loads(text)
        manifest = Manifest(str(document["body"]), str(document["signature"]))
        bytes.fromhex(manifest.signature)
        if not {"parts", "content", "roles", "key_id", "installation", "backup_at_us"} <= set(manifest.said):
            raise ValueError
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
        raise TerminalError("SYS-BACKUP-DAMAGED", part=MANIFEST) from None
    return manifest


def check_parts(folder: Path, manifest: Manifest) -> None:
    """Whether the parts are those that the manifest names.

    Raises:
        TerminalError: SYS-BACKUP-DAMAGED with the part that is missing, cut off or changed.
    """
    for name in _PARTS:
        path, said = folder / name, manifest.said["parts"].get(name, {})
        damaged = not path.is_file() or path.stat().st_size != said.get("bytes")
        if damaged or digest(path).hex() != said.get("sha256"):
            raise TerminalError("SYS-BACKUP-DAMAGED", part=name)


def unpack(folder: Path, places: Mapping[str, Path]) -> None:
    """Put the files where they belong. What is there stays as it is: it may be newer than the backup."""
    with our_errors(), tarfile.open(folder / FILES, mode="r") as tar:
        for member in tar:
            name, _, rest = member.name.partition("/")
            if member.isfile() and rest and name in places:
                _put(tar, member, places[name], rest)


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path, rest: str) -> None:
    target = (place / rest).absolute()
    if ".." in Path(rest).parts or os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = target.with_name(f".{target.name}{_HALF}")
    source = tar.extractfile(member)
    assert source is not None
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while chunk := source.read(1 << 20):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    half.chmod(member.mode & 0o700)
    half.rename(target)


@contextmanager
def our_errors() -> Iterator[None]:
    """A full disk or a forbidden folder, in our words."""
    try:
        yield
    except OSError:
        raise TransientError("SYS-BACKUP-NOT-WRITABLE") from None
