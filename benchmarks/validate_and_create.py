"""Validate and create 10,000 orders, against the floor: a bare COPY of the rows and a bare pandas read.

    python -m benchmarks.validate_and_create [ROWS]

The bare COPY takes the orders of the same file into a twin of `orders`: its columns, constraints and indexes, and the
same rows in it before, without triggers and foreign keys. Ours reads, checks, encrypts and stores every row, makes the
orders, and leaves the trail, in a process as warm as that of a run. All figures are medians of one process on one
server; read the ratios.
"""

from __future__ import annotations

import importlib
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
from sqlalchemy import Connection

from assets.created_orders.work import create_orders
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from benchmarks.bench_database import bench_database
from benchmarks.bench_folder import bench_folder
from domain.identity import DEFAULT_CLIENT
from orchestration.admission import admit
from orchestration.sample import make_sample, write_csv
from resources.batch_files import BatchFiles
from resources.database.database import Database
from resources.encryption import Vault

REPEATS = 15
_BARE_COLUMNS = (
    "batch_id, csv_source, import_row_number, client, order_number, item_code, item_name, quantity, amount, ordered_on,"
    " likeness"
)


@dataclass(frozen=True)
class Bench:
    """Where everything happens."""

    database: Database
    vault: Vault
    files: BatchFiles
    folder: Path
    rows: int


@dataclass(frozen=True)
class Round:
    """Seconds of every part of one round; ``dirty`` is ours with faults in the file."""

    read: float
    copy: float
    validate: float
    create: float
    dirty: float

    @property
    def times_floor(self) -> float:
        """Ours, in floors."""
        return (self.validate + self.create) / (self.read + self.copy)

    @property
    def times_clean(self) -> float:
        """A file with faults, in files without."""
        return self.dirty / (self.validate + self.create)


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    importlib.import_module("orchestration.warm_up")
    with bench_folder() as folder, bench_database(folder) as (database, vault, files):
        bench = Bench(database, vault, files, folder, rows)
        make_twin(bench)
        clean = [bench_file(bench, 0.0, seed) for seed in range(REPEATS)]
        dirty = [bench_file(bench, 0.01, seed + 100) for seed in range(REPEATS)]
        rounds = [one_round(bench, *paths) for paths in zip(clean, dirty, strict=True)]
    print(f"{rows:,} rows, medians of {REPEATS}")
    print(f"  bare pandas read              {median([r.read for r in rounds]):8.3f} s")
    print(f"  bare COPY, same indexed table {median([r.copy for r in rounds]):8.3f} s")
    print(f"  ours: validate                {median([r.validate for r in rounds]):8.3f} s")
    print(f"  ours: create                  {median([r.create for r in rounds]):8.3f} s")
    print(f"  ours / floor                  {median([r.times_floor for r in rounds]):8.2f}   (goal: 3 or less)")
    print(f"  with 1 % bad rows / clean     {median([r.times_clean for r in rounds]):8.2f}   (goal: 1.5 or less)")
    print(f"  peak memory of this process   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8.0f} MiB")


def one_round(bench: Bench, clean: Path, dirty: Path) -> Round:
    """Floor and ours side by side: what else the machine does then meets both."""
    read = timed(lambda: pd.read_csv(clean, dtype=str))
    validate, create = ours_timed(bench, clean)
    copy = bare_copy(bench)
    with_faults = sum(ours_timed(bench, dirty))
    bare_copy(bench)  # the twin stays one
    return Round(read, copy, validate, create, with_faults)


def bench_file(bench: Bench, bad: float, seed: int) -> Path:
    """A sample file of its own: each batch has its own order numbers."""
    path = bench.folder / f"{seed}.csv"
    write_csv(make_sample(bench.rows, bad=bad, seed=seed), path, "utf-8")
    return path


def ours_timed(bench: Bench, path: Path) -> tuple[float, float]:
    """Seconds to validate and to create the orders of one file."""
    batch_id = admit(bench.database, bench.files, path, DEFAULT_CLIENT, keep_original=True).batch.batch_id
    limits = ReadingLimits(max_rows=bench.rows)
    validate = timed(lambda: validate_batch(bench.database, bench.vault, bench.files, batch_id, limits))
    return validate, timed(lambda: create_orders(bench.database, batch_id))


def make_twin(bench: Bench) -> None:
    """The table that the bare COPY goes into."""
    with bench.database.begin() as tx:
        tx.exec_driver_sql("create table bare_orders (like orders including all)")


def bare_copy(bench: Bench) -> float:
    """Seconds to COPY the orders of the newest batch into the twin."""
    newest = "(select batch_id from orders order by order_id desc limit 1)"
    source = f"select {_BARE_COLUMNS} from orders where batch_id = {newest} order by order_id"
    with bench.database.begin() as tx, _cursor(tx) as cursor, cursor.copy(f"copy ({source}) to stdout") as copy:
        data = b"".join(copy)
    return timed(lambda: _copy_in(bench, data))


def _copy_in(bench: Bench, data: bytes) -> None:
    statement = f"copy bare_orders ({_BARE_COLUMNS}) from stdin"
    with bench.database.begin() as tx, _cursor(tx) as cursor, cursor.copy(statement) as copy:
        copy.write(data)


def _cursor(tx: Connection) -> psycopg.Cursor[Any]:
    driver = tx.connection.driver_connection
    assert driver is not None
    cursor: psycopg.Cursor[Any] = driver.cursor()
    return cursor


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median(values: list[float]) -> float:
    """The middle value."""
    return statistics.median(values)


if __name__ == "__main__":
    main()
