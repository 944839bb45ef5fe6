"""The tests are tested: bugs planted on purpose turn them red. All bugs: `python -m evidence --only seeded_bugs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from evidence.campaign import Budget
from evidence.seeded_bugs.campaign import BUGS, EVERYDAY, try_all
from evidence.seeded_bugs.workshop import ROOT, CannotPlant, Edit, SeededBug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_seeded_bug_can_still_be_planted(bug: SeededBug) -> None:
    """When the code moves on, the bug must move with it, or nobody notices that it is tested no more."""
    assert bug.sources()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_check_of_a_seeded_bug_exists(bug: SeededBug) -> None:
    for check in bug.checks:
        file, _, name = check.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


def test_there_are_enough_of_them_and_no_two_with_one_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 40
    assert {bug.name for bug in BUGS} >= set(EVERYDAY)


def test_a_text_that_is_gone_is_said_so() -> None:
    with pytest.raises(CannotPlant, match="found 0 times"):
        Edit("x.py", "this is not there", "").applied("that is")
    with pytest.raises(CannotPlant, match="found 2 times"):
        Edit("x.py", "is", "").applied("that is what it is")


@pytest.mark.timeout(300)
def test_a_few_seeded_bugs_are_caught(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)

    tried = try_all(tmp_path, [bug for bug in BUGS if bug.name in EVERYDAY], Budget("short"))

    assert {one.name: one.finding for one in tried} == dict.fromkeys(EVERYDAY, "")
