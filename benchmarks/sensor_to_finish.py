"""From the sensor's tick to the finished run of a 100-row batch, and where the time goes.

    python -m benchmarks.sensor_to_finish [BATCHES]

The whole system runs as `bulk-orders up` starts it, in a folder that goes away; the services answer at once and limit
no rate. The marks are Dagster's own records; its own share was 3.0 s on a quiet 2-core machine (goal: 4 s or less in
all).
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.bench_folder import bench_folder
from orchestration.sample import make_sample, write_csv
from resources.local.postgres_server import PostgresServer, free_port
from resources.local.sandbox_service import SandboxService

ROWS = 100
_READY_SECONDS = 180.0
_BATCH_SECONDS = 120.0

# The tick that took the file, the run it asked for, and the run's first and last events, in seconds since the epoch.
_MARKS = """
    with run as (select run_id, extract(epoch from create_timestamp) as created, start_time, end_time
                 from dagster.runs order by id desc limit 1),
         tick as (select max(extract(epoch from timestamp)) as at from dagster.job_ticks, run
                  where extract(epoch from timestamp) <= run.created),
         step as (select step_key, extract(epoch from min(timestamp)) as first,
                         extract(epoch from max(timestamp)) as last
                  from dagster.event_logs join run using (run_id)
                  where dagster_event_type in ('STEP_START', 'STEP_SUCCESS') group by step_key)
    select (select at from tick), created, start_time, end_time,
           (select jsonb_object_agg(step_key, last - first) from step where step_key is not null) from run"""


def main() -> None:
    """Print the table."""
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with bench_folder() as folder, _services(folder) as urls, _system(folder, urls) as (home, url):
        marks = [_one_batch(home, url, number) for number in range(1, batches + 1)]
    print(f"{ROWS} rows, medians of {batches} batches, seconds")
    for label in marks[0]:
        print(f"  {label:<42} {statistics.median(mark[label] for mark in marks):6.2f}")


@contextmanager
def _services(folder: Path) -> Iterator[dict[str, str]]:
    payments = SandboxService(folder / "services", "payments")
    notifications = SandboxService(folder / "services", "notifications", options=["--notification-rate", "0"])
    for service in (payments, notifications):
        service.start()
    try:
        yield {"PAYMENT_SERVICE_URL": payments.url, "NOTIFICATION_SERVICE_URL": notifications.url}
    finally:
        for service in (payments, notifications):
            service.stop()


@contextmanager
def _system(folder: Path, urls: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """`up`; its home and the address of its database."""
    home, profile = folder / "home", folder / "unlimited.toml"
    profile.write_text('name = "unlimited"\nrate_per_second = 0\n', encoding="utf-8")
    own = {
        "BULK_ORDERS_HOME": str(home),
        "BULK_ORDERS_UI_PORT": str(free_port()),
        "NOTIFICATION_SERVICE_PROFILE": str(profile),
    }
    command = [sys.executable, "-m", "orchestration.cli.main", "up"]
    up = subprocess.Popen(command, env=os.environ | urls | own, stdout=subprocess.DEVNULL)
    try:
        _wait_for(lambda: (home / "up.json").exists(), _READY_SECONDS)
        yield home, PostgresServer(home).url()
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(90)


def _one_batch(home: Path, url: str, number: int) -> dict[str, float]:
    """Drop one file; the seconds between the marks of its run."""
    draft = home / "draft.csv"
    write_csv(make_sample(ROWS, seed=number), draft, "utf-8")
    draft.rename(home / "import" / f"{number}.csv")
    with psycopg.connect(url, autocommit=True) as connection:
        done = "select count(*) from dagster.runs where status in ('SUCCESS', 'FAILURE')"
        _wait_for(lambda: connection.execute(done).fetchone() == (number,), _BATCH_SECONDS)
        tick, created, started, ended, steps = connection.execute(_MARKS).fetchone() or ()
    created, tick = float(created), float(tick)
    stages = {f"    stage {step}": float(seconds) for step, seconds in sorted(steps.items())}
    return {
        "sensor tick -> run created": created - tick,
        "run created -> started (queue, process, import)": started - created,
        "run started -> finished": ended - started,
        **stages,
        "sensor tick -> finished run (goal 4.0)": ended - tick,
    }


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("not ready in time")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
