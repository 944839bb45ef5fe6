"""Dagster's storage in our database, with connections that a process keeps.

``dagster_postgres`` connects anew for each statement: in the daemon, the code server and the run worker, some 250 times
for one batch. Here all parts of the storage take their connections from one pool, and so does every instance that a
process makes (Dagster makes one at each sensor tick). A connection is proven before it is used: a database that was
restarted costs nothing but that. A forked process never uses its parent's pool. The web server has pools of its own,
Dagster's.
"""

from collections.abc import Mapping
from typing import Any, Self

import sqlalchemy
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.config import pg_config
from dagster._serdes import ConfigurableClassData
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config, retry_pg_connection_fn
from sqlalchemy import Engine

from resources.database.per_process import PerProcess

_KEPT_CONNECTIONS = 3  # per process; a run worker needs one or two
_MORE_AT_ONCE = 20  # the daemon has about that many threads
_RECYCLE_SECONDS = 3600
_MADE_LAST = {"runs", "instance_info", "event_logs", "jobs"}  # by these the parts know that they have their tables


def _pooled_engine(url: str) -> Engine:
    """Like the parts' own engines, but for the pool."""
    return sqlalchemy.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=_KEPT_CONNECTIONS,
        max_overflow=_MORE_AT_ONCE,
        pool_pre_ping=True,
        pool_recycle=_RECYCLE_SECONDS,
        pool_use_lifo=True,
    )


_engines: PerProcess[str, Engine] = PerProcess(_pooled_engine, lambda engine: engine.dispose(close=False))
_with_tables: set[str] = set()


class PooledPostgresStorage(DagsterPostgresStorage):
    """``DagsterPostgresStorage`` over one pool; named in dagster.yaml, with the same configuration.

    Args:
        postgres_url: an address that names psycopg2, with Dagster's schema as search path.
        inst_data: Dagster's own, for loading this class again in other processes.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        engine = _engines.get(postgres_url)
        super().__init__(postgres_url, not _has_tables(postgres_url, engine), inst_data)
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = engine

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """What dagster.yaml gives."""
        return pg_config()

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Made by Dagster from dagster.yaml."""
        return cls(pg_url_from_config(config_value), inst_data)


def _has_tables(url: str, engine: Engine) -> bool:
    """Whether the parts need not look for themselves, over a connection each; asked until it is so."""
    if url not in _with_tables:
        found = retry_pg_connection_fn(lambda: sqlalchemy.inspect(engine).get_table_names())
        if set(found) >= _MADE_LAST:
            _with_tables.add(url)
    return url in _with_tables
