"""The trail in memory: no two records frame alike, and whatever is done to a chain is found and called by its name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.trail import GENESIS, Event, Head, framed, hash_of, walk
from domain.trail_faults import FaultKind, diagnose
from evidence.tampering import chains

FIELDS = st.lists(st.none() | st.binary(max_size=6), min_size=1, max_size=5)


@given(FIELDS, FIELDS)
def test_different_fields_never_frame_alike(one: list[bytes | None], other: list[bytes | None]) -> None:
    assert (framed(one) == framed(other)) == (one == other)


@pytest.mark.parametrize("hand", chains.HANDS, ids=lambda hand: hand.__qualname__)
def test_every_hand_on_a_chain_is_found_and_rightly_named(hand: object) -> None:
    """Ten times each; the campaign of the evidence does it thousands of times."""
    assert callable(hand)
    complaints = []
    for seed in range(10):
        rng = random.Random(seed)
        tampered = hand(rng, chains.honest(rng))
        complaints.append(chains.complaint(tampered, chains.judged(tampered.trail)))

    assert complaints == [None] * 10


@pytest.mark.parametrize("name", [name for name in Event._fields if name not in ("chain", "seq", "prev_hash", "hash")])
def test_every_field_has_a_hand(name: str) -> None:
    """A field that a hash forgot would be changed unseen."""
    rng = random.Random(1)
    event = chains.honest(rng).events[0]

    assert hash_of(event._replace(**{name: b"another"})) != event.hash


def test_honest_chains_raise_no_alarm() -> None:
    assert {chains.judged(chains.honest(random.Random(seed))) for seed in range(200)} == {None}


def test_many_chains_are_walked_in_one_go() -> None:
    """Chain by chain, as they come; each is told of by itself."""
    one, other = (chains.honest(random.Random(seed)).events for seed in (1, 2))
    renamed = [event._replace(chain=b"z") for event in other]
    found = list(walk([*one, *renamed]))

    assert [walked.chain for walked in found] == [chains.CHAIN.encode(), b"z"]
    assert [walked.broken_at for walked in found] == [None, 1]
    assert found[0].last == Head(len(one), one[-1].hash)


def test_an_event_that_an_anchor_knows_otherwise_is_a_break() -> None:
    trail = chains.honest(random.Random(3))
    known = {(chains.CHAIN.encode(), 1): GENESIS}

    assert [walked.broken_at for walked in walk(trail.events, known)] == [1]


def test_what_was_rewritten_lies_between_two_anchors() -> None:
    """Nobody can tell which event it was; where it must be can be told."""
    rng = random.Random(8)
    trail = next(made for made in iter(lambda: chains.honest(rng), None) if len(made.events) > 8)
    signed = {4: trail.events[3].hash, 8: b"00" * 32}
    fault = diagnose(chains.CHAIN, trail.events, trail.head, signed)

    assert fault is not None
    assert (fault.kind, fault.seq, fault.until) == (FaultKind.REWRITTEN, 5, 8)
