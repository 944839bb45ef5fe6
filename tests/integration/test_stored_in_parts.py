"""A file of several parts is stored part by part, and yet as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from assets.created_orders.work import create_orders
from assets.validated_csv import work
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_order_tables
from assets.validated_csv.reading import csv_file, dialect, octets
from assets.validated_csv.work import Validated, validate_batch
from domain.errors import FileRefused
from resources.database import row_storage
from tests.integration.batches import Installation, order_row

ROWS = 60


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows each."""
    monkeypatch.setattr(octets, "BLOCK_OCTETS", 1_000)
    monkeypatch.setattr(csv_file, "BLOCK_OCTETS", 1_000)
    monkeypatch.setattr(dialect, "_EXCERPT_OCTETS", 500)


def rows_with_a_repetition() -> list[list[str]]:
    """The number of the second row comes again in the last."""
    rows = [order_row() for _ in range(ROWS)]
    rows[-1][0] = rows[1][0]
    return rows


def validated(installation: Installation, batch_id: str) -> Validated:
    return validate_batch(installation.database, installation.vault, installation.files, batch_id, ReadingLimits())


def stored(installation: Installation, batch_id: str) -> list[tuple[int, int, str, bytes]]:
    query = """select import_row_number, line_number, state, cells from import_rows where batch_id = %s
               order by import_row_number"""
    return [(number, line, state, bytes(cells)) for number, line, state, cells in installation.execute(query, batch_id)]


class AfterParts:
    """Stands where ``row_storage`` stood in ``work``, and does something once, when so many parts have been stored."""

    def __init__(self, parts: int, what: Callable[[Connection], None]) -> None:
        self.parts = parts
        self._left, self._what = parts, what
        self.stored = 0

    def store(self, tx: Connection, *arguments: object) -> None:
        row_storage.store(tx, *arguments)  # type: ignore[arg-type] # as it came
        self.stored += 1
        self._left -= 1
        if self._left == 0:
            self._what(tx)


def test_every_row_of_every_part_is_stored_once_and_opens_again(installation: Installation):
    rows = rows_with_a_repetition()
    batch_id = installation.admitted(installation.write(rows))
    books = validated(installation, batch_id).books
    found = stored(installation, batch_id)

    assert [(number, line) for number, line, _, _ in found] == [(at + 1, at + 2) for at in range(ROWS)]
    assert [installation.vault.open_cells(batch_id, number, cells) for number, _, _, cells in found] == rows
    assert [number for number, _, state, _ in found if state == "rejected"] == [ROWS]
    assert (books.batch.file_rows, books.rows_accepted, books.rows_rejected) == (ROWS, ROWS - 1, 1)
    query = "select issues from import_rows where batch_id = %s and state = 'rejected'"
    assert installation.execute(query, batch_id) == [
        ([{"column": "order_number", "code": "ORD-NUMBER-DUPLICATE", "facts": {"first_line": 3}}],)
    ]
    create_orders(installation.database, batch_id)
    assert len(installation.order_ids(batch_id)) == ROWS - 1


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (b"\xe5\xb1,x,a@example.jp,x,500,,\r\n", "FILE-ENCODING"),
        (b'N-9,"x,a@example.jp,x,500,,\r\n', "FILE-QUOTE-UNCLOSED"),
        ("合計,,,,1,,\r\n".encode(), "FILE-TOTAL-YEN"),
    ],
)
def test_what_refuses_the_file_at_its_end_leaves_nothing_of_its_beginning(
    installation: Installation, end: bytes, code: str
):
    path = installation.write([order_row() for _ in range(ROWS)])
    path.write_bytes(path.read_bytes() + end)
    batch_id = installation.admitted(path)
    with pytest.raises(FileRefused, match=code):
        validated(installation, batch_id)

    assert stored(installation, batch_id) == []
    assert installation.batch(batch_id) == ("refused", code)


def test_ended_between_two_parts_nothing_is_there_and_the_next_run_stores_all(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
):
    def end(_: Connection) -> None:
        raise KeyboardInterrupt

    batch_id = installation.admitted(installation.write(rows_with_a_repetition()))
    after = AfterParts(3, end)
    with monkeypatch.context() as patched:
        patched.setattr(work, "row_storage", after)
        with pytest.raises(KeyboardInterrupt):
            validated(installation, batch_id)
    assert (after.stored, stored(installation, batch_id), installation.batch(batch_id)[0]) == (3, [], "received")

    validated(installation, batch_id)
    assert len(stored(installation, batch_id)) == ROWS


def test_a_session_that_is_lost_between_two_parts_stores_nothing_twice(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
):
    """For the server that is a worker that was killed; here the same worker begins again by itself."""

    def cut(tx: Connection) -> None:
        pid = tx.execute(text("select pg_backend_pid()")).scalar_one()
        installation.execute("select pg_terminate_backend(%s, 5000)", pid)

    path = installation.write(rows_with_a_repetition())
    parts = len(list(read_order_tables(path, ReadingLimits())))
    batch_id = installation.admitted(path)
    after = AfterParts(3, cut)
    monkeypatch.setattr(work, "row_storage", after)
    validated(installation, batch_id)

    assert after.stored == 3 + parts
    assert [number for number, *_ in stored(installation, batch_id)] == list(range(1, ROWS + 1))
    events = "select event, cardinality(subjects) from audit_events where chain = %s and event like 'row:%%'"
    named = installation.execute(events, batch_id)
    assert sum(rows for _, rows in named) == ROWS
