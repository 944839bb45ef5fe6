"""Dagster's own home: the instance's configuration, its storage in our database, the environment of its processes.

Dagster's tables live in the same database as the orders, in the schema ``dagster``. Their address must name psycopg2:
with a bare ``postgresql://`` SQLAlchemy 2.1 takes psycopg 3, whose refusal of ``NOTIFY run_events, $1`` leaves every
run enqueued for ever (dagster issue 33958; goes when it is closed).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg

from domain.errors import DatabaseUnavailable, SettingRefused
from resources.database import roles
from resources.database.run_lease import plain
from resources.local.files import write_private

SCHEMA = "dagster"
LOCATION_NAME = "bulk_orders"
_ADVISORY_KEY = 731_100  # two starts at once make the schema one after the other

_INSTANCE = """\
# Written by bulk-orders at every start. Change orchestration/dagster_home.py instead.
telemetry: {{enabled: false}}
nux: {{enabled: false}}
storage:
  custom:
    module: orchestration.dagster_storage
    class: PooledPostgresStorage
    config:
      postgres_url: {{env: DAGSTER_STORAGE_URL}}
run_coordinator:
  module: orchestration.run_coordinator
  class: PeopleFirst
  config:
    dequeue_use_threads: true
    dequeue_num_workers: 4
concurrency:
  runs:
    max_concurrent_runs: {max_concurrent_runs}
    tag_concurrency_limits:
      - {{key: "dagster/partition", value: {{applyLimitPerUniqueValue: true}}, limit: 1}}  # one run per batch
run_launcher:
  module: orchestration.run_launcher
  class: LeaseLauncher
  config:
    lease_url: {{env: DATABASE_URL}}
run_monitoring:
  enabled: true
  poll_interval_seconds: 5
  start_timeout_seconds: 120
  cancel_timeout_seconds: 60
  free_slots_after_run_end_seconds: 5
  max_resume_run_attempts: 0
run_retries: {{enabled: false}}  # the unfinished-batch sensor starts anew, with all it knows about the batch
sensors: {{use_threads: true, num_workers: 4, num_submit_workers: 4}}
schedules: {{use_threads: true, num_workers: 2}}
retention:
  sensor: {{purge_after_days: {{skipped: 7, success: -1, failure: -1}}}}
# Captured output of runs is a way for customers' values to get into the UI: there is none.
compute_logs: {{module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}}
"""


def write_instance(folder: Path, max_concurrent_runs: int) -> None:
    """``dagster.yaml`` in ``folder``, written only when its content changes; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_if_changed(folder / "dagster.yaml", _INSTANCE.format(max_concurrent_runs=max_concurrent_runs))


def write_workspace(folder: Path, grpc_port: int) -> Path:
    """The workspace that points to our code server; the path of the file."""
    path = folder / "workspace.yaml"
    server = f"{{host: 127.0.0.1, port: {grpc_port}, location_name: {LOCATION_NAME}}}"
    _write_if_changed(path, f"load_from:\n  - grpc_server: {server}\n")
    return path


def storage_url(database_url: str) -> str:
    """The address of Dagster's storage inside the database at ``database_url``.

    Its sessions do not wait for the disk. When the database crashes, the last half second of Dagster's records may be
    gone, never anything of ours: what we committed later is on the disk only after all that was written before.
    """
    base = f"postgresql+psycopg2://{database_url.partition('://')[2]}"
    options = f"options=-csearch_path%3D{SCHEMA}%20-csynchronous_commit%3Doff"
    return f"{base}{'&' if '?' in base else '?'}{options}"


# Dagster makes and changes its tables by itself, as the application; those that were made before become its own.
_FOR_THE_APPLICATION = f"""
    DO $$
    DECLARE
        relation_ regclass;
    BEGIN
        IF to_regrole('{roles.APPLICATION}') IS NULL OR NOT pg_has_role(
                (SELECT nspowner FROM pg_namespace WHERE nspname = '{SCHEMA}'), 'USAGE') THEN
            RETURN;
        END IF;
        GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {roles.APPLICATION};
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            FOR relation_ IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = '{SCHEMA}'::regnamespace
                    AND c.relkind IN ('r', 'v') AND c.relowner = current_user::regrole LOOP
                EXECUTE format('ALTER TABLE %s OWNER TO {roles.APPLICATION}', relation_);
            END LOOP;
        END IF;
    END $$"""


def make_schema(database_url: str) -> None:
    """Dagster's schema, where absent, for the application.

    Raises:
        DatabaseUnavailable: the database does not answer.
        SettingRefused: our login may not make it.
    """
    try:
        with psycopg.connect(plain(database_url), connect_timeout=5) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_KEY,))
            if connection.execute(f"SELECT to_regnamespace('{SCHEMA}')").fetchone() == (None,):
                connection.execute(f"CREATE SCHEMA {SCHEMA}")
            connection.execute(_FOR_THE_APPLICATION)
    except psycopg.errors.InsufficientPrivilege:
        raise SettingRefused("SYS-DATABASE-RIGHTS") from None
    except psycopg.Error:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None


def has_tables(database_url: str) -> bool:
    """Whether Dagster has made its tables already.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    try:
        with psycopg.connect(plain(database_url), connect_timeout=5) as connection:
            row = connection.execute(f"SELECT to_regclass('{SCHEMA}.instance_info') IS NOT NULL").fetchone()
    except psycopg.Error:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None
    return row is not None and bool(row[0])


def environment(folder: Path, database_url: str, services: Mapping[str, str]) -> dict[str, str]:
    """What every Dagster process needs in its environment; ``services`` are further variables (service addresses)."""
    return {
        "DAGSTER_HOME": str(folder.absolute()),
        "DAGSTER_STORAGE_URL": storage_url(database_url),
        "DATABASE_URL": database_url,
        # A foreign exception's text may hold a customer's value: the UI shows an error id instead.
        "DAGSTER_REDACT_USER_CODE_ERRORS": "1",
        **services,
    }


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_private(path, text)
