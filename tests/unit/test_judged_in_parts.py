"""However a file is cut into parts, its rows are judged as if it had come in one piece; and memory stays small."""

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_order_tables, read_orders_file
from assets.validated_csv.reading import csv_file, dialect, octets
from assets.validated_csv.reading.octets import Deadline
from assets.validated_csv.seen_numbers import SeenNumbers
from assets.validated_csv.validation import Validation, validate
from checks.schemas import TEXT
from domain.errors import FileRefused

HEADER = ["order_number", "customer_name", "email", "amount", "ordered_on"]
NUMBERS = ["", " A-1", "A-1", "Ａ－１", "2.01E+10", "#N/A", *(f"N-{at}" for at in range(40))]


def rows_of(seed: int, count: int = 150) -> list[list[str]]:
    """Few different numbers, so that most come several times; some rows are bad, ragged or blank."""
    rng = random.Random(seed)
    good = ["見本", "a@example.jp", "500", "2026-04-01"]
    rows = [[rng.choice(NUMBERS), *good] for _ in range(count)]
    for at in rng.sample(range(count), count // 5):
        rows[at][rng.randrange(1, 5)] = rng.choice(["", "x", "\u202e", "1,000円"])
    for at in rng.sample(range(count), 6):
        rows[at] = rng.choice([["A-1"], [""] * 5, [*rows[at], "more"]])
    return rows


def written(path: Path, rows: list[list[str]]) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([HEADER, *rows])
    path.write_bytes(text.getvalue().encode())
    return path


def cut(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(octets, "BLOCK_OCTETS", block)
    monkeypatch.setattr(csv_file, "BLOCK_OCTETS", block)
    monkeypatch.setattr(dialect, "_EXCERPT_OCTETS", block // 2)


def in_parts(path: Path) -> list[Validation]:
    seen = SeenNumbers()
    return [validate(table, seen=seen) for table in read_order_tables(path, ReadingLimits())]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [200, 700, 1_200])
def test_parts_are_judged_as_the_whole_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, block: int):
    """Duplicates above all: the first line of a number may be in any part before."""
    path = written(tmp_path / "orders.csv", rows_of(seed))
    whole = validate(read_orders_file(path, ReadingLimits()))
    cut(monkeypatch, block)
    parts = in_parts(path)

    assert len(parts) > 3
    assert [issue for part in parts for issue in part.issues] == whole.issues
    readings = sorted(map(repr, whole.readings))
    assert sorted(repr(reading) for part in parts for reading in part.readings) == readings
    accepted = pd.concat([part.accepted for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(accepted, whole.accepted)
    for count in ("rows", "declared_amount_jpy", "unread_amounts"):
        assert sum(getattr(part, count) for part in parts) == getattr(whole, count)


def test_the_line_of_totals_is_found_where_it_is_alone_in_the_last_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = [[f"N-{at}", "見本", "a@example.jp", "500", ""] for at in range(10)]
    path = written(tmp_path / "orders.csv", [*rows, ["合計", "", "", "5000", ""]])
    whole = read_orders_file(path, ReadingLimits())
    alone = 0
    for block in range(150, 190, 4):
        cut(monkeypatch, block)
        last = list(read_order_tables(path, ReadingLimits()))[-1]
        parts = in_parts(path)
        alone += last.row_count == 0

        assert (last.declared, last.rows_before + last.row_count) == (whole.declared, 10)
        assert sum(part.declared_amount_jpy for part in parts) == 5_000
    assert whole.declared is not None
    assert alone > 0


def test_blank_lines_without_end_belong_to_the_digest_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing but blank lines is no part of its own, yet it was archived."""
    path = written(tmp_path / "orders.csv", [["N-1", "見本", "a@example.jp", "500", ""], *[[""] * 5] * 500])
    expected = read_orders_file(path, ReadingLimits())
    cut(monkeypatch, 200)
    (table,) = read_order_tables(path, ReadingLimits())

    assert (table.sha256, table.size_bytes) == (expected.sha256, path.stat().st_size)


# -- order numbers that were seen -------------------------------------------------------------------------------------


def texts(*numbers: str) -> "pd.Series[str]":
    return pd.Series(numbers, dtype=TEXT)


def test_each_number_is_told_where_it_came_first():
    seen = SeenNumbers()
    found = [
        seen.first_lines(texts("a", "b", "", "a"), np.array([2, 3, 4, 5])).tolist(),
        seen.first_lines(texts(), np.array([], dtype=np.int64)).tolist(),
        seen.first_lines(texts("", "b", "c"), np.array([6, 7, 8])).tolist(),
        seen.first_lines(texts("c", "a", "b", "d"), np.array([9, 10, 11, 12])).tolist(),
    ]

    assert found == [[0, 0, 0, 0], [], [0, 3, 0], [8, 2, 3, 0]]


def test_a_million_numbers_take_little_memory():
    """20 octets each, in few pieces; and none is taken for another."""
    seen, per_part = SeenNumbers(), 20_000
    for part in range(10):
        numbers = texts(*(f"S-{part * per_part + at:07d}" for at in range(per_part)))
        assert not seen.first_lines(numbers, np.arange(per_part) + part * per_part + 2).any()

    kept = [array for run in seen._runs for array in (run.first, run.second, run.lines)]
    assert sum(array.nbytes for array in kept) == 20 * 10 * per_part
    assert len(seen._runs) <= 4
    assert seen.first_lines(texts("S-0123456"), np.array([999_999])).tolist() == [123_458]


def test_half_a_digest_in_common_makes_no_duplicate(monkeypatch: pytest.MonkeyPatch):
    """It comes once in a life: here the first half is the same for all."""
    made: Iterator[object] = iter([np.zeros(3, np.uint64), np.array([7, 8, 9], np.uint64)] * 2)
    monkeypatch.setattr(pd.util, "hash_array", lambda *_, **__: next(made))
    seen = SeenNumbers()
    seen.first_lines(texts("a", "b", "c"), np.array([2, 3, 4]))

    assert seen.first_lines(texts("a", "b", "c"), np.array([5, 6, 7])).tolist() == [2, 3, 4]


# -- time -------------------------------------------------------------------------------------------------------------


def test_the_time_that_others_take_between_two_parts_is_not_that_of_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A million rows take a minute to store; the limit is there for files that are hard to read."""
    now = [0.0]
    monkeypatch.setattr(octets.time, "monotonic", lambda: now[0])
    path = written(tmp_path / "orders.csv", rows_of(1))
    cut(monkeypatch, 700)
    for _ in read_order_tables(path, ReadingLimits(max_seconds=60)):
        now[0] += 59
    deadline = Deadline(60)
    now[0] += 61

    assert deadline.left == 0
    with pytest.raises(FileRefused):
        deadline.check()
