"""``bulk-orders continue BATCH``: a paused batch goes on where it stopped."""

from __future__ import annotations

import click

from orchestration.cli.acting import act_and_go_on
from orchestration.settings import Settings


@click.command(name="continue")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(batch: str, as_json: bool) -> int:
    """Let a paused batch go on, past the guard that stopped it; also one that nobody works on any more."""
    from orchestration import operations

    settings = Settings.from_environment()
    return act_and_go_on(settings, batch, lambda database: operations.continue_(database, batch), as_json=as_json)
