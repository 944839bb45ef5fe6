"""A database of our own for a benchmark: PostgreSQL as `up` runs it, fsync on, in a folder that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestration.bindings import admitted_vault, open_batch_files, open_database
from orchestration.settings import Settings
from resources.batch_files import BatchFiles
from resources.database import migrate
from resources.database.connection import Actor
from resources.database.database import Database
from resources.encryption import Vault
from resources.local.postgres_server import PostgresServer


@contextmanager
def bench_database(home: Path) -> Iterator[tuple[Database, Vault, BatchFiles]]:
    """The migrated database, a vault and the batch folders."""
    server = PostgresServer(home / "home")
    server.start(ends_with_us=True)
    try:
        migrate.upgrade(server.url())
        settings = Settings(home=home / "home", database_url=server.url())
        database = open_database(settings, Actor("benchmark"))
        yield database, admitted_vault(settings, database), open_batch_files(settings)
        database.dispose()
    finally:
        server.stop()
