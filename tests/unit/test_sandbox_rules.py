"""The sandbox's rate window, dice and settings, without a server."""

from __future__ import annotations

import random

import pytest

from sandbox.arrivals import SECOND_US, SlidingWindow, most_in_one_second
from sandbox.behaviour import PROFILES, Behaviour, BehaviourRefused
from sandbox.calls import read_json
from sandbox.faults import SINGLE, Dice, FaultPlan


@pytest.mark.parametrize("seed", range(20))
def test_no_half_open_second_ever_holds_more_than_the_limit(seed: int) -> None:
    """Whatever the bursts: judged by counting every window anew, not by the limiter's own memory."""
    dice, window, now, admitted = random.Random(seed), SlidingWindow(), 0, []
    for _ in range(500):
        now += dice.choice([0, 1, 40_000, 99_999, 100_000, SECOND_US - 1])
        if window.admit(now, 10):
            admitted.append(now)

    counts = [sum(start <= time < start + SECOND_US for time in admitted) for start in admitted]
    assert max(counts) == most_in_one_second(admitted) <= 10


def test_the_eleventh_is_let_in_exactly_one_second_after_the_first() -> None:
    window = SlidingWindow()
    assert all(window.admit(5, 10) for _ in range(10))

    assert [window.admit(5 + SECOND_US - 1, 10), window.admit(5 + SECOND_US, 10)] == [False, True]


def test_the_same_seed_strikes_the_same_orders_whatever_the_order_of_arrival() -> None:
    """A failing campaign must be repeatable although its calls run concurrently."""
    plan = FaultPlan({"error_503": 0.2, "reset_after": 0.1}, {}, repeat=False, seed=7)

    def struck(orders: list[int]) -> dict[int, str | None]:
        dice = Dice("payments", {}, [])
        faults = {order: dice.effect(plan, [order], SINGLE, "effect") for order in orders}
        return {order: fault and fault.kind for order, fault in sorted(faults.items())}

    forwards = struck(list(range(1, 1001)))
    assert forwards == struck(list(range(1000, 0, -1)))
    kinds = list(forwards.values())
    assert 150 < kinds.count("error_503") < 250
    assert 60 < kinds.count("reset_after") < 140


def test_a_fault_with_an_effect_strikes_an_order_once_so_that_a_retry_ends() -> None:
    dice = Dice("payments", {}, [])
    plan = FaultPlan({"reset_after": 1.0}, {}, repeat=False, seed=0)

    drawn = [dice.effect(plan, [1], SINGLE, "effect") for _ in range(3)]

    assert [fault and fault.kind for fault in drawn] == ["reset_after", None, None]


def test_an_order_named_for_a_decline_is_declined_every_time() -> None:
    dice = Dice("payments", {}, [])
    plan = FaultPlan({}, {"decline": frozenset({1}), "error_503": frozenset({2})}, repeat=False, seed=0)

    drawn = [dice.effect(plan, [order], SINGLE, "effect") for order in (1, 1, 2, 2, 3)]

    assert [fault and fault.kind for fault in drawn] == ["decline", "decline", "error_503", None, None]


@pytest.mark.parametrize(
    "patch",
    [
        {"no_such": 1},
        {"profile": "best"},
        {"latency_seconds": -1},
        {"latency_seconds": "1"},
        {"latency_seconds": float("nan")},
        {"batch": 1},
        {"faults": {"fire": 0.1}},
        {"faults": {"decline": 1.1}},
        {"faults": {"decline": 0.6, "error_503": 0.6}},
        {"faults": [1]},
        {"fault_orders": {"decline": 5}},
        {"fault_orders": {"decline": [0]}},
        {"rate_limit_per_second": True},
        {"saved_answers": "some"},
        {"seed": None},
    ],
)
def test_a_wrong_setting_is_refused_by_name(patch: dict[str, object]) -> None:
    with pytest.raises(BehaviourRefused, match=next(iter(patch))):
        Behaviour().patched(patch)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_behaviour_survives_its_own_document(profile: str) -> None:
    """What GET shows can be POSTed back: tests restore the behaviour that way."""
    behaviour = Behaviour().patched({"profile": profile, "fault_orders": {"decline": [3, 4]}, "seed": 5})

    assert Behaviour().patched(behaviour.document()) == behaviour


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_what_is_no_sound_json_is_read_as_nothing(raw: bytes) -> None:
    assert read_json(raw) is None
