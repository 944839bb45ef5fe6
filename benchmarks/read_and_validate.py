"""Read and check files of 10,000 rows, against the floor: pyarrow's own reader and a check of the same rules by hand.

    python -m benchmarks.read_and_validate [ROWS]

Ours recognises encoding and layout, names every fault of every row with its line, and gives typed orders. The floor
reads UTF-8 text columns and says which rows are good, nothing more. Excel is held against the reading library alone.
Floor and ours run in turn, in seconds of CPU, those of the process that reads Excel included; of each the least of all
rounds counts, for what else the machine does only ever adds. Read the ratios. The last lines read and check longer and
longer files part by part, each in a process of its own; ``long_files`` stores them too.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute
import pyarrow.csv
import python_calamine

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_order_tables, read_orders_file
from assets.validated_csv.seen_numbers import SeenNumbers
from assets.validated_csv.validation import validate
from benchmarks.bench_folder import bench_folder
from benchmarks.peak_memory import peak_mebibytes
from checks.schemas import EMAIL
from domain.columns import COLUMNS, NAMES
from orchestration.sample import make_sample, write_csv, write_xlsx

REPEATS = 15
NO_LIMITS = ReadingLimits(max_rows=10_000_000, max_bytes=10_000_000_000, max_seconds=3_600)


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with bench_folder() as folder:
        print(f"{rows:,} rows, CPU, the least of {REPEATS}")
        for bad in (0.0, 0.01, 1.0):
            path = folder / f"{bad}.csv"
            write_csv(make_sample(rows, bad=bad), path, "utf-8")
            _compare(f"UTF-8, {bad:4.0%} bad rows / floor", 3, lambda p=path: floor(p), lambda p=path: ours(p))
        clean, japanese, book = folder / "0.0.csv", folder / "cp932.csv", folder / "orders.xlsx"
        write_csv(make_sample(rows), japanese, "cp932")
        write_xlsx(make_sample(rows), book)
        _compare("CP932 / UTF-8", 1.5, lambda: ours(clean), lambda: ours(japanese))
        _compare("Excel / its reading library", 2, lambda: library(book), lambda: read(book))
        shorter = _long_file(folder / "long.csv", rows * 10)
        longer = _long_file(folder / "long.csv", rows * 100)
        cpu, peak = (long / short for long, short in zip(longer, shorter, strict=True))
        print(f"  CPU of a row, ten times the rows                      {cpu:8.2f}   (goal: 1.1 or less)")
        print(f"  peak, ten times the rows                              {peak:8.2f}   (goal: 1.2 or less)")


def ours(path: Path) -> None:
    """Everything that validation does before it stores."""
    validate(read_orders_file(path, NO_LIMITS))


def read(path: Path) -> None:
    """Reading alone."""
    read_orders_file(path, NO_LIMITS)


def library(path: Path) -> None:
    """The cells as the library gives them."""
    python_calamine.load_workbook(io.BytesIO(path.read_bytes())).get_sheet_by_index(0).to_python()


def floor(path: Path) -> int:
    """The good rows of a file, by hand: as many masks as there are rules, and nothing said about the others."""
    columns = arrow.csv.ConvertOptions(column_types=dict.fromkeys(NAMES, arrow.large_string()))
    parsing = arrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
    table = arrow.csv.read_csv(path, parse_options=parsing, convert_options=columns)
    cells = {name: compute.utf8_trim_whitespace(table[name].combine_chunks()) for name in NAMES}
    good = np.ones(len(table), dtype=bool)
    for column in COLUMNS:
        length = np.asarray(compute.utf8_length(cells[column.name]))
        good &= (length <= column.max_length) & ((length > 0) | (not column.required))
        good &= ~np.asarray(compute.match_substring_regex(cells[column.name], "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd]"))
        if column.single_line:
            good &= ~np.asarray(compute.match_substring_regex(cells[column.name], r"[\r\n\t]"))
    good &= np.asarray(compute.match_substring_regex(cells["email"], f"^{EMAIL}$"))
    good &= ~cells["order_number"].to_pandas().duplicated().to_numpy()
    numbers = {}
    for name in ("quantity", "unit_price", "amount"):
        plain = compute.match_substring_regex(cells[name], "^[0-9]{1,9}$")
        good &= np.asarray(plain) | np.asarray(compute.equal(cells[name], ""))
        numbers[name] = np.asarray(compute.if_else(plain, cells[name], "0").cast(arrow.int64()))
    product = numbers["quantity"] * numbers["unit_price"]
    amount = np.where(numbers["amount"] > 0, numbers["amount"], product)
    good &= (amount >= 100) & (amount <= 1_000_000) & ((product == 0) | (product == amount))
    good &= np.asarray(compute.is_in(cells["currency"], arrow.array(["", "JPY"], arrow.large_string())))
    days = pd.to_datetime(cells["ordered_on"].to_pandas(), format="%Y-%m-%d", errors="coerce")
    good &= days.between("2000-01-01", "2099-12-31").to_numpy()
    return int(good.sum())


def _compare(what: str, goal: float, floor_of: Callable[[], object], ours_of: Callable[[], object]) -> None:
    pairs = [(_timed(floor_of), _timed(ours_of)) for _ in range(REPEATS + 1)][1:]  # the first warms up
    base, mine = (min(column) for column in zip(*pairs, strict=True))
    print(f"  {what:32} {base:8.3f} s {mine:8.3f} s {mine / base:8.2f}   (goal: {goal} or less)")


def _timed(work: Callable[[], object]) -> float:
    started = time.process_time() + _of_children()
    work()
    return time.process_time() + _of_children() - started


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _long_file(path: Path, rows: int) -> tuple[float, float]:
    """CPU seconds of a row, and the peak in MiB."""
    write_csv(make_sample(rows, bad=0.01), path, "utf-8")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds, mebibytes = pool.apply(_judge_in_parts, (path,))
    speed = f"{seconds:8.2f} s {rows / seconds:12,.0f} rows/s, peak {mebibytes:,.0f} MiB"
    print(f"  {rows:>11,} rows in parts, 1% bad {speed}")
    return seconds / rows, mebibytes


def _judge_in_parts(path: Path) -> tuple[float, float]:
    started, seen = time.process_time(), SeenNumbers()
    for table in read_order_tables(path, NO_LIMITS):
        validate(table, seen=seen)
    return time.process_time() - started, peak_mebibytes()


if __name__ == "__main__":
    main()
