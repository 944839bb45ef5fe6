"""Dagster's daemons, schedules and sensors as the watch sees them: in the tables that Dagster itself writes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from orchestration import dagster_home
from orchestration.dagster_storage import PooledPostgresStorage
from resources.database import dagster_pulse
from resources.database.connection import Actor
from resources.database.database import Database


@pytest.fixture
def database(dagster_database_url: str) -> Iterator[Database]:
    made = Database(dagster_database_url, Actor("test", "", "0.0"))
    yield made
    made.dispose()


@pytest.fixture
def storage(dagster_database_url: str) -> PooledPostgresStorage:
    return PooledPostgresStorage(dagster_home.storage_url(dagster_database_url))


def origin_of(name: str) -> RemoteInstigatorOrigin:
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="m"), "bulk_orders")
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "repository"), name)


def ticks(storage: PooledPostgresStorage, name: str, *statuses: TickStatus) -> None:
    """A sensor that is on, with these ticks from the oldest to the newest."""
    origin = origin_of(name)
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.DECLARED_IN_CODE)
    storage.schedule_storage.add_instigator_state(state)
    for n, status in enumerate(statuses):
        at = time.time() - len(statuses) + n
        error = SerializableErrorInfo("x", [], None) if status is TickStatus.FAILURE else None
        data = TickData(
            origin.get_id(), name, InstigatorType.SENSOR, status, at, error=error, selector_id=state.selector_id
        )
        storage.schedule_storage.create_tick(data)


def test_what_failed_three_times_in_a_row_is_failing(storage: PooledPostgresStorage, database: Database) -> None:
    """One success among the last three, or a tick that is still under way, says something else."""
    failed, skipped, started = TickStatus.FAILURE, TickStatus.SKIPPED, TickStatus.STARTED
    ticks(storage, "always", skipped, failed, failed, failed)
    ticks(storage, "under_way", failed, failed, failed, started)
    ticks(storage, "recovered", failed, failed, failed, skipped)
    ticks(storage, "twice", failed, failed)

    assert database.read(dagster_pulse.failing) == {"always": 3, "under_way": 3}


def ran(storage: PooledPostgresStorage, status: dg.DagsterRunStatus, **tags: str) -> None:
    spelt = {name.replace("__", "/"): value for name, value in tags.items()}
    storage.run_storage.add_run(dg.DagsterRun(job_name="job", status=status, tags=spelt))


def test_a_schedule_whose_last_runs_failed_is_failing_though_it_ticks(
    storage: PooledPostgresStorage, database: Database
) -> None:
    good, bad = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE
    for name, statuses in {
        "nightly": [good, bad, bad, bad],
        "mended": [bad, bad, bad, good],
        "new": [bad, bad],
    }.items():
        for status in statuses:
            ran(storage, status, dagster__schedule_name=name)
    for _ in range(3):
        ran(storage, bad, dagster__sensor_name="import_folder")

    assert database.read(dagster_pulse.failing) == {"nightly": 3}


def test_batches_whose_run_waits_for_its_turn_are_known(storage: PooledPostgresStorage, database: Database) -> None:
    ran(storage, dg.DagsterRunStatus.NOT_STARTED, dagster__partition="waits")
    ran(storage, dg.DagsterRunStatus.STARTED, dagster__partition="runs")

    assert database.read(dagster_pulse.queued_partitions) == {"waits"}


def test_the_daemons_that_we_need_are_seen(storage: PooledPostgresStorage, database: Database) -> None:
    for name, seconds in (("SENSOR", 5), ("SCHEDULER", 700), ("BACKFILL", 9_000)):
        beat = DaemonHeartbeat(time.time() - seconds, name, "some-id", None)
        storage.run_storage.add_daemon_heartbeat(beat)
    silent = database.read(dagster_pulse.daemons_silent)

    assert set(silent) == {"dagster:sensor", "dagster:scheduler"}
    assert silent["dagster:sensor"] < 300 < silent["dagster:scheduler"] < 2_000


def test_where_dagster_never_ran_nothing_is_missed(database_url: str) -> None:
    database = Database(database_url, Actor("test", "", "0.0"))
    try:
        assert database.read(dagster_pulse.daemons_silent) == {}
        assert database.read(dagster_pulse.failing) == {}
        assert database.read(dagster_pulse.queued_partitions) == frozenset()
    finally:
        database.dispose()
