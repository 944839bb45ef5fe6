"""The lease of a run worker: a session advisory lock that lives exactly as long as the worker's connection.

Whoever asks whether the worker lives asks PostgreSQL, whatever happened to the machine that the worker was on.
Needs a direct connection or a pooler in session mode. Class 7311 is this lock's own name space; two runs whose ids
hash alike would only make a dead one look alive, never a live one dead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from domain.errors import BatchBusy, DatabaseUnavailable

LEASE_CLASS = 7311
_CONNECTION: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 5,
    "application_name": "bulk-orders lease",
    # When the worker's machine vanishes, the server notices within this time and lets go of the lock.
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
}
_TAKE = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_HELD = """
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND classid = %s AND objid = (hashtext(%s)::bigint & 4294967295)::oid AND granted
    )
"""


@contextmanager
def held_lease(url: str, run_id: str) -> Iterator[None]:
    """Hold the lease of this run on a connection of its own.

    Raises:
        BatchBusy: another process holds it: the same run is being worked on.
        DatabaseUnavailable: the database does not answer.
    """
    with _connected(url) as connection:
        if not _ask(connection, _TAKE, run_id):
            raise BatchBusy("BATCH-BUSY", batch=run_id)
        yield


def is_held(url: str, run_id: str) -> bool:
    """Whether a live worker holds the lease of this run.

    Raises:
        DatabaseUnavailable: nobody can say.
    """
    with _connected(url) as connection:
        return _ask(connection, _HELD, run_id)


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    try:
        connection = psycopg.connect(plain(url), **_CONNECTION)
    except psycopg.Error:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None
    try:
        yield connection
    finally:
        connection.close()


def _ask(connection: psycopg.Connection[tuple[Any, ...]], query: str, run_id: str) -> bool:
    try:
        row = connection.execute(query.encode(), (LEASE_CLASS, run_id)).fetchone()
    except psycopg.Error:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None
    return row is not None and bool(row[0])


def plain(url: str) -> str:
    """The address without the name of a Python driver (``postgresql+psycopg://`` is SQLAlchemy's spelling)."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"
