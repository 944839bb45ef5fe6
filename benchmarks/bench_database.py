"""A database of our own for a benchmark: PostgreSQL as `up` runs it, fsync on, in a folder that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from orchestration.bindings import admitted_vault, open_batch_files, open_database
from orchestration.settings import Settings
from resources.batch_files import BatchFiles
from resources.database import migrate
from resources.database.connection import Actor
from resources.database.database import Database
from resources.encryption import Vault
from resources.local.postgres_server import PostgresServer

_WAL_FILES = 48  # 16 MiB each: more than a benchmark writes


@contextmanager
def bench_database(home: Path) -> Iterator[tuple[Database, Vault, BatchFiles]]:
    """The migrated database, a vault and the batch folders."""
    server = PostgresServer(home / "home")
    server.start(ends_with_us=True)
    try:
        migrate.upgrade(server.url())
        _use_wal_files(server.url())
        settings = Settings(home=home / "home", database_url=server.url())
        database = open_database(settings, Actor("benchmark"))
        yield database, admitted_vault(settings, database), open_batch_files(settings)
        database.dispose()
    finally:
        server.stop()


def _use_wal_files(url: str) -> None:
    """Let the server have WAL files to use again, as one has that is in service.

    A new one makes and fills each of them when it needs it, for 20 to 80 ms: every round of a benchmark that happens to
    write just as much would meet that at the same step.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(_WAL_FILES):
            connection.execute("select pg_logical_emit_message(false, 'benchmark', ''), pg_switch_wal()")
        connection.execute("checkpoint")
