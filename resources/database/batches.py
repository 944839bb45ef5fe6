"""Batches: registered once per file, moved from state to state, counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.errors import BulkOrdersError, Fact, NotFound
from domain.states import BatchState


@dataclass(frozen=True, slots=True)
class Batch:
    """One file of a client. Amounts are yen, counts are rows; None until the stage that finds them has run."""

    batch_id: str
    file_sha256: bytes
    source_name: str
    client: str
    bulk_import_group: str | None
    source_columns: tuple[str, ...] | None
    reading: Mapping[str, Any] | None
    file_rows: int | None
    file_jpy: int | None
    accepted_rows: int | None
    accepted_jpy: int | None
    state: BatchState
    reason: str | None
    reason_facts: Mapping[str, Fact]
    resume_at: datetime | None
    waits_for_person: bool  # paused until a person says so
    pause_requested_by: str | None
    cancel_requested: bool
    continued_at: datetime | None  # when a person last said that it goes on
    run_id: str | None
    code_version: str
    started_by: str
    created_at: datetime
    paying_since: datetime | None
    finished_at: datetime | None
    parent_batch_id: str | None  # whose repair file this is


_COLUMNS = ", ".join(Batch.__slots__)


def register(
    tx: Connection,
    *,
    batch_id: str,
    file_sha256: bytes,
    source_name: str,
    client: str,
    group: str | None,
    code_version: str,
    started_by: str,
) -> tuple[Batch, bool]:
    """The batch of these bytes, and whether it is new. The same bytes are one batch for ever, whoever sends them."""
    new = tx.execute(
        text("""insert into batches (batch_id, file_sha256, source_name, client, bulk_import_group, code_version,
                                     started_by)
                values (:batch_id, :sha, :source_name, :client, :group, :code_version, :started_by)
                on conflict (file_sha256) do nothing returning batch_id"""),
        {
            "batch_id": batch_id,
            "sha": file_sha256,
            "source_name": source_name,
            "client": client,
            "group": group,
            "code_version": code_version,
            "started_by": started_by,
        },
    ).scalar()
    batch = find_by_digest(tx, file_sha256)
    assert batch is not None
    return batch, new is not None


def find_by_digest(tx: Connection, file_sha256: bytes) -> Batch | None:
    """The batch of the file with this SHA-256."""
    row = tx.execute(
        text(f"select {_COLUMNS} from batches where file_sha256 = :sha"), {"sha": file_sha256}
    ).one_or_none()
    return _batch(row) if row else None


def get(tx: Connection, batch_id: str) -> Batch:
    """One batch.

    Raises:
        NotFound: there is none with this id.
    """
    row = tx.execute(text(f"select {_COLUMNS} from batches where batch_id = :b"), {"b": batch_id}).one_or_none()
    if row is None:
        raise NotFound("BATCH-NOT-FOUND", batch=batch_id)
    return _batch(row)


def lock(tx: Connection, batch_id: str) -> Batch:
    """One batch, kept from changing until the end of the transaction; taken before any lock on its effects.

    Raises:
        NotFound: there is none with this id.
    """
    tx.execute(text("select from batches where batch_id = :b for no key update"), {"b": batch_id})
    return get(tx, batch_id)


def nobody_works_on(tx: Connection, batch_id: str) -> bool:
    """Whether no process holds the batch; then none can until the end of this transaction."""
    query = text("select pg_try_advisory_xact_lock(hashtextextended('batch:' || :b, 0))")
    return bool(tx.execute(query, {"b": batch_id}).scalar_one())


def fence(tx: Connection, batch_id: str) -> None:
    """Let a worker that has lost its hold, and would take it again, find that the batch is no longer its own."""
    tx.execute(text("update batches set lease_epoch = lease_epoch + 1 where batch_id = :b"), {"b": batch_id})


def newest(tx: Connection, limit: int = 50) -> list[Batch]:
    """The last batches, newest first."""
    query = text(f"select {_COLUMNS} from batches order by created_at desc, batch_id limit :n")
    return [_batch(row) for row in tx.execute(query, {"n": limit})]


def unfinished(tx: Connection, limit: int = 1000) -> list[Batch]:
    """Batches that somebody should work on now: not finished, not paused until later or by a person. Oldest first.

    Those whose runs a person has terminated are among them, and may be many.
    """
    query = text(f"""select {_COLUMNS} from batches where state not in ('done', 'partial', 'refused', 'cancelled')
                     and not waits_for_person
                     and (state <> 'paused' or coalesce(resume_at, '-infinity') <= clock_timestamp())
                     order by created_at limit :n""")
    return [_batch(row) for row in tx.execute(query, {"n": limit})]


def move(tx: Connection, batch_id: str, to: BatchState, why: BulkOrdersError | None = None) -> None:
    """Take a batch to its next state, with the code and facts of ``why``; the database refuses a step that is none."""
    tx.execute(
        text("""update batches set state = :to, reason = :reason, reason_facts = cast(:facts as jsonb),
                resume_at = null, waits_for_person = false,
                pause_requested_by = case when :to in ('received', 'validated', 'ordered') then pause_requested_by end,
                paying_since = case when :to = 'ordered' then coalesce(paying_since, clock_timestamp())
                                    else paying_since end,
                finished_at = case when :to in ('done', 'partial', 'refused', 'cancelled') then clock_timestamp() end
                where batch_id = :b and state <> :to"""),
        {
            "b": batch_id,
            "to": to.value,
            "reason": why.code if why else None,
            "facts": json.dumps(why.facts if why else {}),
        },
    )


def give_to(tx: Connection, batch_id: str, client: str) -> None:
    """Another client's, from now on; the database allows it for a refused batch alone: it has neither row nor order."""
    tx.execute(text("update batches set client = :client where batch_id = :b"), {"b": batch_id, "client": client})


def pause(tx: Connection, batch_id: str, why: BulkOrdersError, resume_in_seconds: float | None) -> None:
    """Stop: nothing is lost, and the sensor takes the batch up again after that time; None: when a person says so."""
    tx.execute(  # one statement, so that the trail has one event of it
        text("""update batches set state = 'paused', reason = :reason, reason_facts = cast(:facts as jsonb),
                pause_requested_by = null, finished_at = null,
                resume_at = clock_timestamp() + make_interval(secs => :s), waits_for_person = :s is null
                where batch_id = :b"""),
        {"b": batch_id, "reason": why.code, "facts": json.dumps(why.facts), "s": resume_in_seconds},
    )


def request_pause(tx: Connection, batch_id: str, person: str) -> None:
    """Whoever works on the batch, now or next, pauses it before the next call."""
    tx.execute(text("update batches set pause_requested_by = :p where batch_id = :b"), {"b": batch_id, "p": person})


def pause_requested_by(tx: Connection, batch_id: str) -> str | None:
    """Who wants the batch paused; None: nobody."""
    query = text("select pause_requested_by from batches where batch_id = :b")
    return tx.execute(query, {"b": batch_id}).scalar_one_or_none()


def request_cancel(tx: Connection, batch_id: str) -> None:
    """From now on no payment of the batch is sent."""
    tx.execute(text("update batches set cancel_requested = true where batch_id = :b"), {"b": batch_id})


def go_on(tx: Connection, batch_id: str, why: BulkOrdersError | None = None) -> None:
    """A person says that the batch goes on: whoever looks next takes it up, whatever became of its last run.

    ``why``: what it goes on for, where that is not the ordinary end.
    """
    if get(tx, batch_id).state in (BatchState.PAUSED, BatchState.PARTIAL, BatchState.CANCELLED):
        move(tx, batch_id, BatchState.ORDERED)
    tx.execute(
        text("""update batches set continued_at = clock_timestamp(), pause_requested_by = null, resume_at = null,
                reason = :reason, reason_facts = cast(:facts as jsonb) where batch_id = :b"""),
        {"b": batch_id, "reason": why.code if why else None, "facts": json.dumps(why.facts if why else {})},
    )


def record_file(
    tx: Connection, batch_id: str, columns: Sequence[str], reading: Mapping[str, Any], *, rows: int, amount_jpy: int
) -> None:
    """What validation found in the file: its header and how it was read, all its rows and readable yen."""
    tx.execute(
        text("""update batches set source_columns = :columns, reading = cast(:reading as jsonb), file_rows = :rows,
                file_jpy = :jpy where batch_id = :b"""),
        {
            "b": batch_id,
            "columns": list(columns),
            "reading": json.dumps(reading, ensure_ascii=False),
            "rows": rows,
            "jpy": amount_jpy,
        },
    )


def read_by_index(tx: Connection) -> None:
    """For the rest of the transaction: no bitmaps.

    The planner takes a batch that has just come for a few rows, and would make and sort a bitmap for each of 10,000
    looks (105 ms, not 57) or for all of them (13 ms, not 10).
    """
    tx.execute(text("set local enable_bitmapscan = off"))


def count_accepted(tx: Connection, batch_id: str) -> tuple[str | None, str | None]:
    """Count the accepted rows and their yen, anew after any of them was rejected.

    The lowest and the highest of their order numbers, which the same look finds; None where there are no such rows.
    """
    lowest, highest = tx.execute(
        text("""update batches b set accepted_rows = r.n, accepted_jpy = r.jpy
                from (select count(*) as n, coalesce(sum(amount), 0) as jpy,
                             min(order_number) as lowest, max(order_number) as highest
                      from import_rows where batch_id = :b and state = 'accepted') r
                where b.batch_id = :b returning r.lowest, r.highest"""),
        {"b": batch_id},
    ).one()
    return lowest, highest


def _batch(row: Any) -> Batch:
    values = dict(row._mapping)
    values["state"] = BatchState(values["state"])
    values["file_sha256"] = bytes(values["file_sha256"])
    values["source_columns"] = tuple(values["source_columns"]) if values["source_columns"] is not None else None
    return Batch(**values)
