"""What a payment service may tell us on its own account (a webhook), and what follows from it.

    told        we know                          then
    completed   sending unknown retry_wait       done
    completed   review because of doubt          done
    completed   review because of a contradiction noted: a person has to decide
    completed   planned rejected cancelled       review: money moved that we did not know of
    completed   review as a near duplicate       review for that reason: it was never asked for
    completed   done, the same payment           nothing: agreed
    completed   done, another payment            alarm: charged twice
    completed   another amount, currency, or a   review, or an alarm where it is done or in review already
                payment id of another order
    failed      unknown                          looked up at once
    failed      sending review                   noted
    failed      planned retry_wait rejected      nothing: agreed
                cancelled
    failed      done, told before the last call  nothing: ignored, it is about an earlier call
    failed      done, told after it              alarm: we say paid, the service says failed

``completed`` is believed: it is signed, and names order, amount and payment. ``failed`` is never a verdict: it does not
tell which of several calls it is about, and a service may fail first and succeed then. What is done stays done.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from domain.guards import NEAR_DUPLICATE
from domain.states import EffectState

CURRENCY = "JPY"


class EventType(StrEnum):
    """What a service tells of a payment; the value is its name on the wire."""

    COMPLETED = "payment.completed"
    FAILED = "payment.failed"


class EventOutcome(StrEnum):
    """What became of an event."""

    APPLIED = "applied"  # the payment is done by it
    AGREED = "agreed"  # we knew
    IGNORED = "ignored"  # older than what we know, or about an order that is none of a batch
    NOTED = "noted"  # evidence; the state is settled by an answer or a look-up
    REVIEW = "review"  # it contradicts what we know: the payment waits for a person
    ALARM = "alarm"  # it contradicts what we know and nothing may change by it: a person must look
    PARKED = "parked"  # its order or payment does not exist yet; tried again for a day
    EXPIRED = "expired"  # parked for a day in vain: a person should look


class Finding(StrEnum):
    """What a person found who looked into an alarm."""

    SETTLED = "settled-at-service"  # the service was wrong, and has put it right
    OURS_IS_RIGHT = "our-record-is-right"  # nothing is to be done
    NOT_OURS = "not-ours"  # it is about no order of ours


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One event as the service told it, checked in form. Ids, codes and yen only; nothing personal.

    ``occurred_at`` is the service's clock; ``content_sha256`` (32 bytes) covers everything that means something.
    """

    event_id: str
    type: EventType
    order_id: int
    payment_id: str
    amount_jpy: int
    currency: str
    occurred_at: datetime
    content_sha256: bytes


@dataclass(frozen=True, slots=True)
class KnownPayment:
    """What we know of a payment. ``last_call_at``: when it was last asked for or told done."""

    state: EffectState
    reason: str | None
    amount_jpy: int
    remote_id: str | None
    last_call_at: datetime | None
    id_is_of_another: bool  # the event's payment id belongs to another order


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an event leads to: the payment's next state if it has one, the reason, and whether to look it up at once."""

    outcome: EventOutcome
    to_state: EffectState | None = None
    reason: str | None = None
    look_up_now: bool = False


CONTRADICTIONS = frozenset(
    {
        "PAY-EVENT-MISMATCH",
        "PAY-EVENT-UNASKED",
        "PAY-EVENT-AFTER-REFUSAL",
        "PAY-ANSWER-MISMATCH",
        "PAY-KEY-REUSED",
        "SYS-ANSWER-UNWRITABLE",
    }
)
"""Reasons of a review that no further word of the service takes back."""

_IN_DOUBT_OR_WAITING = frozenset({EffectState.SENDING, EffectState.UNKNOWN, EffectState.RETRY_WAIT})
_EVIDENCE = frozenset({EffectState.SENDING, EffectState.UNKNOWN, EffectState.REVIEW})


def judge(event: PaymentEvent, known: KnownPayment) -> Verdict:
    """What follows from an event, given what we know."""
    return _judge_completed(event, known) if event.type is EventType.COMPLETED else _judge_failed(event, known)


def _judge_completed(event: PaymentEvent, known: KnownPayment) -> Verdict:
    differs = (event.amount_jpy, event.currency) != (known.amount_jpy, CURRENCY) or known.id_is_of_another
    if known.state is EffectState.DONE:
        # A service that names no payment in its answers left us with the order's name for it.
        if not differs and known.remote_id in (event.payment_id, f"order-{event.order_id}"):
            return Verdict(EventOutcome.AGREED)
        return Verdict(EventOutcome.ALARM, reason="PAY-EVENT-MISMATCH" if differs else "PAY-EVENT-SECOND-CHARGE")
    if differs:
        return _review(known, "PAY-EVENT-MISMATCH")
    if known.state is EffectState.REVIEW and known.reason in CONTRADICTIONS:
        return Verdict(EventOutcome.NOTED)
    if known.state is EffectState.PLANNED or known.reason == NEAR_DUPLICATE:
        return _review(known, "PAY-EVENT-UNASKED")
    if known.state in _IN_DOUBT_OR_WAITING or known.state is EffectState.REVIEW:
        return Verdict(EventOutcome.APPLIED, EffectState.DONE)
    return _review(known, "PAY-EVENT-AFTER-REFUSAL")


def _review(known: KnownPayment, reason: str) -> Verdict:
    if known.state is EffectState.REVIEW and known.reason != NEAR_DUPLICATE:
        return Verdict(EventOutcome.ALARM, reason=reason)
    return Verdict(EventOutcome.REVIEW, EffectState.REVIEW, reason)


def _judge_failed(event: PaymentEvent, known: KnownPayment) -> Verdict:
    if known.state is EffectState.DONE:
        if known.last_call_at is not None and event.occurred_at < known.last_call_at:
            return Verdict(EventOutcome.IGNORED)
        return Verdict(EventOutcome.ALARM, reason="PAY-EVENT-CONTRADICTS")
    if known.state in _EVIDENCE:
        return Verdict(EventOutcome.NOTED, look_up_now=known.state is EffectState.UNKNOWN)
    return Verdict(EventOutcome.AGREED)
