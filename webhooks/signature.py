"""Whether a request really comes from the payment service: HMAC-SHA256 over time and raw body.

    Payment-Signature: t=1767225600,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd

``v1`` is the hexadecimal HMAC-SHA256, under the shared secret, of the digits of ``t``, a full stop, and the body as it
travels. ``t`` is in seconds since 1970 and within five minutes of our clock. ``v1`` may stand there more than once,
while a secret is exchanged. Looked at before anything of the body is read as JSON.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from webhooks.refusal import Refused

HEADER = "Payment-Signature"
WINDOW_SECONDS = 300
_MOST_SIGNATURES = 4
_TIME = re.compile(r"t=([0-9]{1,12})")
_SIGNATURE = re.compile(r"v1=([0-9a-f]{64})")
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9]{0,15}=[!-+\--~]{0,128}")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets that are accepted: the one in use and, during an exchange, the one before."""

    accepted: tuple[bytes, ...] = field(repr=False)

    def verify(self, header: str | None, body: bytes, now: float) -> None:
        """Return when the request is genuine and fresh.

        Raises:
            Refused: 401 with `signature_missing`, `signature_malformed`, `signature_expired` or `signature_wrong`.
        """
        if not header:
            raise Refused(401, "signature_missing", suspicious=True)
        time_text, given = _parts(header)
        if abs(now - int(time_text)) > WINDOW_SECONDS:
            raise Refused(401, "signature_expired", suspicious=True)
        # All of them, without stopping at the first: how long it takes tells nothing.
        genuine = [
            hmac.compare_digest(signature(secret, time_text, body), each) for secret in self.accepted for each in given
        ]
        if not any(genuine):
            raise Refused(401, "signature_wrong", suspicious=True)


def signature(secret: bytes, time_text: str, body: bytes) -> str:
    """The hexadecimal signature of a body at a time."""
    return hmac.new(secret, time_text.encode() + b"." + body, hashlib.sha256).hexdigest()


def _parts(header: str) -> tuple[str, list[str]]:
    times, signatures = [], []
    for part in header.split(","):
        word = part.strip(" ")
        if time := _TIME.fullmatch(word):
            times.append(time[1])
        elif found := _SIGNATURE.fullmatch(word):
            signatures.append(found[1])
        elif word.startswith(("t=", "v1=")) or not _OTHER_SCHEME.fullmatch(word):
            raise Refused(401, "signature_malformed", suspicious=True)
    if len(times) != 1 or not 1 <= len(signatures) <= _MOST_SIGNATURES:
        raise Refused(401, "signature_malformed", suspicious=True)
    return times[0], signatures
