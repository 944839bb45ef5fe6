"""``bulk-orders watch``: a watcher beside Dagster, until Ctrl-C. ``up`` has one already; elsewhere it is a service."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from dataclasses import replace

import click

from orchestration.settings import Settings


@click.command(name="watch")
def command() -> None:
    """Look at the service levels and alert, until Ctrl-C; notices also when Dagster or the database is gone."""
    from orchestration import local_services
    from orchestration.health.loop import keep_watch

    settings = Settings.from_environment()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as held:
        # A database that is given is not asked now: that it is away is what a watcher is to notice.
        url = settings.database_url or local_services.prepared_database(settings, held)
        keep_watch(replace(settings, database_url=url), stop, click.echo, with_dagster=False)
