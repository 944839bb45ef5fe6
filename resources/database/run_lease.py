"""The lease of a run worker: a session advisory lock that lives exactly as long as the worker's connection.

Whoever asks whether the worker lives asks PostgreSQL, whatever happened to the machine that the worker was on.
Needs a direct connection or a pooler in session mode. Class 7311 is this lock's own name space; two runs whose ids
hash alike would only make a dead one look alive, never a live one dead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg

from domain.errors import BatchBusy, DatabaseUnavailable

Connected = psycopg.Connection[tuple[Any, ...]]

LEASE_CLASS = 7311
_LOOK_SECONDS = 2.0  # the launcher looks every five, and believes the second look
_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 5,
    "application_name": "bulk-orders lease",
    # When the worker's machine vanishes, the server notices within this time and lets go of the lock.
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
    # And when the server's vanishes, so do we.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_TAKE = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_HELD = """
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid = %s AND objid = (hashtext(%s)::bigint & 4294967295)::oid AND granted
    )
"""


def _nothing() -> None:
    return None


@contextmanager
def held_lease(url: str, run_id: str, look: Callable[[], None] = _nothing) -> Iterator[None]:
    """Hold the lease of this run on a connection of its own; taken again when that is lost.

    ``look`` is called every two seconds, on another thread.

    Raises:
        BatchBusy: another process holds it: the same run is being worked on.
        DatabaseUnavailable: the database does not answer.
    """
    connection = _connect(url)
    if not _take(connection, run_id):
        connection.close()
        raise BatchBusy("BATCH-BUSY", batch=run_id)
    ended = threading.Event()
    keeper = threading.Thread(target=_keep, args=(connection, url, run_id, ended, look), name="run-lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _keep(connection: Connected, url: str, run_id: str, ended: threading.Event, look: Callable[[], None]) -> None:
    """A restart of the database must not make a live worker look dead."""
    while not ended.wait(_LOOK_SECONDS):
        with suppress(DatabaseUnavailable):
            connection = _still_held(connection, url, run_id)
        look()
    connection.close()


def _still_held(connection: Connected, url: str, run_id: str) -> Connected:
    """This connection, or another that holds the lease in its place."""
    try:
        connection.execute("SELECT 1")
        return connection
    except psycopg.Error:
        connection.close()
    fresh = _connect(url)
    try:
        if _take(fresh, run_id):
            return fresh
    except DatabaseUnavailable:
        fresh.close()
        raise
    fresh.close()  # our old session has not ended yet
    raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE")


def _take(connection: Connected, run_id: str) -> bool:
    return _ask(connection, _TAKE, run_id)


def is_held(url: str, run_id: str) -> bool:
    """Whether a live worker holds the lease of this run.

    Raises:
        DatabaseUnavailable: nobody can say.
    """
    with closing(_connect(url)) as connection:
        return _ask(connection, _HELD, run_id)


def _connect(url: str) -> Connected:
    try:
        return psycopg.connect(plain(url), **_CONNECTION)
    except psycopg.Error:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None


def _ask(connection: Connected, query: str, run_id: str) -> bool:
    try:
        row = connection.execute(query.encode(), (LEASE_CLASS, run_id)).fetchone()
    except psycopg.Error:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None
    return row is not None and bool(row[0])


def plain(url: str) -> str:
    """The address without the name of a Python driver (``postgresql+psycopg://`` is SQLAlchemy's spelling)."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"
