"""The notification service. ``POST /api/v1/notifications/email`` (R-21); 10 seconds, 10 per second over all (R-23)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.identity import canonical_body
from domain.states import EffectKind
from resources.services.service import EffectService


def mail_body(*, order_id: int, to: str, subject: str, text: str) -> bytes:
    """The request for one mail."""
    return canonical_body({"order_id": order_id, "to": to, "subject": subject, "body": text})


class NotificationService(EffectService):
    """Sends mails."""

    kind = EffectKind.NOTIFICATION
    word = "MAIL"
    send_path = "/api/v1/notifications/email"
    order_path = "/api/v1/notifications/order"
    key_path = "/api/v1/notifications/key"
    id_fields = ("notification_id", "message_id", "id")
    done_words = frozenset({"sent", "queued", "accepted", "delivered"})

    def _matches(self, effect: Mapping[str, Any], amount_jpy: int) -> bool:
        return True
