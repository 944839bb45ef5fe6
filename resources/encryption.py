"""Personal data at rest: AES-256-GCM, one sealed value per row of a file (R-48); and what of it must be compared.

    sealed = version (1 byte) | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag

Table, column and row are the associated data: a value moved to another row does not open. Keys come from the
environment or from a key file that only its owner can read; no key is ever stored in the database.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.errors import KeyRefused

_VERSION = b"\x01"
_KEY_BYTES = 32
_ID_BYTES = 4
_NONCE_BYTES = 12
_LIKENESS_BYTES = 8
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _NONCE_BYTES
# No cell holds a NUL (the reader refuses such a file): joined by it, 10,000 rows take 4 ms where JSON takes 43.
_BETWEEN_CELLS = "\0"


class Vault:
    """Seals and opens the cells of rows with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"key id" + key).digest()[:_ID_BYTES]
        self._tagging = hmac.digest(key, b"tags", "sha256")
        self._likening = hmac.digest(key, b"likeness", "sha256")

    def __repr__(self) -> str:
        return f"Vault(key_id={self.key_id!r})"

    @property
    def key_id(self) -> str:
        """Names the key without telling anything about it; 8 hexadecimal digits."""
        return self._id.hex()

    def seal_cells(self, batch_id: str, import_row_number: int, cells: Sequence[str]) -> bytes:
        """Encrypt the cells of one row: at least one, none with a NUL character (ValueError, without the cells)."""
        plain = _BETWEEN_CELLS.join(cells)
        if plain.count(_BETWEEN_CELLS) != len(cells) - 1:
            raise ValueError("cells that would not come back as they are")
        return self._seal(plain.encode(), _row_address(batch_id, import_row_number))

    def seal_rows(self, batch_id: str, first_row_number: int, rows: Sequence[bytes]) -> list[bytes]:
        """Encrypt rows that follow each other, the cells of each joined by NUL: as `seal_cells`, in half the time."""
        # All nonces in one draw: 10,000 draws took 8 ms. They end with this call, so no fork can use them twice.
        nonces = os.urandom(_NONCE_BYTES * len(rows))
        head, address = _VERSION + self._id, _row_address(batch_id, "")
        sealed = []
        for at, plain in enumerate(rows):
            nonce = nonces[at * _NONCE_BYTES : (at + 1) * _NONCE_BYTES]
            here = address + b"%d" % (first_row_number + at)
            sealed.append(head + nonce + self._cipher.encrypt(nonce, plain, here))
        return sealed

    def open_cells(self, batch_id: str, import_row_number: int, sealed: bytes) -> list[str]:
        """Decrypt the cells of one row.

        Raises:
            KeyRefused: another key, or a value that was changed or moved.
        """
        return self._open(sealed, _row_address(batch_id, import_row_number)).decode().split(_BETWEEN_CELLS)

    def tag(self, text: str) -> bytes:
        """A keyed checksum (32 bytes): whoever shows it again with ``text`` has it from us."""
        return hmac.digest(self._tagging, text.encode(), "sha256")

    def likeness(self, described: bytes) -> int:
        """A number of 64 bits, equal for equal octets, that tells nothing of them without the key (a blind index)."""
        # BLAKE2b with its own key: as HMAC-SHA-256, in half the time (7 ms per 10,000).
        keyed = hashlib.blake2b(described, digest_size=_LIKENESS_BYTES, key=self._likening)
        return int.from_bytes(keyed.digest(), "big", signed=True)

    def make_check_value(self) -> bytes:
        """A value that only this key opens, to recognise a wrong key at start."""
        return self._seal(b"check", b"check")

    def opens(self, check_value: bytes) -> bool:
        """Whether this key made ``check_value``."""
        try:
            return self._open(check_value, b"check") == b"check"
        except KeyRefused:
            return False

    def _seal(self, plain: bytes, address: bytes) -> bytes:
        # Drawn anew each time: a stock kept between calls would be used twice after a fork, and twice is what GCM does
        # not survive.
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + self._id + nonce + self._cipher.encrypt(nonce, plain, address)

    def _open(self, sealed: bytes, address: bytes) -> bytes:
        if sealed[:1] != _VERSION or sealed[1 : 1 + _ID_BYTES] != self._id:
            raise KeyRefused("SYS-KEY-WRONG", key_id=self.key_id)
        try:
            return self._cipher.decrypt(sealed[1 + _ID_BYTES : _HEAD_BYTES], sealed[_HEAD_BYTES:], address)
        except (InvalidTag, ValueError):  # ValueError: cut off within its head
            raise KeyRefused("SYS-KEY-WRONG", key_id=self.key_id) from None


def _row_address(batch_id: str, import_row_number: int | str) -> bytes:
    return f"import_rows|cells|{batch_id}|{import_row_number}".encode()


def open_vault(encoded_key: str | None, key_file: Path) -> Vault:
    """The vault of the key given in the environment, else of the key file.

    Raises:
        KeyRefused: there is no key, or it is not 32 bytes in base64.
    """
    text = encoded_key
    if text is None:
        try:
            text = key_file.read_text(encoding="ascii")
        except (OSError, UnicodeError):
            raise KeyRefused("SYS-KEY-MISSING") from None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise KeyRefused("SYS-KEY-INVALID") from None
    if len(key) != _KEY_BYTES:
        raise KeyRefused("SYS-KEY-INVALID")
    return Vault(key)


def make_key_file(key_file: Path) -> None:
    """Make a new random key, readable by its owner only. An existing file is never touched."""
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = key_file.with_name(f".{key_file.name}.{secrets.token_hex(6)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A hard link fails where the name exists: two starts at once agree on one key.
        os.link(draft, key_file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
