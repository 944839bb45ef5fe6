"""The database as the rest of the program sees it: transactions in somebody's name, and the hold on a batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from domain.errors import BatchBusy, DatabaseUnavailable, NotFound
from resources.database.connection import Actor, make_engine, translated

_TRY_LOCK = text("select pg_try_advisory_lock(hashtextextended('batch:' || :b, 0))")
_UNLOCK = text("select pg_advisory_unlock(hashtextextended('batch:' || :b, 0))")
_HOLD_POLL_SECONDS = 0.2
_PROOF_SECONDS = 3.0  # far less than any service's settle time


class Database:
    """One database, one actor. Connects lazily; safe to share between threads."""

    def __init__(self, url: str, actor: Actor) -> None:
        self.url = url
        self.actor = actor
        self._engine = make_engine(url, actor)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back by an exception. Errors are ours."""
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that reads all of one moment, while others go on writing."""
        with self.begin() as connection:
            connection.execute(text("set transaction isolation level repeatable read, read only"))
            yield connection

    @contextmanager
    def hold_batch(self, batch_id: str, wait_seconds: float = 20.0) -> Iterator[BatchHold]:
        """Be the only one who works on a batch, over all processes.

        The lock lives in the session that also writes. A worker killed in mid-commit keeps its lock until its session
        has really ended, so its successor never reads what is about to change.

        Raises:
            BatchBusy: another process still holds it after ``wait_seconds``.
        """
        with translated(), self._engine.connect() as connection:
            _wait_for_lock(connection, batch_id, wait_seconds)
            try:
                hold = BatchHold(connection, batch_id, self.actor.run_id)
                yield hold
                if not hold.release():
                    connection.invalidate()
            except BaseException:
                # Closing the session, not unlocking: whatever state it is in, the lock goes with it.
                connection.invalidate()
                raise

    def dispose(self) -> None:
        """Close all pooled connections."""
        self._engine.dispose()


class BatchHold:
    """The writing session of a held batch, and the epoch that every write is checked against."""

    def __init__(self, connection: Connection, batch_id: str, run_id: str) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._released = False
        self._proven = 0.0
        self.batch_id = batch_id
        with self.begin() as tx:
            epoch = tx.execute(
                text("""update batches set lease_epoch = lease_epoch + 1, run_id = coalesce(nullif(:run, ''), run_id)
                        where batch_id = :b returning lease_epoch"""),
                {"b": batch_id, "run": run_id},
            ).scalar()
        if epoch is None:
            raise NotFound("BATCH-NOT-FOUND", batch=batch_id)
        self.epoch: int = epoch

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction on the holding session; other threads wait for its end."""
        with self._turn, translated():
            if self._released or self._connection.invalidated:
                # SQLAlchemy would connect again by itself, without our lock: somebody else may hold the batch by now.
                raise DatabaseUnavailable("SYS-HOLD-LOST", batch=self.batch_id)
            with self._connection.begin():
                yield self._connection
            self._proven = _awake_seconds()

    def release(self) -> bool:
        """Let go of the batch, for good; whether the session can go back to the pool (a new one takes 20 ms).

        A session that was lost after the last write has lost the lock too: nothing is missing.
        """
        try:
            with self.begin() as tx:
                self._released = True
                return bool(tx.execute(_UNLOCK, {"b": self.batch_id}).scalar_one())
        except DatabaseUnavailable:
            return False

    def prove(self) -> None:
        """Make sure that the batch is still ours: to be asked before anything leaves for a service.

        Raises:
            DatabaseUnavailable: the session is gone, and the hold with it.
        """
        with self.begin() as tx:
            tx.execute(text("select 1"))

    @property
    def proven_recently(self) -> bool:
        """Whether the session did something in the last few seconds."""
        return _awake_seconds() - self._proven < _PROOF_SECONDS


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
