"""What a campaign is given and what it gives back: a budget and a seed, and lines of one table.

A campaign is a module of this room with ``run(budget: Budget, seed: int) -> Line | list[Line]``, listed in `CAMPAIGNS`.
It prints nothing, starts and ends everything it needs, and can be repeated alone with the seed of its line.
"""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CAMPAIGNS = {
    "crash_points": "evidence.crash_points",
    "kills": "evidence.kills",
    "postgres_faults": "evidence.postgres_faults",
    "http_faults": "evidence.http_faults",
    "seeded_bugs": "evidence.seeded_bugs.campaign",
    "tampering": "evidence.tampering.campaign",
    "leaks": "evidence.leaks.campaign",
}
SIZES = ("short", "full")
_HEADINGS = ("", "what", "goal", "done", "violations", "seed", "minutes", "detail")
_MOST_VIOLATIONS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is to be done: ``size``, and at most ``seconds`` for one campaign (None: until its goal)."""

    size: str = "full"
    seconds: float | None = None
    began: float = field(default_factory=time.monotonic)

    @property
    def is_short(self) -> bool:
        """Whether this is the form that runs with the tests."""
        return self.size == "short"

    def is_over(self) -> bool:
        """Whether the time is used up: begin nothing new."""
        return self.seconds is not None and time.monotonic() - self.began >= self.seconds


@dataclass(frozen=True, slots=True)
class Line:
    """One result.

    ``done`` counts what ``name`` says and should reach ``goal``; ``violations`` are what the checker found, as text;
    ``detail`` says how it was done and how the faults really fired.
    """

    name: str
    goal: int
    done: int
    violations: Sequence[str]
    seed: int
    seconds: float
    detail: str = ""

    @property
    def holds(self) -> bool:
        """The goal was reached and nothing was violated."""
        return self.done >= self.goal and not self.violations


def run_one(name: str, size: str, seconds: float | None, seed: int) -> list[Line]:
    """The lines of one campaign."""
    module = importlib.import_module(CAMPAIGNS[name])
    made: Line | list[Line] = module.run(Budget(size, seconds), seed)
    return [made] if isinstance(made, Line) else made


def table(lines: Iterable[Line]) -> str:
    """The lines as a markdown table, and below it every violation (the first twenty of a line)."""
    lines = list(lines)
    cells = [_HEADINGS, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS) - 1)]
    rows = ["| " + " | ".join([*map(str.ljust, row, widths), row[-1]]) + " |" for row in cells]
    rows.insert(1, "|" + "|".join(["-" * (width + 2) for width in widths] + ["---"]) + "|")
    found = [f"  {line.name}: {text}" for line in lines for text in line.violations[:_MOST_VIOLATIONS_SHOWN]]
    return "\n".join([*rows, *(["", "violations:", *found] if found else [])])


def _cells(line: Line) -> tuple[str, ...]:
    verdict = "holds" if line.holds else "FAILS"
    counts = (f"{line.goal:,}", f"{line.done:,}", f"{len(line.violations):,}")
    return (verdict, line.name, *counts, str(line.seed), f"{line.seconds / 60:.1f}", line.detail)


def commit() -> str:
    """Which code this is evidence about: the commit, and whether files differ from it."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip()

    found = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return (found or "unknown") + (" with changes" if changed else "")
