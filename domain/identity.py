"""Names that are derived, never drawn: whoever works on the same thing again arrives at the same name.

Batch id from the day and the file's digest, idempotency key from batch, row and kind of effect, request digest from the
body of the call. No name holds anything personal.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from ipaddress import ip_address
from urllib.parse import urlsplit

from domain.states import EffectKind

DEFAULT_CLIENT = "default"
"""The client of a file that lies in the import folder itself."""

THIS_MACHINE = "localhost"

_NOT_A_WORD = re.compile(r"[\W_]+")
_SLUG_LENGTH = 32
_DIGEST_LENGTH = 12


def client_slug(name: str) -> str:
    """The client's name as it may stand in keys, folders and URLs: letters of any script, digits and hyphens."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _NOT_A_WORD.sub("-", folded).strip("-")[:_SLUG_LENGTH].strip("-") or DEFAULT_CLIENT


def batch_id(day: date, client: str, file_sha256: bytes) -> str:
    """``<yyyymmdd>-<client>-<digest12>``: the batch's name and its partition key in Dagster."""
    return f"{day:%Y%m%d}-{client_slug(client)}-{file_sha256.hex()[:_DIGEST_LENGTH]}"


def idempotency_key(batch: str, import_row_number: int, kind: EffectKind) -> str:
    """The same key for every call of one effect, as long as the service holds no failure for it; 43 characters."""
    digest = hashlib.sha256(f"{batch}|{import_row_number}|{kind.value}".encode()).digest()
    return "bo1-" + base64.b32encode(digest).decode().rstrip("=").lower()[:39]


def renewed_key(key: str, attempt: int) -> str:
    """The key of an effect from its next call on, once the service holds a failure for the old one; 43 characters.

    Only after proof that the old key has no effect behind it.
    """
    digest = hashlib.sha256(f"{key}|{attempt}".encode()).digest()
    return "bo1-" + base64.b32encode(digest).decode().rstrip("=").lower()[:39]


def service_name(url: str) -> str:
    """What a service is known by where nobody named it: host, port and path. All services of this machine are one.

    Neither scheme nor login are part of it, they may change; and what runs here, the sandbox above all, comes back at
    another port each time.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    where = THIS_MACHINE if _is_this_machine(host) else host
    if parts.port not in (None, 80, 443) and where != THIS_MACHINE:
        where += f":{parts.port}"
    return where + parts.path.rstrip("/")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == THIS_MACHINE


def canonical_body(body: Mapping[str, object]) -> bytes:
    """The bytes of a request: keys sorted, no spaces, UTF-8. What is sent is what was digested."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def request_digest(body: bytes) -> bytes:
    """SHA-256 of a request's bytes, frozen when the effect is planned (32 bytes)."""
    return hashlib.sha256(body).digest()
