"""The rules by which payments stop before the rest is paid, each at its very limit."""

from __future__ import annotations

import pytest

from domain import guards
from domain.guards import APPROVAL_STOP, CANARY_STOP, EVERY_ROW, TOLERANCE_STOP, GuardLimits, PaymentTally

NOBODY: frozenset[str] = frozenset()


def tally(**figures: int) -> PaymentTally:
    return PaymentTally(**({"batch_id": "b", "payments": 100, "failed": 0} | figures))  # type: ignore[arg-type]


def code(limits: GuardLimits, found: PaymentTally, passed: frozenset[str] = NOBODY) -> str | None:
    why = guards.stop_reason(limits, found, passed)
    return why.code if why is not None else None


def test_without_settings_nothing_ever_stops():
    """However much fails: the guards are an offer."""
    worst = tally(payments=10_000, failed=10_000)

    assert code(GuardLimits(), worst) is None
    assert guards.last_row_allowed(worst, NOBODY) == EVERY_ROW
    assert guards.approval_reason(GuardLimits(), "b", 10_000 * 1_000_000, approved=False) is None


@pytest.mark.parametrize(("failed", "expected"), [(2, None), (3, CANARY_STOP)])
def test_the_canary_stops_the_rest_above_its_percentage_and_not_at_it(failed: int, expected: str | None):
    limits = GuardLimits(canary_payments=10, canary_failed_percent=20)

    assert code(limits, tally(canary=10, canary_open=0, canary_failed=failed, failed=failed)) == expected


def test_the_canary_need_not_end_once_too_many_have_failed():
    limits = GuardLimits(canary_payments=10, canary_failed_percent=20)

    assert code(limits, tally(canary=10, canary_open=7, canary_failed=3)) == CANARY_STOP


def test_while_the_canary_is_under_way_only_its_own_rows_may_be_sent():
    """Row numbers, not counts: rejected rows of the file leave gaps."""
    under_way = tally(canary=5, canary_row=9, canary_open=1)

    assert guards.last_row_allowed(under_way, NOBODY) == 9
    assert guards.last_row_allowed(tally(canary=5, canary_row=9, canary_open=0), NOBODY) == EVERY_ROW
    assert guards.last_row_allowed(under_way, frozenset({CANARY_STOP})) == EVERY_ROW


@pytest.mark.parametrize(
    ("limits", "failed", "expected"),
    [
        (GuardLimits(tolerated_failures=3), 3, None),
        (GuardLimits(tolerated_failures=3), 4, TOLERANCE_STOP),
        (GuardLimits(tolerated_failures=0), 1, TOLERANCE_STOP),
        (GuardLimits(tolerated_failed_percent=5), 5, None),
        (GuardLimits(tolerated_failed_percent=5), 6, TOLERANCE_STOP),
        (GuardLimits(tolerated_failures=50, tolerated_failed_percent=1), 2, TOLERANCE_STOP),
    ],
)
def test_failures_are_tolerated_up_to_both_limits(limits: GuardLimits, failed: int, expected: str | None):
    assert code(limits, tally(failed=failed)) == expected


def test_a_guard_that_a_person_let_the_batch_past_does_not_stop_it_again_and_the_others_do():
    limits = GuardLimits(canary_payments=10, canary_failed_percent=0, tolerated_failures=0)
    bad = tally(canary=10, canary_failed=1, failed=1)

    assert code(limits, bad) == CANARY_STOP
    assert code(limits, bad, frozenset({CANARY_STOP})) == TOLERANCE_STOP
    assert code(limits, bad, frozenset({CANARY_STOP, TOLERANCE_STOP})) is None


def test_a_stop_says_the_figures():
    why = guards.stop_reason(GuardLimits(tolerated_failures=2), tally(failed=3), NOBODY)

    assert why is not None
    assert why.facts == {"batch": "b", "failed": 3, "payments": 100, "tolerated": 2}


def test_an_amount_at_the_limit_needs_no_approval_and_one_yen_more_does():
    limits = GuardLimits(approval_above_jpy=1_000_000)
    needed = guards.approval_reason(limits, "b", 1_000_001, approved=False)

    assert guards.approval_reason(limits, "b", 1_000_000, approved=False) is None
    assert needed is not None
    assert (needed.code, needed.facts["amount"], needed.facts["limit"]) == (APPROVAL_STOP, "1,000,001", "1,000,000")
    assert guards.approval_reason(limits, "b", 1_000_001, approved=True) is None


@pytest.mark.parametrize(
    ("actor", "person"),
    [
        ("cli:hanako", "hanako"),
        ("ui:Hanako", "hanako"),
        ("cli:hanako.t-1", "hanako.t-1"),
        ("sensor:import_folder", None),
        ("dagster", None),
        ("database:postgres", None),
        ("cli:", None),
        ("ui:hanako@example.jp", None),
        ("ui:" + "x" * 65, None),
    ],
)
def test_a_person_is_the_same_in_the_command_line_and_the_ui_and_a_sensor_is_none(actor: str, person: str | None):
    """Otherwise one person approves her own batch by changing windows."""
    assert guards.person_of(actor) == person
