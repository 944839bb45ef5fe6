"""What is particular to the notification service: addresses, subjects and bodies; a repeat is a second mail."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping

from sandbox.answers import Answer, error
from sandbox.effects import Desk, Refusal

_NAMED = ("order_id", "to", "subject", "body", "idempotency_key")
_LOCAL = r"[^@\s<>()\[\]\\,;:\"\x00-\x1f\x7f]{1,64}"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_LOCAL}@{_LABEL}(?:\.{_LABEL})+")
_MAX_ADDRESS = 254
_MAX_SUBJECT = 998


class NotificationDesk(Desk):
    """Sends mails: writes them into the ledger, where a person can read them. Nothing leaves the machine."""

    @property
    def unique(self) -> bool:
        """The legacy service does not look for repeats: our own bugs would show as a second mail."""
        return self.behaviour.unique_mails

    def columns(self, document: Mapping[str, object]) -> dict[str, object]:
        """Recipient, subject, body; raises Refusal 400 when malformed, 422 when the address is none."""
        recipient, subject, body = document.get("to"), document.get("subject"), document.get("body")
        if not isinstance(recipient, str) or len(recipient) > _MAX_ADDRESS or not _ADDRESS.fullmatch(recipient):
            raise Refusal(422, "invalid_address")
        if not isinstance(subject, str) or not isinstance(body, str) or not subject.isprintable():
            raise Refusal(400, "malformed")
        if not 0 < len(subject) <= _MAX_SUBJECT:
            raise Refusal(400, "malformed")
        others = {name: value for name, value in document.items() if name not in _NAMED}
        extra = json.dumps(others, ensure_ascii=False)
        return {"recipient": recipient, "subject": subject, "body": body, "extra": extra}

    def made(self, row: Mapping[str, object]) -> dict[str, object]:
        """The notification, without its content."""
        return {"notification_id": row["notification_id"], "order_id": row["order_id"], "status": "sent"}

    def identified(self) -> dict[str, object]:
        """A fresh notification id."""
        return {"notification_id": f"ntf_{secrets.token_hex(8)}"}

    def declined(self) -> Answer:
        """422, as a mail host refuses a recipient."""
        return error(422, "recipient_refused")
