"""The key that signs anchors and evidence packs: Ed25519, so that whoever can verify cannot sign.

The private key is a file that only its owner can read, made at first use. It should not lie on the machine of the
database: whoever has both can write a new history. Beside it stand the public keys of all keys there ever were.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from domain.errors import KeyRefused, TransientError
from resources.key_sources import make_key_file

_KEY_BYTES = 32
PUBLIC_KEYS = "anchor-public-keys.txt"


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The public keys by their ids (16 hexadecimal digits)."""

    by_id: dict[str, bytes]

    def signed(self, key_id: str, content: bytes, signature: bytes) -> bool | None:
        """Whether this key signed this content; None: it is none of ours."""
        public = self.by_id.get(key_id)
        if public is None:
            return None
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One private key; its ``repr`` shows nothing of it."""

    _key: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """Names the key."""
        return key_id_of(self.public)

    def sign(self, content: bytes) -> bytes:
        """The signature, 64 bytes; the same for the same content."""
        return self._key.sign(content)


def key_id_of(public: bytes) -> str:
    """The name of a public key: the beginning of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


def open_signing_key(path: Path) -> SigningKey:
    """The key in ``path``, made there when it is missing; its public key joins the list beside it.

    Raises:
        KeyRefused: the file holds no key.
        TransientError: the folder cannot be written.
    """
    try:
        if not path.exists():
            make_key_file(path)
        raw = base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True)
        if len(raw) != _KEY_BYTES:
            raise KeyRefused("SYS-ANCHOR-KEY-INVALID")
        key = SigningKey(Ed25519PrivateKey.from_private_bytes(raw))
        _publish(path.parent / PUBLIC_KEYS, key)
    except (binascii.Error, ValueError):
        raise KeyRefused("SYS-ANCHOR-KEY-INVALID") from None
    except OSError:
        raise TransientError("SYS-FOLDER-NOT-WRITABLE", variable="BULK_ORDERS_ANCHOR_KEY_FILE") from None
    return key


def trusted_keys(path: Path) -> TrustedKeys:
    """The public keys beside the private key in ``path``, which itself need not be there to verify."""
    try:
        text = (path.parent / PUBLIC_KEYS).read_text(encoding="ascii")
    except (OSError, ValueError):
        return TrustedKeys({})
    found = {}
    for line in text.splitlines():
        key_id, _, encoded = line.partition(" ")
        try:
            public = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(public) == _KEY_BYTES and key_id == key_id_of(public):
            found[key_id] = public
    return TrustedKeys(found)


def _publish(path: Path, key: SigningKey) -> None:
    """One line, written in one go; two writers of the same key write the same line twice at most."""
    line = f"{key.key_id} {base64.b64encode(key.public).decode()}\n"
    if not path.exists() or line not in path.read_text(encoding="ascii"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
