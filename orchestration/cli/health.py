"""``bulk-orders health``: the service levels now. 0: all are kept; 1: some are not; 3: the database does not answer."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from domain import catalogue
from orchestration.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.health.shown import CheckResult

NOT_HEALTHY = 1


@click.command(name="health")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def command(as_json: bool) -> int:
    """Measure the service levels and compare each with its limit: 0 all are kept, 1 some are not."""
    from domain.health import judge
    from orchestration.cli.connected import connected_database
    from orchestration.health import shown
    from orchestration.health.measuring import health_limits, measure

    settings = Settings.from_environment()
    with ExitStack() as held:
        measured = measure(connected_database(settings, held), settings)
    limits = health_limits(settings)
    found = shown.results(measured, judge(measured, limits), limits, settings.language)
    click.echo(_as_json(found) if as_json else _as_text(found, settings.language))
    return 0 if all(result.passed for result in found) else NOT_HEALTHY


def _as_json(found: Sequence[CheckResult]) -> str:
    told = {
        "healthy": all(result.passed for result in found),
        "checks": {
            result.check.value: {
                "passed": result.passed,
                "urgent": result.urgent,
                "codes": list(result.codes),
                "figures": dict(result.figures),
            }
            for result in found
        },
    }
    return json.dumps(told, ensure_ascii=False)


def _as_text(found: Sequence[CheckResult], language: str) -> str:
    words = catalogue.words("health", language)
    failed = [result for result in found if not result.passed]
    lines = [words["not_healthy"].format(count=len(failed), all=len(found)) if failed else words["healthy"]]
    for result in found:
        lines.append(f"  {'ok' if result.passed else '!!' if result.urgent else '! '}  {result.check.value}")
        lines += [f"        {line}" for line in result.lines]
    return "\n".join(lines)
