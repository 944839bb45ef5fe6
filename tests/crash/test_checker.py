"""The judge is judged: a finished batch is clean, and every single thing that is tampered with is seen.

One value of a copied ledger is changed, or of the database in a transaction that is taken back, and the checker has to
name the invariant. The database's own guards are switched off for that: what gets past them is the checker's business.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from evidence.checker import check, judge_batch
from evidence.scenario import EvidenceBatch, Ground, Scenario
from evidence.witnesses import Record

GUARDED = (
    "audit_events",
    "audit_heads",
    "batches",
    "effect_attempts",
    "import_rows",
    "notifications",
    "orders",
    "payments",
)
FIRST = "(select min(order_id) from orders)"
LAST = "(select max(order_id) from orders)"


@dataclass(frozen=True)
class Books:
    """Everything the checker looks at; ledgers and result files are copies that may be spoilt."""

    place: Scenario
    batch: EvidenceBatch
    folder: Path

    @property
    def payments(self) -> Path:
        return self.folder / "payments.sqlite"

    @property
    def notifications(self) -> Path:
        return self.folder / "notifications.sqlite"

    @property
    def reports(self) -> Path:
        return self.folder / "batches"

    def found(self, **more: int) -> set[str]:
        """The invariants that the checker says are broken."""
        url = self.place.database_url
        violations = check(self.batch.manifest, self.payments, self.notifications, url, reports=self.reports, **more)
        return {violation.invariant for violation in violations}

    def found_after(self, *statements: str) -> set[str]:
        """The same after these statements in the database, which are undone."""
        with spoilt(self.place.database_url, statements) as connection:
            violations = judge_batch(
                connection, self.batch.manifest, self.payments, self.notifications, reports=self.reports
            )
        return {violation.invariant for violation in violations}


@contextmanager
def spoilt(url: str, statements: Sequence[str]) -> Iterator[psycopg.Connection[Record]]:
    """A session that sees what the statements did, past triggers and foreign keys; nobody else ever does."""
    options = "-c search_path=bulk_orders,public -c session_replication_role=replica -c event_triggers=off"
    with closing(psycopg.connect(url, options=options, row_factory=dict_row)) as connection:
        for table in GUARDED:
            connection.execute(f"alter table {table} disable trigger all".encode())
        connection.execute(b"alter table audit_events enable always trigger audit_check")  # it makes the hash
        for statement in statements:
            assert connection.execute(statement.encode()).rowcount > 0, statement
        yield connection
        connection.rollback()


def spoil_ledger(path: Path, statement: str) -> None:
    """Change a copied ledger."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement).rowcount > 0, statement
        connection.commit()


@pytest.fixture(scope="module")
def finished(ground: Ground) -> Iterator[tuple[Scenario, EvidenceBatch]]:
    """One batch of six rows, two of them bad, brought to its end."""
    with ground.scenario("key_and_look_up", seed=2) as place:
        batch = place.batch(rows=6, bad_rows=2)
        batch.finish()
        yield place, batch


@pytest.fixture
def books(finished: tuple[Scenario, EvidenceBatch], tmp_path: Path) -> Books:
    """Copies that may be spoilt."""
    place, batch = finished
    for service in (place.payments, place.notifications):
        copy = tmp_path / f"{service.kind}.sqlite"
        with closing(sqlite3.connect(service.ledger)) as here, closing(sqlite3.connect(copy)) as there:
            here.backup(there)
    shutil.copytree(batch.folder / "home" / "batches", tmp_path / "batches")
    return Books(place, batch, tmp_path)


def test_an_untouched_batch_is_clean(books: Books):
    """No false alarm: otherwise everything below proves nothing."""
    assert books.found(mails_per_second=1_000, faults_fired=3, least_faults=3) == set()


_CHARGE = "insert into charges select null, payment_id || 'x', {}, amount_jpy, currency, null, request_id, created_us"
_MAIL = (
    "insert into mails select null, notification_id || 'x', {}, recipient, subject, body, extra, null, request_id,"
    " created_us"
)


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        (_CHARGE.format("order_id") + " from charges limit 1", "I2"),
        (_CHARGE.format("999999") + " from charges limit 1", "I2"),
        ("delete from charges where charge_id = 1", "I3"),
        ("update charges set amount_jpy = amount_jpy + 1 where charge_id = 1", "I3"),
        ("update charges set currency = 'USD' where charge_id = 1", "I3"),
        ("update charges set payment_id = 'pay_other' where charge_id = 1", "I10"),
        ("update requests set body_sha256 = 'x', idempotency_key = (select max(idempotency_key) from requests)", "I11"),
        ("update requests set idempotency_key = (select max(idempotency_key) from requests)", "I11"),
        ("update requests set order_id = 1 where request_id in (1, 2)", "I11"),
    ],
)
def test_a_changed_ledger_of_payments_is_seen(books: Books, statement: str, invariant: str):
    spoil_ledger(books.payments, statement)

    assert invariant in books.found()


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        (_MAIL.format("order_id") + " from mails limit 1", "I4"),
        (_MAIL.format("999999") + " from mails limit 1", "I4"),
        ("delete from mails where mail_id = 1", "I4"),
        ("update mails set recipient = 'other@example.jp' where mail_id = 1", "I4"),
        ("update mails set subject = 'other' where mail_id = 1", "I4"),
        ("update mails set notification_id = 'ntf_other' where mail_id = 1", "I10"),
        ("update requests set arrived_us = 1", "I8"),
    ],
)
def test_a_changed_ledger_of_mails_is_seen(books: Books, statement: str, invariant: str):
    spoil_ledger(books.notifications, statement)

    assert invariant in books.found(mails_per_second=3)


_EVENT = "audit_append((select batch_id from batches), '{}', {}, array[(select min(order_id) from orders)], null)"


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        (f"delete from orders where order_id = {FIRST}", "I1"),
        ("update orders set import_row_number = 99 where order_id = " + FIRST, "I1"),
        ("update orders set amount = amount + 1 where order_id = " + FIRST, "I1"),
        ("update orders set order_number = 'other' where order_id = " + FIRST, "I1"),
        ("update orders set client = 'other' where order_id = " + FIRST, "I1"),
        ("update import_rows set amount = amount + 1 where import_row_number = 1", "I1"),
        ("delete from import_rows where import_row_number = 1", "I5"),
        (
            "update import_rows set state = 'rejected', issues = '[{\"code\": \"X\"}]' where import_row_number = 1",
            "I1",
        ),
        (
            "update import_rows set issues = '[{\"code\": \"ORD-NAME-MISSING\"}]' where state = 'rejected'",
            "I1",
        ),
        ("delete from batches", "I1"),
        ("update batches set state = 'ordered'", "I9"),
        ("update batches set state = 'done'", "I9"),
        (f"delete from payments where order_id = {FIRST}", "I3"),
        (f"update payments set amount = amount + 1 where order_id = {FIRST}", "I3"),
        (f"update payments set state = 'rejected', remote_id = null where order_id = {FIRST}", "I3"),
        (f"update payments set state = 'review', remote_id = null where order_id = {FIRST}", "I9"),
        (f"update payments set state = 'unknown', remote_id = null where order_id = {FIRST}", "I9"),
        (f"update payments set remote_id = 'pay_other' where order_id = {FIRST}", "I10"),
        (f"update orders set status = 'PENDING' where order_id = {FIRST}", "I3"),
        (f"delete from notifications where order_id = {LAST}", "I4"),
        (f"update notifications set state = 'rejected', remote_id = null where order_id = {LAST}", "I4"),
        (f"update notifications set state = 'sending', remote_id = null where order_id = {LAST}", "I9"),
        (f"update notifications set remote_id = 'ntf_other' where order_id = {LAST}", "I10"),
        ("update audit_events set actor = 'somebody' where seq = 2", "I6"),
        ("update audit_events set event = 'payment:planned:done' where event = 'payment:planned:sending'", "I6"),
        ("update audit_events set subjects = subjects || 7 where seq = 3", "I6"),
        ("update audit_events set at = at + interval '1 second' where seq = 3", "I6"),
        ("delete from audit_events where seq = 4", "I6"),
        ("delete from audit_events where seq = (select max(seq) from audit_events)", "I6"),
        ("update audit_heads set seq = seq + 1", "I6"),
        ("select " + _EVENT.format("payment:done:retry_wait", "null"), "I12"),
        ("select " + _EVENT.format("payment:sending:done", "null"), "I12"),
        ("select " + _EVENT.format("note", "'witness.200001.1@example.jp'"), "I7"),
        (f"update orders set status_reason = 'witness.200001.1@example.jp' where order_id = {FIRST}", "I7"),
    ],
)
def test_a_changed_database_is_seen(books: Books, statement: str, invariant: str):
    assert invariant in books.found_after(statement)


def test_a_trail_cut_off_together_with_its_head_is_seen(books: Books):
    """The chain that is left verifies; only what it tells is not what the database has."""
    found = books.found_after(
        "delete from audit_events where seq = (select max(seq) from audit_events)",
        "update audit_heads h set (seq, hash) = (select e.seq, e.hash from audit_events e order by seq desc limit 1)",
    )

    assert found == {"I6"}


def _without_a_row(report: Path) -> None:
    lines = (report / "succeeded.csv").read_bytes().split(b"\r\n")
    (report / "succeeded.csv").write_bytes(b"\r\n".join(lines[:-2] + lines[-1:]))


def _with_a_row_twice(report: Path) -> None:
    lines = (report / "failed.csv").read_bytes().split(b"\r\n")
    (report / "failed.csv").write_bytes(b"\r\n".join([*lines[:-1], *lines[1:]]))


def _without_a_file(report: Path) -> None:
    (report / "not_processed.csv").unlink()


def _with_files_exchanged(report: Path) -> None:
    (report / "succeeded.csv").rename(report / "other")
    (report / "failed.csv").rename(report / "succeeded.csv")
    (report / "other").rename(report / "failed.csv")


@pytest.mark.parametrize("spoil", [_without_a_row, _with_a_row_twice, _without_a_file, _with_files_exchanged])
def test_changed_result_files_are_seen(books: Books, spoil: Callable[[Path], None]):
    spoil(next(books.reports.iterdir()) / "report")

    assert books.found() == {"I5"}


def test_a_campaign_in_which_hardly_anything_happened_is_seen(books: Books):
    """A run in which no fault fired proves nothing, however clean its books are."""
    assert books.found(faults_fired=2, least_faults=3) == {"I13"}
