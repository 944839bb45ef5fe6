"""Alerts as JSON by HTTP POST, signed like the events that the payment service sends us (docs/webhook.md).

    Alert-Signature: t=1767225600,v1=5257a869...     HMAC-SHA256 under the shared secret of t, a full stop, and the body
    Alert-Id: alert-17-opened-0                      the same however often it is sent

``text`` makes it a message of chat programs too (Slack and those like it), which need no signature.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import time
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from domain.alerts import AlertMessage
from resources.alerting.channel import TIMEOUT_SECONDS, NotDelivered, done_within


@dataclass(frozen=True, slots=True)
class AlertWebhook:
    """Where alerts are posted to. The address may itself be the secret (chat programs)."""

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS
    name: str = "webhook"

    def send(self, message: AlertMessage) -> None:
        """Post once; anything but a 2xx is a failure."""
        body = json.dumps(message.as_json(), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8", "Alert-Id": message.message_id}
        if self.secret is not None:
            headers["Alert-Signature"] = signed(self.secret, body, time.time())
        post(self.url, body, headers, self.timeout_seconds)


def signed(secret: str, body: bytes, now: float) -> str:
    """The header for a body at a time."""
    moment = str(int(now))
    proof = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={proof}"


def post(url: str, body: bytes, headers: dict[str, str], timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """One POST: to this very address, through no proxy of the environment, and to nobody whom an answer names.

    Raises:
        NotDelivered: no 2xx came back.
    """
    try:
        status = _posted(url, body, headers, timeout_seconds)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NotDelivered(type(error).__name__) from None
    if not 200 <= status < 300:
        raise NotDelivered(f"HTTP {status}")


def _posted(url: str, body: bytes, headers: dict[str, str], timeout_seconds: float) -> int:
    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=timeout_seconds)
    with done_within(timeout_seconds, lambda: connection.sock), closing(connection):
        where = urlunsplit(("", "", address.path or "/", address.query, ""))
        connection.request("POST", where, body, headers)
        return connection.getresponse().status
