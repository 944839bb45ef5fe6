"""The database as the rest of the program sees it: transactions in somebody's name, and the hold on a batch."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import (
    BatchBusy,
    BulkOrdersError,
    DatabaseUnavailable,
    InvariantBroken,
    NotFound,
    SettingRefused,
)
from resources.database import durability, trail
from resources.database.connection import Actor, make_engine, translated
from resources.database.patience import PATIENCE_SECONDS, patiently

Result = TypeVar("Result")

_TRY_LOCK = text("select pg_try_advisory_lock(hashtextextended('batch:' || :b, 0))")
_UNLOCK = text("select pg_advisory_unlock(hashtextextended('batch:' || :b, 0))")
_EPOCH = text("select lease_epoch from batches where batch_id = :b for share")
_HOLD_POLL_SECONDS = 0.2
NO_RIGHT = "42501"
_PROOF_SECONDS = 3.0  # far less than any service's settle time


class Database:
    """One database, one actor. Connects lazily; safe to share between threads.

    ``patience_seconds``: how long work that may be repeated waits for a database that is away.
    """

    def __init__(self, url: str, actor: Actor, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.url = url
        self.actor = actor
        self.patience_seconds = patience_seconds
        self._engine = make_engine(url, actor)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back by an exception. Errors are ours.

        What our login has no right to leaves an event of the trail, in the name of who tried.
        """
        try:
            with translated(), self._engine.begin() as connection:
                yield connection
        except InvariantBroken as error:
            if error.facts.get("sqlstate") == NO_RIGHT:
                self._note_refusal(error)
            raise

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that reads all of one moment, while others go on writing."""
        with self.begin() as connection:
            connection.execute(text("set transaction isolation level repeatable read, read only"))
            yield connection

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """``work`` in a transaction, tried again while the database is away; doing it twice must do no harm.

        Raises:
            DatabaseUnavailable: it is away for longer than our patience.
        """

        def once() -> Result:
            with self.begin() as tx:
                return work(tx)

        return patiently(once, self.patience_seconds)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """``work`` in a snapshot, tried again while the database is away."""

        def once() -> Result:
            with self.snapshot() as tx:
                return work(tx)

        return patiently(once, self.patience_seconds)

    @contextmanager
    def hold_batch(self, batch_id: str, wait_seconds: float = 20.0) -> Iterator[BatchHold]:
        """Be the only one who works on a batch, over all processes.

        The lock lives in the session that also writes. A worker killed in mid-commit keeps its lock until its session
        has really ended, so its successor never reads what is about to change.

        Raises:
            BatchBusy: another process still holds it after ``wait_seconds``.
        """
        hold = patiently(
            lambda: BatchHold(self._engine, batch_id, self.actor.run_id, wait_seconds, self.patience_seconds),
            self.patience_seconds,
        )
        try:
            yield hold
        except BaseException:
            hold.abandon()
            raise
        hold.release()

    def _note_refusal(self, refused: InvariantBroken) -> None:
        with suppress(BulkOrdersError), translated(), self._engine.begin() as connection:
            trail.note(connection, "access:refused", f"{refused.code} {NO_RIGHT}")

    def dispose(self) -> None:
        """Close all pooled connections."""
        self._engine.dispose()

    def forget(self) -> None:
        """In a forked process: leave the connections to the parent, whose they are."""
        self._engine.dispose(close=False)


class BatchHold:
    """The writing session of a held batch, and the epoch that every write is checked against.

    A session that is lost (restart, cut, failover) is replaced by another that has taken the same lock again, as long
    as the epoch is still ours: the lock is free only once the old session has really ended, and a successor raises the
    epoch before anything else (docs/decisions/0017).
    """

    def __init__(
        self, engine: Engine, batch_id: str, run_id: str, wait_seconds: float, patience_seconds: float
    ) -> None:
        self._engine = engine
        self._patience_seconds = patience_seconds
        self._turn = threading.RLock()
        self._over = False
        self._has_successor = False
        self._proven = 0.0
        self.batch_id = batch_id
        with translated():
            self._connection = engine.connect()
            try:
                _wait_for_lock(self._connection, batch_id, wait_seconds)
                self.epoch = self._next_epoch(run_id)
            except BaseException:
                self.abandon()
                raise

    def run(self, work: Callable[[Connection], Result], again: Callable[[Connection], Result] | None = None) -> Result:
        """``work`` in a transaction of the holding session; the hold is taken again when the session is lost.

        From the second try on, ``again`` runs in its place: a try whose commit was never answered may have been
        committed.

        Raises:
            DatabaseUnavailable: the database is away for longer than our patience; the hold is over.
            BatchBusy: a successor has begun; the hold is over.
        """
        tries = itertools.count()

        def once() -> Result:
            with self._turn:
                self._take_again_if_lost()
                with self.begin() as tx:
                    return work(tx) if next(tries) == 0 or again is None else again(tx)

        try:
            return patiently(once, 0.0 if self._over else self._patience_seconds)
        except BatchBusy:
            self._over = self._has_successor = True
            raise
        except DatabaseUnavailable:
            self._over = True
            raise DatabaseUnavailable("SYS-HOLD-LOST", batch=self.batch_id) from None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction on the holding session, tried once; other threads wait for its end."""
        with self._turn, translated():
            if self._has_successor:  # also for those who ask after the one who found out
                raise BatchBusy("BATCH-BUSY", batch=self.batch_id)
            if self._over or self._is_lost:
                # SQLAlchemy would connect again by itself, without our lock: somebody else may hold the batch by now.
                raise DatabaseUnavailable("SYS-HOLD-LOST", batch=self.batch_id)
            with self._connection.begin():
                yield self._connection
                before_commit = _awake_seconds()
            self._proven = before_commit

    def prove(self) -> None:
        """Make sure that the batch is still ours: to be asked before anything leaves for a service.

        Raises:
            DatabaseUnavailable, BatchBusy: it is not, and the hold is over.
        """
        self.run(lambda tx: tx.execute(text("select 1")))

    @property
    def proven_recently(self) -> bool:
        """Whether the session did something in the last few seconds."""
        return _awake_seconds() - self._proven < _PROOF_SECONDS

    @property
    def proven_just_now(self) -> bool:
        """Whether that will still be so in a second or two."""
        return _awake_seconds() - self._proven < _PROOF_SECONDS / 2

    def release(self) -> None:
        """Let go of the batch, for good, and give the session back to the pool (a new one takes 20 ms).

        A session that was lost after the last write has lost the lock too: nothing is missing.
        """
        try:
            with self.begin() as tx:
                self._over = True
                unlocked = bool(tx.execute(_UNLOCK, {"b": self.batch_id}).scalar_one())
        except (BatchBusy, DatabaseUnavailable):
            unlocked = False
        if unlocked:
            self._connection.close()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the batch by closing the session, not unlocking: whatever state it is in, the lock goes with it."""
        self._over = True
        with suppress(SQLAlchemyError, psycopg.Error):
            self._connection.invalidate()
        with suppress(SQLAlchemyError, psycopg.Error):
            self._connection.close()

    def _next_epoch(self, run_id: str) -> int:
        with self.begin() as tx:
            epoch = tx.execute(
                text("""update batches set lease_epoch = lease_epoch + 1, run_id = coalesce(nullif(:run, ''), run_id)
                        where batch_id = :b returning lease_epoch"""),
                {"b": self.batch_id, "run": run_id},
            ).scalar()
        if epoch is None:
            raise NotFound("BATCH-NOT-FOUND", batch=self.batch_id)
        return int(epoch)

    @property
    def _is_lost(self) -> bool:
        return self._connection.invalidated or self._connection.closed

    def _take_again_if_lost(self) -> None:
        if self._over or not self._is_lost:
            return
        with suppress(SQLAlchemyError):
            self._connection.close()
        try:
            with translated():
                self._connection = self._locked_again()
        except SettingRefused:
            # The login was good a moment ago: a server that goes down between password and greeting looks like this.
            raise DatabaseUnavailable("SYS-HOLD-LOST", batch=self.batch_id) from None

    def _locked_again(self) -> Connection:
        connection = self._engine.connect()
        try:
            locked = _try_lock(connection, self.batch_id)
            # ``for share`` is refused by a server that has become a standby: its locks are not the primary's.
            epoch = connection.execute(_EPOCH, {"b": self.batch_id}).scalar()
            durability.refuse_unsafe(connection)  # it may be another server by now
            connection.commit()
            if epoch != self.epoch:
                raise BatchBusy("BATCH-BUSY", batch=self.batch_id)
            if not locked:  # our old session has not ended yet
                raise DatabaseUnavailable("SYS-HOLD-LOST", batch=self.batch_id)
        except BaseException:
            with suppress(SQLAlchemyError, psycopg.Error):
                connection.invalidate()
            with suppress(SQLAlchemyError, psycopg.Error):
                connection.close()
            raise
        return connection


def _awake_seconds() -> float:
    """Seconds on a clock that also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _wait_for_lock(connection: Connection, batch_id: str, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(connection, batch_id):
        if time.monotonic() >= deadline:
            raise BatchBusy("BATCH-BUSY", batch=batch_id)
        time.sleep(_HOLD_POLL_SECONDS)


def _try_lock(connection: Connection, batch_id: str) -> bool:
    got = connection.execute(_TRY_LOCK, {"b": batch_id}).scalar_one()
    connection.commit()
    return bool(got)
