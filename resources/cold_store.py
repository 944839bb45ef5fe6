"""Where months go that leave the database: a folder of ours, or what fsspec reaches (S3 with `s3://bucket/prefix`).

Nothing in it is ever written twice: what has a name keeps its content, and the name tells it. Killed while writing: on
a disk a hidden half file, which the next try replaces; in S3 nothing, an object is there or not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from domain.errors import SettingRefused, TransientError
from resources.regular_files import sync_folder

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ColdPlace:
    """Where it is. ``kms_key``: of S3, for SSE-KMS; ``locked``: objects of S3 cannot go before their time is over."""

    url: str
    kms_key: str | None = None
    locked: bool = False


class ColdStore:
    """One cold store; connected when it is first used."""

    def __init__(self, place: ColdPlace) -> None:
        self.place = place
        self._known: tuple[Any, str] | None = None

    def put(self, name: str, source: Path, keep_until: datetime) -> None:
        """Store a file under a name that tells its content; there already with this size, it stays.

        Raises:
            TransientError: SYS-COLD-STORE.
        """
        with self._opened() as (system, root):
            target = f"{root}/{name}"
            if system.exists(target) and system.size(target) == source.stat().st_size:
                return
            if _is_local(system):
                _put_on_disk(source, Path(target))
            else:
                system.put_file(str(source), target, **self._options(system, keep_until))

    def put_text(self, name: str, text: str, scratch: Path, keep_until: datetime) -> None:
        """The same for a short text."""
        scratch.write_text(text, encoding="utf-8")
        self.put(name, scratch, keep_until)

    def digest(self, name: str) -> str | None:
        """SHA-256 of what is stored, hexadecimal; None when nothing is.

        Raises:
            TransientError: SYS-COLD-STORE.
        """
        hasher = hashlib.sha256()
        try:
            with self._opened(FileNotFoundError) as (system, root), system.open(f"{root}/{name}", "rb") as file:
                while chunk := file.read(_CHUNK):
                    hasher.update(chunk)
        except FileNotFoundError:
            return None
        return hasher.hexdigest()

    def text(self, name: str) -> str | None:
        """A short text, spoilt octets of it as U+FFFD; None when there is none.

        Raises:
            TransientError: SYS-COLD-STORE.
        """
        try:
            with self._opened(FileNotFoundError) as (system, root), system.open(f"{root}/{name}", "rb") as file:
                return bytes(file.read()).decode(errors="replace")
        except FileNotFoundError:
            return None

    def fetch(self, name: str, target: Path) -> None:
        """A copy of what is stored, to read it back.

        Raises:
            TransientError: SYS-COLD-STORE; also when nothing is stored under this name.
        """
        with self._opened() as (system, root), system.open(f"{root}/{name}", "rb") as file:
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as copy:
                shutil.copyfileobj(file, copy, _CHUNK)

    def remove(self, name: str) -> None:
        """Destroy what is stored; nothing there is fine.

        Raises:
            TransientError: SYS-COLD-STORE; a lock of S3 is not over yet, say.
        """
        with suppress(FileNotFoundError), self._opened(FileNotFoundError) as (system, root):
            target = f"{root}/{name}"
            if _is_local(system):
                with suppress(FileNotFoundError):
                    Path(target).chmod(0o600)
            system.rm_file(target)

    def _options(self, system: Any, keep_until: datetime) -> dict[str, Any]:
        if "s3" not in _protocols(system):
            return {}
        options: dict[str, Any] = {}
        if self.place.kms_key:
            options |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.place.kms_key}
        if self.place.locked:
            options |= {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": keep_until}
        return options

    @contextmanager
    def _opened(self, *passing: type[Exception]) -> Iterator[tuple[Any, str]]:
        """The file system and our place in it; its errors may tell of credentials and end here, ``passing`` apart."""
        try:
            if self._known is None:
                self._known = _connected(self.place.url)
            yield self._known
        except SettingRefused:
            raise
        except passing:
            raise
        except Exception as error:
            raise TransientError("SYS-COLD-STORE", kind=type(error).__name__) from None


def _connected(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError):
        scheme = url.partition("://")[0]
        raise SettingRefused("SYS-COLD-LIBRARY-MISSING", scheme=scheme) from None
    return system, str(root).rstrip("/")


def _protocols(system: Any) -> tuple[str, ...]:
    found = system.protocol
    return (found,) if isinstance(found, str) else tuple(found)


def _is_local(system: Any) -> bool:
    return "file" in _protocols(system)


def _put_on_disk(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = target.with_name(f".{target.name}.part")
    half.unlink(missing_ok=True)
    with open(source, "rb") as reading:
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with os.fdopen(descriptor, "wb") as writing:
            shutil.copyfileobj(reading, writing, _CHUNK)
            writing.flush()
            os.fsync(writing.fileno())
    half.replace(target)
    sync_folder(target.parent)
