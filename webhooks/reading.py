"""From the bytes of a genuine request to an event: strict JSON, known fields, sound values. Every refusal is a 4xx.

    {"event_id": "evt_01", "type": "payment.completed", "occurred_at": "2026-01-01T00:00:00Z",
     "order_id": 17, "payment_id": "pay_9f", "amount": 1500, "currency": "JPY"}

Further fields are allowed and not looked at; nothing of them is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from domain.payment_events import EventType, PaymentEvent
from webhooks.refusal import Refused

_MAX_ORDER_ID = 2**31 - 1  # the legacy column's
_MAX_JPY = 10**12
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")


def event_of(body: bytes) -> PaymentEvent:
    """The event in this body.

    Raises:
        Refused: 400 `body_malformed` when it is no JSON object; 422 `field_invalid` or `type_unknown`.
    """
    document = _document(body)
    told = document.get("type")
    if not isinstance(told, str) or not _ID.fullmatch(told):
        raise Refused(422, "field_invalid", suspicious=True)
    if told not in list(EventType):
        raise Refused(422, "type_unknown", suspicious=True)
    currency = _matching(document, "currency", _CURRENCY)
    occurred_at = _time(_matching(document, "occurred_at", _TIME))
    event_id, payment_id = _matching(document, "event_id", _ID), _payment_id(document)
    order_id = _whole(document, "order_id", 1, _MAX_ORDER_ID)
    amount_jpy = _whole(document, "amount", 0, _MAX_JPY)
    meaning = f"{told}|{order_id}|{payment_id}|{amount_jpy}|{currency}|{occurred_at.isoformat()}"
    digest = hashlib.sha256(meaning.encode()).digest()
    return PaymentEvent(event_id, EventType(told), order_id, payment_id, amount_jpy, currency, occurred_at, digest)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused(400, "body_malformed", suspicious=True) from None
    if not isinstance(document, dict):
        raise Refused(400, "body_malformed", suspicious=True)
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values for one name: a reader before us may have checked the other one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_: str) -> Any:
    raise ValueError


def _matching(document: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Refused(422, "field_invalid", suspicious=True)
    return value


def _payment_id(document: dict[str, Any]) -> str:
    """Some services count their payments: a number is a name too."""
    value = document.get("payment_id")
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return str(value)
    return _matching(document, "payment_id", _ID)


def _whole(document: dict[str, Any], name: str, low: int, high: int) -> int:
    """A whole number; ``1500.0`` is one, as the contract's amounts are (R-16)."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or value != int(value):
        raise Refused(422, "field_invalid", suspicious=True)
    return int(value)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(422, "field_invalid", suspicious=True) from None
