"""A watcher of its own, beside Dagster: looks at its pace, and notices when the database is gone.

``bulk-orders up`` has one on a thread, ``bulk-orders watch`` is one. Dagster's sensor is the other: each notices when
the other is silent. Nothing that goes wrong in a look ends the watch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from domain.errors import BulkOrdersError, DatabaseUnavailable
from orchestration.health.outage import OutageWatch
from orchestration.health.watch import channels_of, look, stop_in_order
from orchestration.settings import Settings
from orchestration.version import code_version
from resources.database import watchers
from resources.database.connection import Actor
from resources.database.database import Database

WATCHER = "watch"
DAGSTER = "dagster"
_BETWEEN_FAILURES_SECONDS = 10.0
_LAST_LOOK_SECONDS = 15.0  # a look that is under way when everything stops


@contextmanager
def watching(settings: Settings, report: Callable[[str], None]) -> Iterator[None]:
    """Watch on a thread of our own while the block runs; at its end, Dagster has been stopped in order."""
    stop = threading.Event()
    watch = threading.Thread(
        target=keep_watch, args=(settings, stop, report), kwargs={"with_dagster": True}, name="watch", daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        stop.set()
        watch.join(_LAST_LOOK_SECONDS)


def keep_watch(settings: Settings, stop: threading.Event, report: Callable[[str], None], *, with_dagster: bool) -> None:
    """Look until ``stop``. ``with_dagster``: its sensor is expected to watch too, and everything stops with us."""
    database = Database(str(settings.database_url), Actor(f"service:{WATCHER}", "", code_version()))
    outage = OutageWatch(settings, channels_of(settings), time.time)
    expected = False
    while not stop.is_set():
        try:
            if with_dagster and not expected:
                expect_dagster(database)
                expected = True
            look(database, settings, WATCHER)
            outage.back()
            pause = settings.health_every_seconds
        except DatabaseUnavailable:
            outage.gone()
            pause = min(_BETWEEN_FAILURES_SECONDS, settings.health_every_seconds)
        except BulkOrdersError as error:
            report(f"watch: {error.code}")
            if error.code == "SYS-DATABASE-LOGIN":  # it answers, but not us: no alert could be kept in it either
                outage.gone()
            pause = settings.health_every_seconds
        except Exception as bug:  # the watch goes on; its message may hold anything
            report(f"watch: SYS-INTERNAL {type(bug).__name__}")
            pause = settings.health_every_seconds
        stop.wait(pause)
    if with_dagster:
        stop_in_order(database)
    database.dispose()


def expect_dagster(database: Database) -> None:
    """From now on Dagster's sensor is missed when it does not look."""
    with database.begin() as tx:
        watchers.expect(tx, DAGSTER)
