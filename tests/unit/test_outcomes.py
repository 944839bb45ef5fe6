"""What follows from the outcome of a call. A mistake here is money: doubt must never be read as failure."""

from __future__ import annotations

import itertools

import pytest

from domain.outcomes import Outcome, OutcomeClass, state_after_look_up, state_after_send
from domain.states import EFFECT_TRANSITIONS, EffectState

SENDS = [cls for cls in OutcomeClass if cls is not OutcomeClass.ABSENT]  # only a look-up finds nothing


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (OutcomeClass.DONE, EffectState.DONE),
        (OutcomeClass.REFUSED, EffectState.REJECTED),
        (OutcomeClass.NOT_DONE, EffectState.RETRY_WAIT),
        (OutcomeClass.AMBIGUOUS, EffectState.UNKNOWN),
        (OutcomeClass.MISMATCH, EffectState.UNKNOWN),
    ],
)
def test_each_class_of_answer_to_a_call_leads_to_one_state(cls: OutcomeClass, expected: EffectState):
    assert state_after_send(Outcome(cls), attempt=1, max_attempts=6) is expected


@pytest.mark.parametrize("attempt", [6, 7, 100])
def test_what_was_certainly_not_done_too_often_is_given_up(attempt: int):
    state = state_after_send(Outcome(OutcomeClass.NOT_DONE), attempt, max_attempts=6)

    assert state is EffectState.REJECTED


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(OutcomeClass.NOT_DONE, systemic=True),
        Outcome(OutcomeClass.NOT_DONE, http_status=429),
        Outcome(OutcomeClass.NOT_DONE, http_status=401, systemic=True),
    ],
    ids=["out of order", "throttled", "not allowed"],
)
def test_the_trouble_of_a_whole_service_never_uses_up_a_row(outcome: Outcome):
    assert state_after_send(outcome, attempt=1_000, max_attempts=6) is EffectState.RETRY_WAIT


@pytest.mark.parametrize("cls", [OutcomeClass.AMBIGUOUS, OutcomeClass.MISMATCH])
def test_doubt_stays_doubt_however_often_it_was_tried(cls: OutcomeClass):
    """Given up would mean: certainly not paid."""
    assert state_after_send(Outcome(cls), attempt=1_000, max_attempts=1) is EffectState.UNKNOWN


def after_look(cls: OutcomeClass, *, settled: bool = True, absent_looks: int = 0, looks: int = 0) -> EffectState:
    return state_after_look_up(
        Outcome(cls), settled=settled, absent_looks=absent_looks, looks=looks, max_looks=10
    )


def test_a_look_up_that_finds_the_effect_settles_it_at_once():
    assert after_look(OutcomeClass.DONE, settled=False) is EffectState.DONE


def test_a_look_up_that_finds_another_effect_asks_for_a_person():
    assert after_look(OutcomeClass.MISMATCH, settled=False) is EffectState.REVIEW


@pytest.mark.parametrize(
    ("settled", "absent_looks", "expected"),
    [
        (False, 0, EffectState.UNKNOWN),
        (False, 5, EffectState.UNKNOWN),
        (True, 0, EffectState.UNKNOWN),
        (True, 1, EffectState.RETRY_WAIT),
        (True, 2, EffectState.RETRY_WAIT),
    ],
)
def test_absent_is_believed_when_settled_and_at_the_second_look_only(
    settled: bool, absent_looks: int, expected: EffectState
):
    assert after_look(OutcomeClass.ABSENT, settled=settled, absent_looks=absent_looks, looks=3) is expected


@pytest.mark.parametrize("looks", [0, 8])
def test_a_look_up_in_doubt_proves_nothing_and_is_repeated(looks: int):
    assert after_look(OutcomeClass.AMBIGUOUS, absent_looks=9, looks=looks) is EffectState.UNKNOWN


def test_look_ups_in_doubt_end_with_a_person_and_never_with_a_second_call():
    assert after_look(OutcomeClass.AMBIGUOUS, looks=9) is EffectState.REVIEW


def test_a_service_that_cannot_be_asked_now_is_asked_later():
    """Not reached, or throttled: that says nothing about the effect."""
    assert after_look(OutcomeClass.NOT_DONE, absent_looks=1, looks=500) is EffectState.UNKNOWN


def test_no_outcome_at_all_leads_where_the_database_would_refuse():
    for cls, attempt in itertools.product(SENDS, (1, 6)):
        after = state_after_send(Outcome(cls), attempt, max_attempts=6)
        assert (EffectState.SENDING, after) in EFFECT_TRANSITIONS
    for cls, settled, absent, looks in itertools.product(OutcomeClass, (True, False), (0, 1), (0, 9)):
        after = after_look(cls, settled=settled, absent_looks=absent, looks=looks)
        assert after is EffectState.UNKNOWN or (EffectState.UNKNOWN, after) in EFFECT_TRANSITIONS


def test_only_a_429_counts_as_throttled():
    assert Outcome(OutcomeClass.NOT_DONE, http_status=429).throttled
    assert not Outcome(OutcomeClass.AMBIGUOUS, http_status=503).throttled
