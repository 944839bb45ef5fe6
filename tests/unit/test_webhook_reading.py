"""What an event may look like: anything else is a 4xx with a code, never an accident."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.payment_events import EventType, PaymentEvent
from webhooks.reading import event_of
from webhooks.refusal import Refused

GOOD: dict[str, Any] = {
    "event_id": "evt_1",
    "type": "payment.completed",
    "occurred_at": "2026-01-01T09:00:00+09:00",
    "order_id": 17,
    "payment_id": "pay_9f",
    "amount": 1500,
    "currency": "JPY",
}


def body(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def refusal_of(raw: bytes) -> str | None:
    """Status and code; None when the event is sound."""
    try:
        event_of(raw)
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    return None


def test_a_sound_event_is_read() -> None:
    event = event_of(body(customer={"name": "is not looked at"}))

    assert (event.event_id, event.type, event.order_id, event.payment_id) == (
        "evt_1",
        EventType.COMPLETED,
        17,
        "pay_9f",
    )
    assert (event.amount_jpy, event.currency, event.occurred_at) == (1500, "JPY", datetime(2026, 1, 1, tzinfo=UTC))


def test_the_same_meaning_in_other_bytes_is_the_same_event() -> None:
    """A sender that writes its document anew for each try does not contradict itself."""
    first = event_of(body(try_=1))
    again = event_of(json.dumps(GOOD | {"amount": 1500.0, "try_": 2}, sort_keys=True, indent=1).encode())

    assert first == again


@pytest.mark.parametrize("name", [name for name in GOOD if name != "event_id"])
def test_another_meaning_is_another_content(name: str) -> None:
    other = {
        "type": "payment.failed",
        "occurred_at": "2026-01-01T09:00:01+09:00",
        "order_id": 18,
        "payment_id": "pay_9e",
        "amount": 1501,
        "currency": "USD",
    }

    assert event_of(body(**{name: other[name]})).content_sha256 != event_of(body()).content_sha256


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b'"event"',
        b"{",
        b"{}x",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"event_id": "evt_1", "event_id": "evt_2"}',
        b'{"deep": {"a": 1, "a": 1}}',
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"amount": ' + b"9" * 5_000 + b"}",
        json.dumps(GOOD).encode("utf-16"),
    ],
)
def test_what_is_no_sound_json_object_is_malformed(raw: bytes) -> None:
    assert refusal_of(raw) == "400 body_malformed"


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in GOOD),
        *({name: {}} for name in GOOD),
        *({name: True} for name in GOOD),
        {"event_id": ""},
        {"event_id": "e" * 129},
        {"event_id": "evt\n1"},
        {"event_id": "evt_1\ud800"},
        {"event_id": "evt\x00"},
        {"event_id": "１"},
        {"event_id": 1},
        {"order_id": 0},
        {"order_id": -1},
        {"order_id": 2**31},
        {"order_id": 10**400},
        {"order_id": "17"},
        {"order_id": 17.5},
        {"amount": -1},
        {"amount": 0.5},
        {"amount": 1e300},
        {"amount": 10**30},
        {"amount": "1500"},
        {"amount": "１５００"},
        {"currency": "jpy"},
        {"currency": "JPYX"},
        {"payment_id": -3},
        {"payment_id": 2**63},
        {"payment_id": "'; drop table orders;--"},
        {"occurred_at": "2026-01-01"},
        {"occurred_at": "2026-02-30T00:00:00Z"},
        {"occurred_at": "2026-01-01T24:00:01Z"},
        {"occurred_at": "0001-01-01T00:00:00+23:59"},
        {"occurred_at": 1767225600},
        {"type": ""},
    ],
)
def test_a_field_of_another_kind_or_beyond_its_range_is_named_invalid(changes: dict[str, Any]) -> None:
    assert refusal_of(body(**changes)) == "422 field_invalid"


def test_an_event_of_a_type_that_we_do_not_know_is_named_so() -> None:
    assert refusal_of(body(type="payment.refunded")) == "422 type_unknown"


def test_unicode_escapes_mean_what_they_say() -> None:
    assert refusal_of(body().replace(b"evt_1", b"\\u0065vt_1")) is None


@given(st.binary(max_size=2_000))
def test_no_bytes_break_anything(raw: bytes) -> None:
    assert refusal_of(raw) in ("400 body_malformed", "422 field_invalid", "422 type_unknown")


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), documents))
def test_no_values_break_anything(changes: dict[str, Any]) -> None:
    raw = json.dumps(GOOD | changes).encode()
    try:
        event = event_of(raw)
    except Refused:
        return
    assert isinstance(event, PaymentEvent)
    assert event.event_id.isascii()
