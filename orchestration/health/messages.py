"""What an alert says: the catalogue's words for its code, in the language of the settings, with its facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from domain import catalogue
from domain.alerts import URGENT, AlertKind, AlertMessage, Occasion
from domain.errors import Fact
from orchestration.settings import Settings
from resources.database.alerts import Delivery


def of_delivery(delivery: Delivery, settings: Settings) -> AlertMessage:
    """The message of a delivery; its id is the same for every try."""
    alert = delivery.alert
    message_id = f"alert-{alert.alert_id}-{delivery.occasion.value}-{delivery.number}"
    return message(message_id, delivery.occasion, alert.kind, alert.about, alert.facts, alert.opened_at, settings)


def message(
    message_id: str,
    occasion: Occasion,
    kind: AlertKind,
    about: str,
    facts: Mapping[str, Fact],
    opened_at: datetime,
    settings: Settings,
) -> AlertMessage:
    """A subject of one line, and a text of what is wrong, why, and what to do."""
    words = catalogue.words("alerts", settings.language)
    told = catalogue.fill(kind.value, facts, settings.language)
    urgent = words["urgent"] if kind in URGENT and occasion is not Occasion.RECOVERED else ""
    subject = words[occasion.value].format(code=kind.value, urgent=urgent)
    since = words["since"].format(at=opened_at.astimezone().strftime("%Y-%m-%d %H:%M %z"))
    runbook = f"{settings.runbook}#{kind.value.lower()}"
    over = occasion is Occasion.RECOVERED
    lines = [told.message, *([] if over else [told.remedy]), since, f"{words['runbook']} {runbook}"]
    return AlertMessage(message_id, occasion, kind, about, facts, opened_at, subject, "\n".join(lines), runbook)
