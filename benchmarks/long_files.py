"""Read, check, encrypt and store longer and longer files: the time of a row and the memory must stay the same.

    python -m benchmarks.long_files [ROWS ...]

Each file goes through the stage `validated_csv` in a process of its own, into one database. CPU is that of this
process; the peak is of its memory, libraries included. The last lines compare the longest file with the one before it.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from benchmarks.bench_database import bench_database
from benchmarks.bench_folder import bench_folder
from benchmarks.peak_memory import peak_mebibytes
from domain.identity import DEFAULT_CLIENT
from orchestration.admission import admit
from orchestration.bindings import admitted_vault, open_batch_files, open_database
from orchestration.sample import make_sample, write_csv
from orchestration.settings import Settings
from resources.database.connection import Actor

ROWS = (10_000, 100_000, 1_000_000)
BAD = 0.01
_MADE_AT_ONCE = 100_000


@dataclass(frozen=True)
class Figures:
    """One file: seconds of the clock and of the processor, and the peak in MiB."""

    rows: int
    seconds: float
    cpu: float
    peak: float


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    several = [int(rows) for rows in arguments or []] or list(ROWS)
    print("files read, checked and stored part by part, 1 % bad rows, each in a process of its own")
    with bench_folder() as folder, bench_database(folder) as (database, _, files):
        found: list[Figures] = []
        for seed, rows in enumerate(several, start=1):
            path = folder / f"{rows}.csv"
            _write(path, rows, seed)
            batch_id = admit(database, files, path, DEFAULT_CLIENT).batch.batch_id
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(_validated, (folder, database.url, batch_id, rows)))
            _say(found[-1])
    before, last = found[-2:] if len(found) > 1 else found * 2
    cpu = last.cpu / last.rows / (before.cpu / before.rows)
    print(f"  CPU of a row / file before       {cpu:6.2f}   (goal: 1.1 or less)")
    print(f"  peak / file before               {last.peak / before.peak:6.2f}   (goal: 1.2 or less)")


def _say(found: Figures) -> None:
    times = f"{found.seconds:8.2f} s {found.cpu:8.2f} s CPU {found.rows / found.seconds:10,.0f} rows/s"
    print(f"  {found.rows:>11,} rows {times} {found.peak:6,.0f} MiB")


def _write(path: Path, rows: int, seed: int) -> None:
    """A sample file, some rows at a time: their order numbers begin with the seed of each."""
    with path.open("wb") as file:
        for at in range(0, rows, _MADE_AT_ONCE):
            piece = path.with_suffix(".piece")
            write_csv(make_sample(min(_MADE_AT_ONCE, rows - at), bad=BAD, seed=1_000 * seed + at), piece, "utf-8")
            text = piece.read_bytes()
            file.write(text if at == 0 else text[text.index(b"\n") + 1 :])
            piece.unlink()


def _validated(folder: Path, url: str, batch_id: str, rows: int) -> Figures:
    settings = Settings(home=folder / "home", database_url=url)
    database = open_database(settings, Actor("benchmark"))
    limits = ReadingLimits(max_rows=rows, max_bytes=1_000 * rows)
    work = (database, admitted_vault(settings, database), open_batch_files(settings), batch_id, limits)
    started, cpu = time.perf_counter(), time.process_time()
    validate_batch(*work)
    return Figures(rows, time.perf_counter() - started, time.process_time() - cpu, peak_mebibytes())


if __name__ == "__main__":
    main(sys.argv[1:])
