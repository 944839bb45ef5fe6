"""Rows in review, with all that is known of each: its calls, their answers, its look-ups. Nothing personal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.guards import NEAR_DUPLICATE
from domain.states import EffectKind


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """One effect that waits for a person. Times are UTC; counts are calls that came back."""

    batch_id: str
    kind: EffectKind
    import_row_number: int
    line_number: int
    order_id: int
    order_number: str
    amount_jpy: int
    reason: str
    idempotency_key: str
    first_sent_at: datetime | None
    in_review_since: datetime | None
    sends: int
    look_ups: int
    http_statuses: tuple[int, ...]  # of all its calls, oldest first
    last_call_at: datetime | None
    service_request_id: str | None  # the newest
    alike_batch_id: str | None  # the order that this one resembles, where it waits for that
    alike_row_number: int | None
    alike_order_number: str | None
    days_apart: int | None


_ROWS = """
    select e.batch_id, '{table}', e.import_row_number, r.line_number, e.order_id, o.order_number,
           coalesce(r.order_amount, r.amount, o.amount),
           coalesce(e.reason, '-'), e.idempotency_key, e.first_sent_at, e.settled_at,
           a.sends, a.look_ups, a.statuses, a.last_at, a.request_id,
           l.batch_id, l.import_row_number, l.order_number, d.days_apart
    from {table} e
    join orders o on o.order_id = e.order_id
    join import_rows r on r.batch_id = e.batch_id and r.import_row_number = e.import_row_number
    left join near_duplicates d on d.order_id = e.order_id and e.reason = '{alike}'
    left join orders l on l.order_id = d.alike_order_id
    cross join lateral (
        select count(*) filter (where purpose = 'send') as sends,
               count(*) filter (where purpose = 'look_up') as look_ups,
               array_agg(http_status order by attempt_id) filter (where http_status is not null) as statuses,
               max(ended_at) as last_at,
               (array_agg(service_request_id order by attempt_id desc) filter (where service_request_id is not null))[1]
                   as request_id
        from effect_attempts where order_id = e.order_id and kind = '{table}') a
    where e.state = 'review' and (cast(:b as text) is null or e.batch_id = :b)"""
_QUERIES = (_ROWS.format(table=kind.value, alike=NEAR_DUPLICATE) for kind in EffectKind)
_QUERY = text(" union all ".join(_QUERIES) + " order by 1, 3, 2 desc limit :n")


def in_review(tx: Connection, batch_id: str | None, limit: int = 10_000) -> list[ReviewRow]:
    """The rows in review of one batch, or of all: in the order of the files, a row's payment before its mail."""
    return [_row(tuple(row)) for row in tx.execute(_QUERY, {"b": batch_id, "n": limit})]


def _row(values: tuple[Any, ...]) -> ReviewRow:
    known = dict(zip(ReviewRow.__slots__, values, strict=True))
    known["kind"] = EffectKind(known["kind"])
    known["http_statuses"] = tuple(known["http_statuses"] or ())
    return ReviewRow(**known)
