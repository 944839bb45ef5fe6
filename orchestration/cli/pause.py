"""``bulk-orders pause BATCH``: no further call begins, those under way come home."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from orchestration.cli.failures import INTERRUPTED
from orchestration.settings import Settings

if TYPE_CHECKING:
    from resources.database.database import Database

_POLL_SECONDS = 0.5
_MORE_SECONDS = 15.0  # for whoever works on the batch to notice, and to write down what came home


@click.command(name="pause")
@click.argument("batch")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(batch: str, as_json: bool) -> int:
    """Pause a batch and wait until its calls under way have come home; it goes on when a person continues it.

    Exit code 3: not paused yet. The pause is asked for all the same, and holds from now on.
    """
    from orchestration import operations
    from orchestration.bindings import open_batch_files
    from orchestration.cli.acting import show
    from orchestration.cli.connected import connected_database
    from orchestration.importing import RESTING, Imported
    from resources.database import books

    settings = Settings.from_environment()
    longest = max(settings.payment_timeout_seconds, settings.notification_timeout_seconds) + _MORE_SECONDS
    with ExitStack() as held:
        database = connected_database(settings, held)
        operations.pause(database, batch)
        _wait_until_resting(database, batch, longest)
        found = database.read(lambda tx: books.read(tx, batch))
    show(Imported(found, False, open_batch_files(settings).report_dir(batch)), settings.language, as_json=as_json)
    return 0 if found.batch.state in RESTING else INTERRUPTED


def _wait_until_resting(database: Database, batch: str, seconds: float) -> None:
    from orchestration.importing import RESTING
    from resources.database import batches

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = database.read(lambda tx: batches.get(tx, batch))
        if now.state in RESTING or now.run_id is None:
            return
        time.sleep(_POLL_SECONDS)
