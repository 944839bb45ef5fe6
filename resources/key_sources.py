"""Where master keys come from: the environment, a key file, or a command that unwraps what they hold.

Text with one key a line, the newest first: 32 octets in base64. Where a command is named, each line is what it unwraps,
base64 of any length: the command gets its octets on standard input and writes the key, in base64, to standard output.
So a KMS keeps the key that opens ours, and neither is ever an argument of a process. For AWS KMS, whose command line
does exactly that (a line is the CiphertextBlob of `aws kms generate-data-key-without-plaintext`):

    BULK_ORDERS_KEY_COMMAND="aws kms decrypt --ciphertext-blob fileb:///dev/stdin --query Plaintext --output text"
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import KeyRefused, OperationRefused, TransientError
from resources.encryption import KEY_BYTES, MasterKey

_COMMAND_SECONDS = 30


@dataclass(frozen=True, slots=True)
class KeySource:
    """``encoded`` is the text of the environment; without it that of ``file`` counts."""

    encoded: str | None = field(repr=False)
    file: Path
    command: str | None = None

    def keys(self) -> list[bytes]:
        """All master keys, the newest first.

        Raises:
            KeyRefused: there is none, one is not 32 octets in base64, or the command gave none.
        """
        lines = self._text().split()
        if not lines:
            raise KeyRefused("SYS-KEY-INVALID")
        command = None if self.command is None else _arguments(self.command)
        return [_checked(line if command is None else _unwrapped(command, _decoded(line))) for line in lines]

    @property
    def is_there(self) -> bool:
        """Whether any key was given, good or not."""
        return self.encoded is not None or self.file.exists()

    @property
    def makes_keys(self) -> bool:
        """Whether a new key can be made here: only in a key file that holds keys as they are."""
        return self.encoded is None and self.command is None

    def make_first(self) -> None:
        """Make the key file of a new installation; one that exists is never touched.

        Raises:
            KeyRefused: keys of this installation are given from elsewhere.
        """
        if not self.makes_keys:
            raise KeyRefused("SYS-KEY-MISSING")
        make_key_file(self.file)

    def make_newest(self) -> None:
        """Put a new key before those in the key file. Killed anywhere, the file is as before or whole.

        Raises:
            OperationRefused: keys are not made here.
        """
        self._replace([_new_key(), *self._text().split()])

    def drop(self, key_id: str) -> None:
        """Take a key out of the key file.

        Raises:
            OperationRefused: keys are not kept here.
        """
        self._replace([line for line in self._text().split() if MasterKey(_checked(line)).key_id != key_id])

    def _text(self) -> str:
        if self.encoded is not None:
            return self.encoded
        try:
            return self.file.read_text(encoding="ascii")
        except (OSError, UnicodeError):
            raise KeyRefused("SYS-KEY-MISSING") from None

    def _replace(self, lines: list[str]) -> None:
        if not self.makes_keys:
            raise OperationRefused("SYS-KEY-MADE-ELSEWHERE")
        try:
            draft = _draft_of(self.file, "".join(f"{line}\n" for line in lines))
            draft.replace(self.file)
        except OSError:
            raise TransientError("SYS-FOLDER-NOT-WRITABLE", variable="BULK_ORDERS_ENCRYPTION_KEY_FILE") from None


def make_key_file(key_file: Path) -> None:
    """Make a new random key, readable by its owner only. An existing file is never touched."""
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = _draft_of(key_file, _new_key() + "\n")
    try:
        # A hard link fails where the name exists: two starts at once agree on one key.
        os.link(draft, key_file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _draft_of(key_file: Path, text: str) -> Path:
    draft = key_file.with_name(f".{key_file.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
    return draft


def _new_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _arguments(command: str) -> list[str]:
    try:
        arguments = shlex.split(command)
    except ValueError:
        arguments = []
    if not arguments:
        raise KeyRefused("SYS-KEY-COMMAND")
    return arguments


def _unwrapped(command: list[str], wrapped: bytes) -> str:
    """What the command answers. Its own words about what went wrong may hold anything: they are not repeated."""
    try:
        ran = subprocess.run(command, input=wrapped, capture_output=True, timeout=_COMMAND_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        raise KeyRefused("SYS-KEY-COMMAND") from None
    if ran.returncode != 0:
        raise KeyRefused("SYS-KEY-COMMAND")
    return ran.stdout.decode("latin-1").strip()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise KeyRefused("SYS-KEY-INVALID") from None


def _checked(text: str) -> bytes:
    key = _decoded(text)
    if len(key) != KEY_BYTES:
        raise KeyRefused("SYS-KEY-INVALID")
    return key
