"""The database goes away in the middle of a batch, and comes back: nothing that was known is lost, nothing is doubled.

The services here have neither keys nor look-up. What a session took with it could only go to a person: `review` must be
empty. The witness is the ledger of the sandbox.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from domain.errors import BatchBusy, BulkOrdersError, DatabaseUnavailable
from domain.outcomes import LookUp
from resources.database import migrate
from resources.database.books import Books
from resources.database.connection import Actor
from resources.database.database import BatchHold, Database
from resources.local.postgres_server import PostgresServer
from tests.integration.batches import Installation, limits, services, work_through
from tests.integration.cut_connections import CommitCutter, cutting, every, nth, sometimes

NEITHER = {"look_up": LookUp.NONE}
HOLDING = """select pid from pg_locks where locktype = 'advisory' and granted
             and database = (select oid from pg_database where datname = current_database())"""
OURS = """select pid from pg_stat_activity
          where datname = current_database() and application_name = 'bulk-orders' and pid <> pg_backend_pid()"""


def end_sessions(installation: Installation, which: str) -> int:
    """As an administrator does."""
    return len(installation.execute(f"select pg_terminate_backend(pid, 5000) from ({which}) s"))


def session(hold: BatchHold) -> int:
    return hold.run(lambda tx: int(tx.execute(text("select pg_backend_pid()")).scalar_one()))


# -- the hold ---------------------------------------------------------------------------------------------------------


def test_a_hold_whose_session_ends_is_taken_again_with_its_epoch(installation: Installation) -> None:
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        epoch, first = hold.epoch, session(hold)
        assert end_sessions(installation, HOLDING) == 1
        second = session(hold)
        with pytest.raises(BatchBusy), installation.database.hold_batch(batch, wait_seconds=0.3):
            pass

    assert second != first
    assert hold.epoch == epoch
    assert installation.execute("select lease_epoch from batches where batch_id = %s", batch) == [(epoch,)]


def test_a_successor_who_came_first_keeps_the_batch(installation: Installation) -> None:
    """It has read what we did not write: now nothing of ours may follow."""
    batch = installation.ordered(1)

    refused: list[str] = []
    with installation.database.hold_batch(batch) as hold:
        end_sessions(installation, HOLDING)
        with installation.database.hold_batch(batch, wait_seconds=5) as successor:
            refused.append(refusal(hold))
        refused.append(refusal(hold))  # not even when the successor has gone

    assert successor.epoch == hold.epoch + 1
    assert refused == ["BATCH-BUSY", "BATCH-BUSY"]


def refusal(hold: BatchHold) -> str:
    try:
        session(hold)
    except BulkOrdersError as error:
        return error.code
    return "not refused"


def test_the_hold_is_not_taken_again_before_the_old_session_has_ended(installation: Installation) -> None:
    """Cut off on our side only, it may still be committing: it keeps the lock until then."""
    batch = installation.ordered(1)
    with cutting(installation.url, lambda _: False) as proxy, half_open(proxy) as let_go:
        database = Database(proxy.url, Actor("test"))
        with database.hold_batch(batch) as hold:
            first = session(hold)
            proxy.cut_all()
            threading.Timer(0.6, let_go.set).start()
            second = session(hold)
            had_ended = let_go.is_set()

        database.dispose()
    assert second != first
    assert had_ended


@contextmanager
def half_open(proxy: CommitCutter) -> Iterator[threading.Event]:
    """The server does not learn of a cut before ``let_go`` is set."""
    let_go = threading.Event()
    proxy.linger = let_go
    yield let_go
    let_go.set()


@pytest.mark.parametrize(
    ("close", "open_again"),
    [
        # After the password was asked, as when a server goes down or has no connection left.
        ("alter database {} allow_connections false", "alter database {} allow_connections true"),
        # As after a failover to a standby that is not promoted yet.
        ("alter database {} set default_transaction_read_only = on", "alter database {} reset all"),
    ],
    ids=["lets nobody in", "is read-only"],
)
def test_a_server_that_is_of_no_use_for_a_while_is_waited_for(
    installation: Installation, postgres_server: PostgresServer, close: str, open_again: str
) -> None:
    batch = installation.ordered(1)
    [(name,)] = installation.execute("select current_database()")
    admin = Installation.__new__(Installation)
    admin.url = postgres_server.url("postgres")
    with installation.database.hold_batch(batch) as hold:
        first = session(hold)
        Installation.execute(admin, close.format(name))
        Installation.execute(admin, f"select pg_terminate_backend({first}, 5000)")
        timer = threading.Timer(0.5, Installation.execute, (admin, open_again.format(name)))
        timer.start()
        try:
            mark = "update batches set reason = 'seen' where batch_id = :b returning reason"
            written = hold.run(lambda tx: tx.execute(text(mark), {"b": batch}).scalar())
        finally:
            timer.join()

    assert written == "seen"


def test_patience_has_an_end(installation: Installation) -> None:
    """And then the hold is over for good: what is still in flight must not wait again, one after the other."""
    batch = installation.ordered(1)
    with cutting(installation.url, lambda _: False) as proxy:
        database = Database(proxy.url, Actor("test"), patience_seconds=0.4)

        def hold_while_cut() -> None:
            with database.hold_batch(batch) as hold:
                proxy.refusing = True
                proxy.cut_all()
                for _ in range(200):
                    with pytest.raises(DatabaseUnavailable) as lost:
                        hold.prove()
                    assert lost.value.code == "SYS-HOLD-LOST"
                hold.prove()

        with pytest.raises(DatabaseUnavailable):
            hold_while_cut()
        database.dispose()


# -- a whole batch ----------------------------------------------------------------------------------------------------


def charged(payments: Any, ids: list[int]) -> Counter[int]:
    rows = payments.rows("SELECT order_id FROM charges WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    return Counter(order_id for (order_id,) in rows)


def mailed(notifications: Any, ids: list[int]) -> Counter[int]:
    rows = notifications.rows("SELECT order_id FROM mails WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    return Counter(order_id for (order_id,) in rows)


def work(installation: Installation, batch: str, payments: Any, notifications: Any, **within: Any) -> Books:
    of = services(
        str(payments.http.base_url), str(notifications.http.base_url), payments=NEITHER, notifications=NEITHER
    )
    _, books = work_through(installation, batch, of, limits(**{"concurrency": 6, "chunk": 6, **within}))
    return books


def assert_all_exactly_once(
    installation: Installation, batch: str, payments: Any, notifications: Any, books: Books
) -> None:
    ids = installation.order_ids(batch)
    assert Counter(installation.states("payments", batch).values()) == {("done", None): len(ids)}
    assert Counter(installation.states("notifications", batch).values()) == {("done", None): len(ids)}
    assert charged(payments, ids) == mailed(notifications, ids) == Counter(ids)
    assert books.everything_succeeded
    query = "select count(*) from effect_attempts where order_id between %s and %s"
    assert installation.execute(query, ids[0], ids[-1]) == [(2 * len(ids),)], "no attempt is written down twice"
    assert installation.execute("select max(attempts) from payments where batch_id = %s", batch) == [(1,)]


def through(proxy: CommitCutter, installation: Installation) -> Installation:
    """The same installation, its database behind the proxy."""
    behind = Installation.__new__(Installation)
    behind.__dict__ |= installation.__dict__
    behind.database = Database(proxy.url, Actor("test", "run-1", "0.0"))
    return behind


CLAIM, SETTLE = b"with due as", b"copy effect_attempts"


@pytest.mark.parametrize(
    "choose",
    [
        nth(1, CLAIM, b"update payments"),
        nth(2, CLAIM, b"update payments"),
        nth(1, CLAIM, b"update notifications"),
        nth(1, SETTLE, b"PAID"),
        nth(2, SETTLE),
        nth(1, SETTLE, b"update notifications"),
        nth(1, b"insert into payments"),
        every(3, SETTLE),
        sometimes(7),
    ],
    ids=[
        "the first claim",
        "the second claim",
        "a claim of mails",
        "payments and their mails",
        "any results",
        "results of mails",
        "the plan",
        "every third result",
        "one commit of four, whichever",
    ],
)
def test_a_commit_that_is_never_answered_loses_and_doubles_nothing(
    installation: Installation, payments: Any, notifications: Any, choose: Callable[[bytes], bool]
) -> None:
    payments.behave(unique_orders=False, latency_seconds=0.03)
    batch = installation.ordered(18)
    with cutting(installation.url, choose) as proxy:
        behind = through(proxy, installation)
        books = work(behind, batch, payments, notifications)
        behind.database.dispose()

    assert proxy.cuts > 0
    assert_all_exactly_once(installation, batch, payments, notifications, books)


@pytest.mark.parametrize("which", [HOLDING, OURS], ids=["the holding session", "all our sessions"])
def test_sessions_that_are_ended_again_and_again_lose_nothing(
    installation: Installation, payments: Any, notifications: Any, which: str
) -> None:
    """At any moment: before a claim is committed, in a settlement, between them."""
    payments.behave(unique_orders=False, latency_seconds=0.05)
    batch = installation.ordered(60)
    ended, finished = 0, threading.Event()

    def keep_ending() -> None:
        nonlocal ended
        while not finished.wait(0.13):
            ended += end_sessions(installation, which)

    thread = threading.Thread(target=keep_ending)
    thread.start()
    try:
        books = work(installation, batch, payments, notifications)
    finally:
        finished.set()
        thread.join()

    assert ended >= 5
    assert_all_exactly_once(installation, batch, payments, notifications, books)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that may be stopped; with everything that protects against lost power."""
    folder = Path(tempfile.mkdtemp(prefix="bulk-orders-own-"))
    folder.chmod(0o711)
    server = PostgresServer(folder)
    server.start(ends_with_us=True)
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_a_server_that_crashes_and_comes_back_costs_a_batch_nothing_but_time(
    own_server: PostgresServer, tmp_path: Path, payments: Any, notifications: Any
) -> None:
    """Immediate stop, twice, with calls in flight whose answers come while it is down."""
    migrate.upgrade(own_server.url())
    installation = Installation(own_server.url(), tmp_path)
    payments.behave(unique_orders=False, latency_seconds=0.4)
    batch = installation.ordered(40)
    done: list[Books] = []
    # Not the server in a thread of ours: it ends with the thread that started it.
    worker = threading.Thread(target=lambda: done.append(work(installation, batch, payments, notifications)))
    worker.start()
    for _ in range(2):
        time.sleep(0.6)
        still_working = worker.is_alive()
        assert own_server._child is not None
        own_server._child.send_signal(signal.SIGQUIT)
        own_server._child.wait(20)
        time.sleep(0.5)
        own_server.start(ends_with_us=True)
    worker.join()

    [books] = done
    assert still_working
    assert_all_exactly_once(installation, batch, payments, notifications, books)
    installation.database.dispose()
