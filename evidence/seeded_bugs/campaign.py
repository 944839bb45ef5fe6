"""Every seeded bug is planted and must be caught; and without any, all the checks that catch them are green."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from evidence.campaign import Budget, Line
from evidence.seeded_bugs import of_calls, of_commits, of_many, of_state
from evidence.seeded_bugs.workshop import CannotPlant, CheckBroken, SeededBug, Workshop

BUGS: tuple[SeededBug, ...] = (*of_calls.BUGS, *of_state.BUGS, *of_commits.BUGS, *of_many.BUGS)
EVERYDAY = (
    "order id of the answer not compared",
    "absent believed at the first look",
    "crash recovered by sending again",
    "epoch not checked before a claim",
)
"""The bugs that are planted with every run of the tests: others are as good, these are quick."""

_WORKSHOPS = 2
_ALL_CHECKS_SECONDS = 1_200.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one bug: ``finding`` is empty when it was caught."""

    name: str
    finding: str = ""


def run(budget: Budget, seed: int) -> Line:
    """All bugs; in the short form a few, and their checks are known to be green from the tests themselves."""
    began = time.monotonic()
    bugs = [bug for bug in BUGS if bug.name in EVERYDAY] if budget.is_short else list(BUGS)
    with tempfile.TemporaryDirectory(prefix="bulk-orders-bugs-") as folder, ThreadPoolExecutor(_WORKSHOPS) as pool:
        Path(folder).chmod(0o711)  # run by root, the tests' database works as another user inside of it
        parts = [
            pool.submit(try_all, Path(folder) / str(place), bugs[place::_WORKSHOPS], budget)
            for place in range(_WORKSHOPS)
        ]
        tried = [one for part in parts for one in part.result()]
        violations = [f"{one.name}: {one.finding}" for one in tried if one.finding]
        if not budget.is_short:
            violations += _without_any_bug(Path(folder) / "none", bugs)
    caught = sum(not one.finding for one in tried)
    detail = "caught: " + ", ".join(one.name for one in tried if not one.finding)
    return Line("seeded bugs caught", len(bugs), caught, violations, seed, time.monotonic() - began, detail)


def try_all(folder: Path, bugs: Sequence[SeededBug], budget: Budget) -> list[Tried]:
    """Plant these bugs one after the other in a copy in ``folder``, as long as there is time."""
    workshop = Workshop(folder)
    return [Tried(bug.name, _finding(workshop, bug)) for bug in bugs if not budget.is_over()]


def _finding(workshop: Workshop, bug: SeededBug) -> str:
    try:
        with workshop.planted(bug):
            verdict = workshop.check(bug.checks)
    except (CannotPlant, CheckBroken) as reason:
        return f"not tried: {reason}"
    return "" if verdict.red else f"MISSED by {', '.join(bug.checks)}"


def _without_any_bug(folder: Path, bugs: Sequence[SeededBug]) -> list[str]:
    checks = sorted({check for bug in bugs for check in bug.checks})
    verdict = Workshop(folder).check(checks, _ALL_CHECKS_SECONDS, all_of_them=True)
    return [f"red without any bug: {verdict.output}"] if verdict.red else []
