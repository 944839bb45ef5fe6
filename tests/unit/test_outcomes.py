"""What follows from the outcome of a call. A mistake here is money: doubt must never be read as failure."""

from __future__ import annotations

import itertools

import pytest

from domain.outcomes import Doubt, Outcome, OutcomeClass, Patience, state_after_look_up, state_after_send
from domain.states import EFFECT_TRANSITIONS, EffectState

PATIENCE = Patience(max_attempts=6, max_looks=10)


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
    assert state_after_send(Outcome(cls)) is expected


def after_look(
    cls: OutcomeClass,
    *,
    settled: bool = True,
    absent_looks: int = 0,
    looks: int = 0,
    attempt: int = 1,
    systemic: bool = False,
) -> EffectState:
    doubt = Doubt(settled=settled, looks=looks, absent_looks=absent_looks, attempt=attempt)
    return state_after_look_up(Outcome(cls, systemic=systemic), doubt, PATIENCE)


def test_a_look_up_that_finds_the_effect_settles_it_at_once():
    assert after_look(OutcomeClass.DONE, settled=False) is EffectState.DONE


@pytest.mark.parametrize(("settled", "expected"), [(False, EffectState.UNKNOWN), (True, EffectState.REJECTED)])
def test_a_look_up_that_finds_a_refusal_settles_it_once_no_call_is_under_way(settled: bool, expected: EffectState):
    """The service itself says that it declined; until then it may speak of an earlier call."""
    assert after_look(OutcomeClass.REFUSED, settled=settled, looks=500) is expected


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


@pytest.mark.parametrize(
    ("attempt", "expected"), [(5, EffectState.RETRY_WAIT), (6, EffectState.REVIEW), (7, EffectState.REVIEW)]
)
def test_an_effect_that_never_arrives_is_given_to_a_person_in_the_end(attempt: int, expected: EffectState):
    """Also where the same key is the look-up."""
    assert after_look(OutcomeClass.ABSENT, absent_looks=1, attempt=attempt) is expected
    assert after_look(OutcomeClass.SEND_AGAIN, attempt=attempt) is expected


@pytest.mark.parametrize("cls", [OutcomeClass.ABSENT, OutcomeClass.SEND_AGAIN])
def test_an_effect_whose_key_is_spoilt_is_not_sent_again_under_it(cls: OutcomeClass):
    """The service knows the key with other content: it would refuse for ever, and the mistake is ours."""
    doubt = Doubt(settled=True, looks=3, absent_looks=1, attempt=1, contradiction="PAY-KEY-REUSED")

    assert state_after_look_up(Outcome(cls), doubt, PATIENCE) is EffectState.REVIEW


@pytest.mark.parametrize("contradiction", ["PAY-ANSWER-MISMATCH", "MAIL-ANSWER-MISMATCH", "SYS-ANSWER-UNWRITABLE"])
def test_what_was_answered_for_something_else_is_not_sent_again_because_it_cannot_be_found(contradiction: str):
    """It may have been done under another order. Only a key keeps a second call from being a second effect."""
    doubt = Doubt(settled=True, looks=3, absent_looks=1, attempt=1, contradiction=contradiction)

    assert state_after_look_up(Outcome(OutcomeClass.ABSENT), doubt, PATIENCE) is EffectState.REVIEW
    assert state_after_look_up(Outcome(OutcomeClass.SEND_AGAIN), doubt, PATIENCE) is EffectState.RETRY_WAIT
    assert state_after_look_up(Outcome(OutcomeClass.DONE), doubt, PATIENCE) is EffectState.DONE


@pytest.mark.parametrize("looks", [0, 8])
def test_a_look_up_in_doubt_proves_nothing_and_is_repeated(looks: int):
    assert after_look(OutcomeClass.AMBIGUOUS, absent_looks=9, looks=looks) is EffectState.UNKNOWN


def test_look_ups_in_doubt_end_with_a_person_and_never_with_a_second_call():
    assert after_look(OutcomeClass.AMBIGUOUS, looks=9) is EffectState.REVIEW


def test_an_outage_never_uses_up_a_row():
    """The breaker's business: the batch pauses and the row stays where it is."""
    assert after_look(OutcomeClass.AMBIGUOUS, looks=500, systemic=True) is EffectState.UNKNOWN


def test_a_service_that_cannot_be_asked_now_is_asked_later():
    """Not reached, or throttled: that says nothing about the effect."""
    assert after_look(OutcomeClass.NOT_DONE, absent_looks=1, looks=500, attempt=50) is EffectState.UNKNOWN


def test_no_outcome_at_all_leads_where_the_database_would_refuse():
    of_a_call = set(OutcomeClass) - {OutcomeClass.ABSENT, OutcomeClass.SEND_AGAIN}  # these two come of look-ups only
    for cls in of_a_call:
        assert (EffectState.SENDING, state_after_send(Outcome(cls))) in EFFECT_TRANSITIONS
    for cls, settled, absent, looks, attempt in itertools.product(OutcomeClass, (True, False), (0, 1), (0, 9), (1, 6)):
        after = after_look(cls, settled=settled, absent_looks=absent, looks=looks, attempt=attempt)
        assert after is EffectState.UNKNOWN or (EffectState.UNKNOWN, after) in EFFECT_TRANSITIONS


def test_only_a_429_counts_as_throttled():
    assert Outcome(OutcomeClass.NOT_DONE, http_status=429).throttled
    assert not Outcome(OutcomeClass.AMBIGUOUS, http_status=503).throttled
