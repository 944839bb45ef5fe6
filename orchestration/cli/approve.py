"""``bulk-orders approve BATCH``: a second person allows an amount above the limit."""

from __future__ import annotations

import click

from orchestration.cli.acting import act_and_go_on
from orchestration.settings import Settings


@click.command(name="approve")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(batch: str, as_json: bool) -> int:
    """Allow a batch above the yen limit to be paid, then work on it. Whoever started it cannot approve it."""
    from orchestration import operations
    from orchestration.bindings import guard_limits

    settings = Settings.from_environment()
    limits = guard_limits(settings)
    return act_and_go_on(settings, batch, lambda database: operations.approve(database, batch, limits), as_json=as_json)
