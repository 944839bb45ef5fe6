"""Dagster's storage keeps its connections: one pool per process, never shared over a fork, none the worse for wear."""

from __future__ import annotations

import json
import subprocess
import sys

import psycopg
import pytest

from orchestration import dagster_home
from orchestration.dagster_storage import PooledPostgresStorage
from resources.local import children


@pytest.fixture
def address(dagster_database_url: str) -> str:
    return dagster_home.storage_url(dagster_database_url)


@pytest.fixture
def storage(address: str) -> PooledPostgresStorage:
    return PooledPostgresStorage(address)


def sessions(url: str) -> int:
    """How many sessions of others there are in the database."""
    with psycopg.connect(url) as connection:
        query = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        return int((connection.execute(query).fetchone() or (0,))[0])


def use_all_parts(storage: PooledPostgresStorage) -> None:
    storage.run_storage.get_runs_count()
    storage.event_log_storage.get_dynamic_partitions("batch")
    storage.schedule_storage.all_instigator_state()


def test_all_parts_and_all_instances_of_a_process_share_their_connections(
    storage: PooledPostgresStorage, address: str, dagster_database_url: str
) -> None:
    """The code server makes an instance at every tick: each with connections of its own would soon be too many."""
    for one in [storage, *(PooledPostgresStorage(address) for _ in range(5))]:
        use_all_parts(one)

    assert sessions(dagster_database_url) == 1


def test_a_session_that_the_server_ended_is_replaced_unnoticed(
    storage: PooledPostgresStorage, dagster_database_url: str
) -> None:
    """A database that is restarted must not cost a run."""
    use_all_parts(storage)
    with psycopg.connect(dagster_database_url, autocommit=True) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall()
    use_all_parts(storage)

    assert ended == [(True,)]


_FORKS = """
import json, os, sys
from orchestration.dagster_storage import PooledPostgresStorage

def backend(storage):
    with storage.run_storage.connect() as connection:
        return connection.exec_driver_sql("select pg_backend_pid()").scalar()

storage = PooledPostgresStorage(sys.argv[1])
before = backend(storage)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.write(writer, str(backend(PooledPostgresStorage(sys.argv[1]))).encode())
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps([before, backend(storage), int(os.read(reader, 100))]))
"""


def test_a_forked_process_connects_for_itself_and_leaves_its_parent_alone(address: str) -> None:
    """Two processes on one connection read each other's answers."""
    told = subprocess.run(
        [sys.executable, "-c", _FORKS, address],
        env=children.python_environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    before, after, in_child = json.loads(told.stdout)

    assert before == after
    assert in_child != before


def test_the_tables_are_made_where_they_are_missing(empty_database_url: str) -> None:
    dagster_home.make_schema(empty_database_url)
    use_all_parts(PooledPostgresStorage(dagster_home.storage_url(empty_database_url)))

    assert dagster_home.has_tables(empty_database_url)
