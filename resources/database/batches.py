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
    run_id: str | None
    code_version: str
    started_by: str
    created_at: datetime
    paying_since: datetime | None
    finished_at: datetime | None


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


def newest(tx: Connection, limit: int = 50) -> list[Batch]:
    """The last batches, newest first."""
    query = text(f"select {_COLUMNS} from batches order by created_at desc, batch_id limit :n")
    return [_batch(row) for row in tx.execute(query, {"n": limit})]


def unfinished(tx: Connection, limit: int = 100) -> list[Batch]:
    """Batches that somebody should work on now: not finished, and not paused until later. Oldest first."""
    query = text(f"""select {_COLUMNS} from batches where state not in ('done', 'partial', 'refused')
                     and (state <> 'paused' or coalesce(resume_at, '-infinity') <= clock_timestamp())
                     order by created_at limit :n""")
    return [_batch(row) for row in tx.execute(query, {"n": limit})]


def move(tx: Connection, batch_id: str, to: BatchState, why: BulkOrdersError | None = None) -> None:
    """Take a batch to its next state, with the code and facts of ``why``; the database refuses a step that is none."""
    tx.execute(
        text("""update batches set state = :to, reason = :reason, reason_facts = cast(:facts as jsonb),
                resume_at = null,
                paying_since = case when :to = 'ordered' then coalesce(paying_since, clock_timestamp())
                                    else paying_since end,
                finished_at = case when :to in ('done', 'partial', 'refused') then clock_timestamp() end
                where batch_id = :b and state <> :to"""),
        {
            "b": batch_id,
            "to": to.value,
            "reason": why.code if why else None,
            "facts": json.dumps(why.facts if why else {}),
        },
    )


def pause(tx: Connection, batch_id: str, why: BulkOrdersError, resume_in_seconds: float) -> None:
    """Stop for a while: nothing is lost, and the sensor takes the batch up again after that time."""
    move(tx, batch_id, BatchState.PAUSED, why)
    tx.execute(
        text("update batches set resume_at = clock_timestamp() + make_interval(secs => :s) where batch_id = :b"),
        {"b": batch_id, "s": resume_in_seconds},
    )


def record_file(
    tx: Connection, batch_id: str, columns: Sequence[str], reading: Mapping[str, Any], *, rows: int, amount_jpy: int
) -> None:
    """What validation found in the file: its header and how it was read, all its rows and readable yen.

    The accepted ones are counted.
    """
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
    count_accepted(tx, batch_id)


def count_accepted(tx: Connection, batch_id: str) -> None:
    """Count the accepted rows and their yen."""
    tx.execute(
        text("""update batches b set accepted_rows = r.n, accepted_jpy = r.jpy
                from (select count(*) as n, coalesce(sum(amount), 0) as jpy from import_rows
                      where batch_id = :b and state = 'accepted') r where b.batch_id = :b"""),
        {"b": batch_id},
    )


def _batch(row: Any) -> Batch:
    values = dict(row._mapping)
    values["state"] = BatchState(values["state"])
    values["file_sha256"] = bytes(values["file_sha256"])
    values["source_columns"] = tuple(values["source_columns"]) if values["source_columns"] is not None else None
    return Batch(**values)
