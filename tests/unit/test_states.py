"""The tables of states are sound by themselves; that the database holds the same ones is an integration test."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from domain.states import (
    BATCH_TRANSITIONS,
    EFFECT_TRANSITIONS,
    FINISHED_BATCH,
    SETTLED_EFFECT,
    BatchState,
    EffectState,
)

State = TypeVar("State", bound=str)


def reachable(start: State, transitions: Collection[tuple[State, State]]) -> set[State]:
    found, new = {start}, {start}
    while new:
        new = {after for before, after in transitions if before in new} - found
        found |= new
    return found


def test_every_state_can_be_reached_from_the_first():
    assert reachable(BatchState.RECEIVED, BATCH_TRANSITIONS) == set(BatchState)
    assert reachable(EffectState.PLANNED, EFFECT_TRANSITIONS) == set(EffectState)


def test_what_is_done_is_never_undone():
    left = {before for before, _ in EFFECT_TRANSITIONS}

    assert EffectState.DONE not in left


def test_every_effect_that_is_not_settled_can_still_be_settled():
    for state in set(EffectState) - SETTLED_EFFECT:
        assert reachable(state, EFFECT_TRANSITIONS) >= {EffectState.DONE}


def test_only_a_claim_leads_to_sending():
    """Nothing in doubt is sent without the proof of absence that lies in `retry_wait`."""
    before = {state for state, after in EFFECT_TRANSITIONS if after is EffectState.SENDING}

    assert before == {EffectState.PLANNED, EffectState.RETRY_WAIT}


def test_no_transition_stays_where_it_is():
    assert all(before != after for before, after in BATCH_TRANSITIONS | EFFECT_TRANSITIONS)


def test_a_batch_that_is_done_never_goes_on():
    """One that was refused is taken again; one with failed or cancelled rows goes on by a person's hand."""
    left = {before for before, _ in BATCH_TRANSITIONS}

    assert left & FINISHED_BATCH == FINISHED_BATCH - {BatchState.DONE}
