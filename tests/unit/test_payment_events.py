"""The rules of the webhook, over every state: what is done stays done, and a failure alone settles nothing."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from domain.guards import NEAR_DUPLICATE
from domain.payment_events import CONTRADICTIONS, EventOutcome, EventType, KnownPayment, PaymentEvent, judge
from domain.states import EFFECT_TRANSITIONS, EffectState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATES = [
    (state, reason)
    for state in EffectState
    for reason in ([None, NEAR_DUPLICATE, *sorted(CONTRADICTIONS)] if state is EffectState.REVIEW else [None])
]
EVENTS = [
    PaymentEvent("e", type_, 7, payment_id, amount, currency, NOW, bytes(32))
    for type_, payment_id, amount, currency in itertools.product(
        EventType, ("pay_1", "pay_2"), (1500, 1501), ("JPY", "USD")
    )
]


def known(state: EffectState, reason: str | None = None, of_another: bool = False) -> KnownPayment:
    return KnownPayment(state, reason, 1500, "pay_1" if state is EffectState.DONE else None, NOW, of_another)


@pytest.mark.parametrize(("state", "reason"), STATES)
def test_every_step_is_one_that_the_database_allows(state: EffectState, reason: str | None) -> None:
    for event, of_another in itertools.product(EVENTS, (False, True)):
        to_state = judge(event, known(state, reason, of_another)).to_state

        stays = to_state in (None, state)  # in review for another reason, perhaps
        assert stays or (state, to_state) in EFFECT_TRANSITIONS


def test_what_is_done_is_not_moved_by_anything() -> None:
    for event in EVENTS:
        assert judge(event, known(EffectState.DONE)).to_state is None


@pytest.mark.parametrize("state", list(EffectState))
def test_a_failure_moves_nothing(state: EffectState) -> None:
    for event in EVENTS:
        if event.type is EventType.FAILED:
            assert judge(event, known(state)).to_state is None


@pytest.mark.parametrize(("state", "reason"), STATES)
def test_nothing_is_called_paid_on_another_amount_currency_or_payment(state: EffectState, reason: str | None) -> None:
    for event in EVENTS:
        wrong = (event.amount_jpy, event.currency) != (1500, "JPY")
        for of_another in (False, True):
            if wrong or of_another:
                assert judge(event, known(state, reason, of_another)).to_state is not EffectState.DONE


def test_a_review_because_of_a_contradiction_is_left_to_the_person() -> None:
    for reason in CONTRADICTIONS:
        told = judge(EVENTS[0], known(EffectState.REVIEW, reason))

        assert (told.outcome, told.to_state) == (EventOutcome.NOTED, None)


def test_what_waits_because_it_resembles_another_was_never_asked_for() -> None:
    """Accepted afterwards, it would be charged a second time."""
    waits = known(EffectState.REVIEW, NEAR_DUPLICATE)

    for event in EVENTS:
        told = judge(event, waits)
        if event.type is EventType.COMPLETED:
            right = (event.amount_jpy, event.currency) == (1500, "JPY")
            assert (told.outcome, told.to_state) == (EventOutcome.REVIEW, EffectState.REVIEW)
            assert told.reason == ("PAY-EVENT-UNASKED" if right else "PAY-EVENT-MISMATCH")


def test_whatever_needs_a_person_has_a_reason() -> None:
    for event, (state, reason), of_another in itertools.product(EVENTS, STATES, (False, True)):
        verdict = judge(event, known(state, reason, of_another))

        assert (verdict.outcome in (EventOutcome.REVIEW, EventOutcome.ALARM)) == (verdict.reason is not None)


def test_a_service_that_names_no_payment_in_its_answers_does_not_contradict_itself() -> None:
    answered = KnownPayment(EffectState.DONE, None, 1500, "order-7", NOW, False)

    assert judge(EVENTS[0], answered).outcome is EventOutcome.AGREED
