"""The width of a lane: full from the start, narrower when the service asks for it or slows down, and wide again."""

from __future__ import annotations

import random

import pytest

from assets.effects.concurrency import Concurrency


def served(concurrency: Concurrency, rounds: int, seconds: float, now: float = 0.0, jitter: float = 0.0) -> float:
    """So many rounds of calls, each as wide as it may be and taking so long; the time afterwards."""
    dice = random.Random(7)
    for _ in range(rounds):
        for _ in range(concurrency.limit):
            concurrency.answered(now, now + seconds * (1 + dice.uniform(-jitter, jitter)))
        now += seconds
    return now


@pytest.mark.parametrize("setting", [1, 2, 20, 100])
def test_it_begins_at_the_setting_and_a_steady_service_is_left_there(setting: int):
    """A benchmark of the whole engine stands on this: nothing is lost to a slow start."""
    concurrency = Concurrency(setting)
    assert concurrency.limit == setting

    served(concurrency, rounds=50, seconds=0.5, jitter=0.5)

    assert (concurrency.limit, concurrency.lowest) == (setting, setting)


def test_nobody_asks_for_no_calls_at_all():
    with pytest.raises(ValueError, match="at least one"):
        Concurrency(0)


def test_a_throttle_halves_it_once_however_many_calls_of_the_moment_say_so():
    concurrency = Concurrency(64)

    for _ in range(40):
        concurrency.throttled(begun=1.0, ended=2.0)

    assert concurrency.limit == 32


def test_throttles_of_later_calls_halve_it_again_but_one_call_always_remains():
    """Never starved: otherwise nothing would ever find out that the service has recovered."""
    concurrency = Concurrency(64)

    for second in range(100):
        concurrency.throttled(begun=second, ended=second + 1)

    assert concurrency.limit == concurrency.lowest == 1


def test_it_comes_back_to_the_setting_and_not_beyond():
    concurrency = Concurrency(40)
    for second in range(10):
        concurrency.throttled(begun=second, ended=second + 1)

    served(concurrency, rounds=25, seconds=0.5, now=20.0)

    assert concurrency.limit == 40
    assert concurrency.lowest == 1


def test_it_comes_back_step_by_step():
    """At once would be the next throttle."""
    concurrency = Concurrency(40)
    concurrency.throttled(begun=0.0, ended=1.0)

    served(concurrency, rounds=1, seconds=0.5, now=2.0)

    assert 20 < concurrency.limit < 40


def test_rising_latency_narrows_it():
    concurrency = Concurrency(100)
    now = served(concurrency, rounds=3, seconds=0.5)

    served(concurrency, rounds=2, seconds=2.0, now=now)

    assert concurrency.limit < 60


def test_a_service_that_stays_slow_keeps_a_good_part_and_is_ordinary_in_the_end():
    """It may have become slower whatever we do: then fewer calls only make it slower still."""
    concurrency = Concurrency(100)
    now = served(concurrency, rounds=3, seconds=0.5)

    served(concurrency, rounds=60, seconds=2.0, now=now)

    assert concurrency.lowest == 25
    assert concurrency.limit == 100


def test_a_throttled_lane_is_not_widened_by_slow_answers():
    """The floor for slowness is above what a throttle left."""
    concurrency = Concurrency(100)
    now = served(concurrency, rounds=2, seconds=0.5)
    for step in range(8):
        concurrency.throttled(begun=now + step, ended=now + step + 0.5)
    assert concurrency.limit == 1

    for step in range(10):
        concurrency.answered(now + 20 + step, now + 25 + step)

    assert concurrency.limit == 1


def test_noise_of_a_fast_service_is_no_slowness():
    """Ten times as long is nothing when it is ten milliseconds."""
    concurrency = Concurrency(50)
    now = served(concurrency, rounds=3, seconds=0.001)

    served(concurrency, rounds=20, seconds=0.05, now=now)

    assert concurrency.lowest == 50


def test_calls_that_ran_into_their_timeout_count_as_slow_and_quick_failures_as_nothing():
    concurrency = Concurrency(20)
    now = served(concurrency, rounds=3, seconds=0.5)
    for _ in range(200):
        concurrency.failed(now, now + 0.001)
    assert concurrency.lowest == 20
    assert concurrency.latency_seconds == pytest.approx(0.5)

    for _ in range(20):
        concurrency.failed(now, now + 30.0)

    assert concurrency.limit == 15


def test_the_mean_latency_follows_the_answers():
    concurrency = Concurrency(10)
    assert concurrency.latency_seconds == 0.0

    concurrency.answered(0.0, 2.0)
    first = concurrency.latency_seconds
    served(concurrency, rounds=20, seconds=4.0)

    assert first == 2.0
    assert concurrency.latency_seconds == pytest.approx(4.0, abs=0.1)
