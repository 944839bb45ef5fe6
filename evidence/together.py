"""Scenarios that mostly wait run side by side, until a goal is reached; each is still repeatable alone by its seed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from evidence.campaign import Budget
from evidence.profiles import PROFILES

Result = TypeVar("Result")

_PLACES_PER_CPU = 3  # lives mostly wait: for calls, for settled answers

Work = Callable[[str, int], Result]
"""Does one scenario: the name of its kind of service, and its seed."""


def until_goal(
    work: Work[Result], count: Callable[[Result], int], goal: int, budget: Budget, seed: int
) -> list[Result]:
    """Scenario after scenario, the four kinds of service in turn, until they count to ``goal`` or the time is over.

    Every kind has its turn, whatever the goal. What has begun is waited for and counts.
    """
    kinds = list(PROFILES)
    turns = itertools.count()
    places = _PLACES_PER_CPU * (os.cpu_count() or 1)
    found: list[Result] = []

    def is_enough() -> bool:
        return budget.is_over() or (sum(map(count, found)) >= goal and len(found) >= len(kinds))

    with ThreadPoolExecutor(places, thread_name_prefix="evidence") as pool:

        def begin() -> Future[Result]:
            turn = next(turns)
            return pool.submit(work, kinds[turn % len(kinds)], seed + turn)

        running = {begin() for _ in range(places)}
        while running:
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            found += [future.result() for future in ended]
            while len(running) < places and not is_enough():
                running.add(begin())
    return found


def share(budget: Budget, part: float) -> Budget:
    """A part of a campaign's time, from now on."""
    return Budget(budget.size, None if budget.seconds is None else budget.seconds * part)


def labelled(where: str, violations: Sequence[str]) -> list[str]:
    """Each violation with what is needed to see it again."""
    return [f"{where}: {violation}" for violation in violations]
