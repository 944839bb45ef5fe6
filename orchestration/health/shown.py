"""The checks of one look as people see them: passed or not, what is wrong and what to do, and the figures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain import catalogue
from domain.alerts import CHECK_OF, URGENT, Condition, HealthCheck
from domain.health import HealthLimits, Measured
from orchestration.health.figures import Figures, of_check


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check. ``urgent``: somebody should look now. ``lines``: what is wrong, each with what to do."""

    check: HealthCheck
    passed: bool
    urgent: bool
    lines: Sequence[str]
    codes: Sequence[str]
    figures: Figures


def results(
    measured: Measured, conditions: Sequence[Condition], limits: HealthLimits, language: str
) -> list[CheckResult]:
    """Every check, in the order of ``HealthCheck``."""
    found: list[CheckResult] = []
    for check in HealthCheck:
        mine = [condition for condition in conditions if CHECK_OF[condition.kind] is check]
        found.append(
            CheckResult(
                check=check,
                passed=not mine,
                urgent=any(condition.kind in URGENT for condition in mine),
                lines=[_line(condition, language) for condition in mine],
                codes=sorted({condition.kind.value for condition in mine}),
                figures=of_check(check, measured, limits),
            )
        )
    return found


def _line(condition: Condition, language: str) -> str:
    told = catalogue.fill(condition.kind.value, condition.facts, language)
    return f"{condition.kind.value}: {told.message} {told.remedy}"
