"""The short form of the crash-point campaign; `make evidence` is the long one."""

from __future__ import annotations

import random

import pytest

from evidence import crash_points
from evidence.campaign import Budget, Line, table
from evidence.scenario import Ground


@pytest.mark.timeout(600)  # a busy machine is no failure
def test_workers_that_kill_themselves_anywhere_lose_and_double_nothing(ground: Ground):
    """A sample of the points, with a new seed each time; the seed is in the table."""
    lines = crash_points.explore(ground, Budget("short"), seed=random.SystemRandom().randrange(1, 1_000_000))

    assert not any(line.violations for line in lines), table(lines)
    # Not all of them: a border that only some thread timings pass may not be passed again; the long campaign tells.
    assert lines[0].done >= 30, table(lines)


def test_a_table_says_what_fails():
    lines = [Line("kills", 10, 10, [], 7, 60.0, "fine"), Line("cuts", 10, 9, ["I2: order 5: charged 2 times"], 7, 6.0)]

    text = table(lines)

    assert "| holds | kills" in text
    assert "| FAILS | cuts" in text
    assert "cuts: I2: order 5: charged 2 times" in text
