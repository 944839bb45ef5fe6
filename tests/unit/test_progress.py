"""Processed, total and time left (LIM-006)."""

from __future__ import annotations

import pytest

from domain.progress import StageProgress
from orchestration.summary import stage_text


def test_time_left_is_from_the_speed_of_this_run_only():
    """A batch that was taken up again did not do its first thousand rows in this second."""
    progress = StageProgress("payments", 1_200, 2_000, elapsed_seconds=10.0, processed_before=1_000)

    assert progress.rows_per_second == 20.0
    assert progress.seconds_left == 40.0
    assert stage_text(progress, "en") == "Payments 1,200/2,000 (40 s left)"
    assert stage_text(progress, "ja") == "決済 1,200/2,000 (残り約40秒)"


def test_nothing_is_promised_before_something_is_known():
    assert StageProgress("payments", 0, 10).seconds_left is None
    assert StageProgress("payments", 5, 10, elapsed_seconds=3.0, processed_before=5).seconds_left is None
    assert stage_text(StageProgress("payments", 0, 10), "en") == "Payments 0/10"


def test_a_complete_stage_says_so_without_a_time():
    assert stage_text(StageProgress("payments", 10, 10, elapsed_seconds=2.0), "en") == "Payments 10/10"
    assert StageProgress("payments", 10, 10, elapsed_seconds=2.0).seconds_left == 0.0


@pytest.mark.parametrize(("processed", "total", "percent"), [(0, 4, 0.0), (1, 4, 25.0), (4, 4, 100.0), (0, 0, 100.0)])
def test_percent_goes_from_0_to_100(processed: int, total: int, percent: float):
    assert StageProgress("payments", processed, total).percent == percent
