"""The health check of run workers: alive while a lease is held, dead only after two looks, alive when in doubt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun

from domain.errors import BatchBusy, DatabaseUnavailable
from orchestration.run_launcher import LeaseLauncher
from resources.database import run_lease
from resources.local import children

RUN = DagsterRun(job_name="process_batch", run_id="11111111-2222-3333-4444-555555555555")
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"

_WORKER = """
import sys
from resources.database.run_lease import held_lease
with held_lease(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def status(launcher: LeaseLauncher) -> WorkerStatus:
    return launcher.check_run_worker_health(RUN).status


def launcher_with(url: str) -> LeaseLauncher:
    launcher = LeaseLauncher(url)
    launcher.register_instance(dg.DagsterInstance.ephemeral())
    return launcher


def test_a_worker_is_alive_while_it_holds_its_lease_and_dead_two_checks_after_its_kill(empty_database_url: str) -> None:
    launcher = launcher_with(empty_database_url)
    with subprocess.Popen(
        [sys.executable, "-c", _WORKER, empty_database_url, RUN.run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=children.python_environment(),
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()
        while_held = [status(launcher) for _ in range(3)]
        worker.kill()
    assert children.wait_until(lambda: not run_lease.is_held(empty_database_url, RUN.run_id), 10)
    afterwards = [status(launcher) for _ in range(2)]

    assert while_held == [WorkerStatus.RUNNING] * 3
    assert afterwards == [WorkerStatus.RUNNING, WorkerStatus.FAILED]


def test_a_worker_nobody_can_be_asked_about_is_not_declared_dead() -> None:
    """A database that is restarted must not fail every batch at work."""
    launcher = launcher_with(NOWHERE)

    assert [status(launcher) for _ in range(4)] == [WorkerStatus.RUNNING] * 4


def test_one_look_that_finds_the_lease_starts_the_count_anew(empty_database_url: str) -> None:
    launcher = launcher_with(empty_database_url)
    seen = [status(launcher)]
    with run_lease.held_lease(empty_database_url, RUN.run_id):
        seen.append(status(launcher))
    seen.append(status(launcher))

    assert seen == [WorkerStatus.RUNNING] * 3


def test_the_same_run_is_worked_on_once_at_a_time(empty_database_url: str) -> None:
    with run_lease.held_lease(empty_database_url, RUN.run_id):
        with pytest.raises(BatchBusy), run_lease.held_lease(empty_database_url, RUN.run_id):
            pass


def test_a_worker_whose_session_is_cut_takes_its_lease_again(empty_database_url: str) -> None:
    """The database was restarted: the worker lives, and must not be declared dead."""
    holders = "select pid from pg_locks where locktype = 'advisory' and granted"
    with psycopg.connect(empty_database_url, autocommit=True) as admin:
        with run_lease.held_lease(empty_database_url, RUN.run_id):
            row = admin.execute(f"select count(pg_terminate_backend(pid, 5000)) from ({holders}) h").fetchone()
            held_again = children.wait_until(lambda: run_lease.is_held(empty_database_url, RUN.run_id), 20)
        held_afterwards = run_lease.is_held(empty_database_url, RUN.run_id)

    assert row == (1,)
    assert held_again
    assert not held_afterwards


def test_two_runs_do_not_hinder_each_other(empty_database_url: str) -> None:
    with run_lease.held_lease(empty_database_url, RUN.run_id), run_lease.held_lease(empty_database_url, "other"):
        assert run_lease.is_held(empty_database_url, "other")


def test_an_unreachable_database_is_our_own_error_without_its_address() -> None:
    with pytest.raises(DatabaseUnavailable) as refused, run_lease.held_lease(NOWHERE, RUN.run_id):
        pass

    assert str(refused.value) == "SYS-DATABASE-UNREACHABLE"
    assert refused.value.__cause__ is None


def test_dagster_loads_it_from_the_instance_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    (tmp_path / "dagster.yaml").write_text(
        "run_launcher:\n  module: orchestration.run_launcher\n  class: LeaseLauncher\n"
        "  config: {lease_url: {env: DATABASE_URL}}\n"
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_launcher, LeaseLauncher)
