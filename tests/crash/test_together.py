"""The campaigns go through all kinds of service and end when they should."""

from __future__ import annotations

from evidence.campaign import Budget
from evidence.profiles import PROFILES
from evidence.together import labelled, share, until_goal


def test_every_kind_of_service_has_its_turn_however_small_the_goal() -> None:
    done = until_goal(lambda profile, seed: (profile, seed), lambda _: 1, 1, Budget("short"), 5)

    assert {profile for profile, _ in done} == set(PROFILES)
    assert sorted(seed for _, seed in done) == list(range(5, 5 + len(done)))


def test_it_goes_on_until_the_goal_is_counted() -> None:
    assert len(until_goal(lambda profile, seed: 3, lambda count: count, 30, Budget("short"), 1)) >= 10


def test_nothing_new_begins_when_the_time_is_over() -> None:
    assert len(until_goal(lambda profile, seed: 0, lambda _: 0, 1_000, Budget("full", seconds=0.0), 1)) < 10


def test_a_part_of_no_limit_is_no_limit() -> None:
    assert share(Budget("full"), 0.5).seconds is None
    assert share(Budget("full", seconds=60.0), 0.5).seconds == 30.0


def test_a_violation_comes_with_what_is_needed_to_see_it_again() -> None:
    assert labelled("hunt key_only, seed 7", ["I2: order 5"]) == ["hunt key_only, seed 7: I2: order 5"]
