"""Services and a database that fail in every way at once, in short. The long form is `python -m evidence`."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from evidence.http_faults import strike
from evidence.postgres_faults import cut
from evidence.profiles import PROFILES
from evidence.scenario import Ground


def test_under_faults_of_http_nothing_is_lost_and_nothing_doubled(ground: Ground) -> None:
    """Before the effect, after it, late, twice; told to the services, and done to the connections. All four kinds."""
    seed = random.randrange(1_000_000)

    with ThreadPoolExecutor(len(PROFILES)) as pool:  # they mostly wait
        struck = list(pool.map(lambda profile: strike(ground, profile, seed, rows=8), PROFILES))

    assert {one.profile: one.violations for one in struck} == {profile: [] for profile in PROFILES}, f"seed {seed}"
    assert sum(one.fired.total() for one in struck) >= 20


def test_commits_that_are_cut_off_lose_and_double_nothing(ground: Ground) -> None:
    """Whether a transaction counts is unknown to the one who made it."""
    seed = random.randrange(1_000_000)

    done = cut(ground, "look_up_only", seed, cuts=8, rows=6)

    assert done.violations == [], done.where
    assert done.fired.total() >= 8
