"""Every row of a batch with all that became of it, and every call made for it: numbers, states and codes, no cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, text


class LedgerRow(NamedTuple):
    """One row of the file; None where a stage was not reached.

    ``issues``: ``column:CODE``, one after the other. ``order_row``: of a further line of an order the row of the first;
    order, payment and mail are those of the whole order, ``order_jpy`` too. ``alike_order_id``: the order it resembles.
    """

    row: int
    line: int
    state: str
    order_number: str | None
    amount_jpy: int | None
    order_row: int | None
    issues: str | None
    order_id: int | None
    order_jpy: int | None
    order_status: str | None
    alike_order_id: int | None
    days_apart: int | None
    payment_state: str | None
    payment_id: str | None
    payment_reason: str | None
    payment_key: str | None
    payment_request_sha256: str | None
    mail_state: str | None
    mail_id: str | None
    mail_reason: str | None
    mail_key: str | None
    mail_request_sha256: str | None


class LedgerRepair(NamedTuple):
    """A row that repairs another; ``changed``: the columns whose cells a person changed, with spaces between."""

    batch_id: str
    row: int
    parent_batch_id: str
    parent_row: int
    root_batch_id: str
    root_row: int
    changed: str
    taken: bool


class LedgerCall(NamedTuple):
    """One call that came back; times in microseconds since 1970."""

    kind: str
    order_id: int
    attempt: int
    purpose: str
    outcome: str
    reason: str | None
    http_status: int | None
    service_request_id: str | None
    started_at_us: int
    ended_at_us: int


_LEDGER = """
    select r.import_row_number, r.line_number, r.state, r.order_number, r.amount, r.order_row,
           (select string_agg((i ->> 'column') || '\\:' || (i ->> 'code'), ' ') from jsonb_array_elements(r.issues) i),
           o.order_id, o.amount, o.status, d.alike_order_id, d.days_apart,
           p.state, p.remote_id, p.reason, p.idempotency_key, encode(p.request_sha256, 'hex'),
           n.state, n.remote_id, n.reason, n.idempotency_key, encode(n.request_sha256, 'hex')
    from import_rows r
    left join orders o on o.batch_id = r.batch_id and o.import_row_number = coalesce(r.order_row, r.import_row_number)
    left join payments p on p.order_id = o.order_id
    left join notifications n on n.order_id = o.order_id
    left join near_duplicates d on d.order_id = o.order_id
    where r.batch_id = :b and (cast(:row as integer) is null or r.import_row_number = :row)
    order by r.import_row_number"""

_REPAIRS = """
    select batch_id, import_row_number, parent_batch_id, parent_row_number, root_batch_id, root_row_number,
           array_to_string(changed, ' '), taken
    from repairs where (batch_id = :b or :b in (parent_batch_id, root_batch_id) and taken)
      and (cast(:row as integer) is null or batch_id = :b and import_row_number = :row
           or parent_batch_id = :b and parent_row_number = :row or root_batch_id = :b and root_row_number = :row)
    order by batch_id, import_row_number"""

_CALLS = """
    select a.kind, a.order_id, a.attempt, a.purpose, a.outcome, a.reason, a.http_status, a.service_request_id,
           (extract(epoch from a.started_at) * 1000000)\\:\\:bigint,
           (extract(epoch from a.ended_at) * 1000000)\\:\\:bigint
    from effect_attempts a join orders o on o.order_id = a.order_id
    where o.batch_id = :b and (cast(:order as integer) is null or o.order_id = :order) order by a.attempt_id"""


def rows(tx: Connection, batch_id: str, only: int | None = None) -> Iterator[LedgerRow]:
    """Every row in the order of the file, or ``only`` the one with this number."""
    return (LedgerRow(*row) for row in tx.execute(text(_LEDGER), {"b": batch_id, "row": only}))


def lines_of_order(tx: Connection, batch_id: str, first_row: int) -> list[int]:
    """The lines of the file that make the order of this row."""
    query = text("""select line_number from import_rows where batch_id = :b and :row in (import_row_number, order_row)
                    order by import_row_number""")
    return list(tx.execute(query, {"b": batch_id, "row": first_row}).scalars())


def repairs(tx: Connection, batch_id: str, only: int | None = None) -> Iterator[LedgerRepair]:
    """What rows of the batch repair, and by what they were repaired in the end; ``only`` the row with this number."""
    return (LedgerRepair(*row) for row in tx.execute(text(_REPAIRS), {"b": batch_id, "row": only}))


def calls(tx: Connection, batch_id: str, only_order: int | None = None) -> Iterator[LedgerCall]:
    """Every call in the order in which they were written down, or those for one order."""
    return (LedgerCall(*row) for row in tx.execute(text(_CALLS), {"b": batch_id, "order": only_order}))


# -- from any id to its row -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: its batch and row, and as what the id was known."""

    known_as: str
    batch_id: str
    row: int | None


_PLACES = """
    select 'payment', batch_id, import_row_number from payments where remote_id = :id and batch_id is not null
    union all select 'mail', batch_id, import_row_number from notifications where remote_id = :id
    union all select 'key of a payment', batch_id, import_row_number from payments where idempotency_key = :id
    union all select 'key of a mail', batch_id, import_row_number from notifications where idempotency_key = :id
    union all select 'order', batch_id, import_row_number from orders where order_id = :number and batch_id is not null
    union all select 'order number', batch_id, import_row_number from orders
              where order_number = :id and batch_id is not null
    union all select distinct 'request', o.batch_id, o.import_row_number from effect_attempts a
              join orders o on o.order_id = a.order_id where a.service_request_id = :id and o.batch_id is not null
    union all select 'event of the payment service', w.batch_id, o.import_row_number from webhook_inbox w
              left join orders o on o.order_id = w.order_id
              where (w.event_id = :id or w.payment_id = :id) and w.batch_id is not null
    union all select distinct 'run', batch_id, cast(null as integer) from batch_runs where run_id = :id
    union all select 'batch', batch_id, cast(null as integer) from batches where batch_id = :id
    limit 100"""
_LARGEST_ID = 2**31 - 1


def place_of_line(tx: Connection, batch_id: str, line: int) -> list[Place]:
    """The row that begins at a line of a batch's file."""
    query = text("""select 'line', batch_id, import_row_number from import_rows
                    where batch_id = :b and line_number = :line order by import_row_number""")
    return [Place(*row) for row in tx.execute(query, {"b": batch_id, "line": line})]


def places_of(tx: Connection, id_: str) -> list[Place]:
    """Everything that is known by this id, the most telling first."""
    number = int(id_) if id_.isascii() and id_.isdigit() and len(id_) <= 10 and int(id_) <= _LARGEST_ID else None
    return [Place(*row) for row in tx.execute(text(_PLACES), {"id": id_, "number": number})]
