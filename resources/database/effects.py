"""Payments and notifications as the database keeps them: planned, claimed before a call, settled after it.

One set of statements for both kinds. Every write is a compare-and-set on state and lease epoch: a worker that was
fenced changes nothing. Order of locks within a transaction: the batch, effects, orders, then what is planned next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.errors import BatchBusy, InvariantBroken
from domain.guards import EVERY_ROW, NO_ROW
from domain.outcomes import Doubt, Outcome
from domain.states import EffectKind, EffectState
from resources.database import changed_orders


@dataclass(frozen=True, slots=True)
class PlannedEffect:
    """An effect to be: the key and the digest of the body are fixed here, for ever."""

    order_id: int
    idempotency_key: str
    request_sha256: bytes


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What a request body is made from. ``cells`` are sealed; ``items`` are there when several rows make the order."""

    order_id: int
    import_row_number: int
    order_number: str
    item_name: str | None
    amount_jpy: int
    cells: bytes
    items: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class ClaimedEffect:
    """An effect whose intent to send is committed; ``attempt`` counts from 1.

    ``was_in_doubt``: its last call was, and came to nothing as far as could be known; ``age_seconds`` since the first.
    """

    order: OrderFacts
    idempotency_key: str
    request_sha256: bytes
    attempt: int
    was_in_doubt: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class UnknownEffect:
    """An effect in doubt that is due for a look-up; ``age_seconds`` since it was first sent."""

    order: OrderFacts
    idempotency_key: str
    doubt: Doubt
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that came back."""

    order_id: int
    attempt: int
    purpose: str  # 'send' or 'look_up'
    started_at: datetime
    ended_at: datetime
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a call leads to: the effect's next state, when it may be touched again, and its key from then on."""

    attempt: Attempt
    from_state: EffectState
    to_state: EffectState
    wait_seconds: float = 0.0
    absent: bool = False
    new_key: str | None = None


_YEN = "coalesce(r.order_amount, r.amount, o.amount)"
"""Of order ``o``, as the file has it: what the order system makes of the amount later is not what was asked for."""
_FACTS = f"o.order_id, o.import_row_number, o.order_number, o.item_name, {_YEN}, r.cells, o.items"


def unplanned_payments(tx: Connection, batch_id: str) -> list[tuple[int, int, int]]:
    """Orders of the batch that have no payment yet: (order id, import row number, yen as the file has them)."""
    query = text(f"""select o.order_id, o.import_row_number, {_YEN}
                    from orders o join import_rows r using (batch_id, import_row_number)
                    where o.batch_id = :b and not exists (select from payments p where p.order_id = o.order_id)
                    order by o.import_row_number""")
    return [tuple(row) for row in tx.execute(query, {"b": batch_id})]


def plan(tx: Connection, kind: EffectKind, effects: Sequence[PlannedEffect]) -> None:
    """Write down effects to be, for orders of a batch. An order that has its effect already keeps it.

    For an order of before a restoration a mail is in doubt from the beginning: it may have been planned, and sent, in
    the time that was lost. So is a payment once ``doubt_restored`` has been called.
    """
    state, columns, values = "case when restored.number is null then 'planned' else 'unknown' end", "", ""
    if kind is EffectKind.PAYMENT:
        state, columns, values = "'planned'", ", amount, currency", f", {_YEN}, 'JPY'"
    tx.execute(
        text(f"""insert into {kind.value} (order_id, batch_id, bulk_import_group, import_row_number, state, recheck,
                                           lease_epoch, settles_at, first_sent_at, idempotency_key,
                                           request_sha256{columns})
                 select o.order_id, o.batch_id, o.bulk_import_group, o.import_row_number,
                        {state}, restored.number is not null,
                        case when restored.number is null then 0  -- else whoever works on the batch now looks it up
                             else (select b.lease_epoch from batches b where b.batch_id = o.batch_id) end,
                        restored.settles_at, restored.backup_at, u.key, u.digest{values}
                 from unnest(cast(:ids as integer[]), cast(:keys as text[]), cast(:digests as bytea[]))
                      as u (id, key, digest)
                 join orders o on o.order_id = u.id
                 join import_rows r on r.batch_id = o.batch_id and r.import_row_number = o.import_row_number
                 left join (select * from restorations order by number desc limit 1) restored
                      on o.order_id <= restored.last_order_id
                 on conflict (order_id) do nothing"""),
        {
            "ids": [e.order_id for e in effects],
            "keys": [e.idempotency_key for e in effects],
            "digests": [e.request_sha256 for e in effects],
        },
    )


def doubt_restored(tx: Connection, batch_id: str) -> None:
    """Put payments in doubt that were planned only now, for orders of before a restoration."""
    tx.execute(
        text("""update payments set state = 'unknown', not_before = clock_timestamp()
                where batch_id = :b and state = 'planned' and recheck"""),
        {"b": batch_id},
    )


def recover(tx: Connection, kind: EffectKind, batch_id: str, epoch: int, settle_seconds: float) -> int:
    """Take over from a dead worker: what it was sending is in doubt now. The number of those.

    Runs before any new call of an epoch. Rows in doubt are due for a look-up at once; the worker may have sent until
    the moment it lost its hold, so an absence means nothing before ``settle_seconds`` from now.
    """
    found = tx.execute(
        text(f"""update {kind.value} set state = 'unknown', lease_epoch = :epoch, not_before = clock_timestamp(),
                        settles_at = clock_timestamp() + make_interval(secs => :settle), looks = 0
                 where batch_id = :b and state = 'sending' and lease_epoch < :epoch"""),
        {"b": batch_id, "epoch": epoch, "settle": settle_seconds},
    )
    tx.execute(
        text(f"""update {kind.value} set lease_epoch = :epoch, looks = 0
                 where batch_id = :b and state = 'unknown' and lease_epoch < :epoch"""),
        {"b": batch_id, "epoch": epoch},
    )
    return found.rowcount


def claim(tx: Connection, kind: EffectKind, batch_id: str, epoch: int, limit: int) -> list[ClaimedEffect]:
    """Commit the intent to send up to ``limit`` effects, in the order of the file, as far as people and guards allow.

    ``looks`` is kept: what was in doubt before stays so through any number of claims that come to no answer.

    Raises:
        BatchBusy: a successor has begun. Only a claim leads to a call, so a worker that was fenced calls nobody any
        more.
    """
    last_row = _last_row_allowed(tx, kind, batch_id, epoch)
    rows = tx.execute(
        text(f"""with due as (
                     select e.order_id, e.looks > 0 as was_in_doubt
                     from {kind.value} e join orders o on o.order_id = e.order_id
                     where e.batch_id = :b and e.state in ('planned', 'retry_wait')
                           and e.not_before <= clock_timestamp() and e.import_row_number <= :last_row
                           and {changed_orders.AS_PLANNED[kind]}
                     order by e.import_row_number limit :n for update of e),
                 claimed as (
                     update {kind.value} e set state = 'sending', lease_epoch = :epoch, attempts = attempts + 1,
                            reason = null,
                            absent_looks = 0, settles_at = null,
                            first_sent_at = coalesce(first_sent_at, clock_timestamp())
                     from due where e.order_id = due.order_id
                     returning e.order_id, e.idempotency_key, e.request_sha256, e.attempts, due.was_in_doubt,
                               extract(epoch from clock_timestamp() - e.first_sent_at) as age)
                 select {_FACTS}, c.idempotency_key, c.request_sha256, c.attempts, c.was_in_doubt, c.age
                 from claimed c join orders o on o.order_id = c.order_id
                 join import_rows r on r.batch_id = o.batch_id and r.import_row_number = o.import_row_number
                 order by o.import_row_number"""),
        {"b": batch_id, "n": limit, "epoch": epoch, "last_row": last_row},
    )
    claimed = [
        ClaimedEffect(_facts(facts), key, bytes(digest), attempt, was_in_doubt, float(age))
        for *facts, key, digest, attempt, was_in_doubt, age in rows
    ]
    if len(claimed) < limit:  # nothing else is due
        changed_orders.give_up(tx, kind, batch_id, last_row)
    return claimed


def _last_row_allowed(tx: Connection, kind: EffectKind, batch_id: str, epoch: int) -> int:
    """The last row that may be claimed: none once a person wants a pause, or no payment once one wants it cancelled.

    ``for share``: a successor takes its epoch before this claim, which then fails, or after it is committed; and a
    pause that was asked for holds from its commit on.
    """
    query = text("""select pause_requested_by is not null, cancel_requested, coalesce(sends_up_to_row, :every)
                    from batches where batch_id = :b and lease_epoch = :epoch for share""")
    row = tx.execute(query, {"b": batch_id, "epoch": epoch, "every": EVERY_ROW}).one_or_none()
    if row is None:
        raise BatchBusy("BATCH-BUSY", batch=batch_id)
    pause, cancel, last_payment = row
    if kind is EffectKind.NOTIFICATION:
        return NO_ROW if pause else EVERY_ROW
    return NO_ROW if pause or cancel else int(last_payment)


def due_unknown(tx: Connection, kind: EffectKind, batch_id: str, limit: int) -> list[UnknownEffect]:
    """Effects in doubt whose next look-up is due."""
    rows = tx.execute(
        text(f"""select {_FACTS}, e.idempotency_key, e.attempts, e.looks, e.absent_looks,
                        e.settles_at <= clock_timestamp(),
                        case when e.reason like any (:contradictions) then e.reason end, e.recheck,
                        extract(epoch from clock_timestamp() - e.first_sent_at)
                 from {kind.value} e join orders o on o.order_id = e.order_id
                 join import_rows r on r.batch_id = o.batch_id and r.import_row_number = o.import_row_number
                 where e.batch_id = :b and e.state = 'unknown' and e.not_before <= clock_timestamp()
                 order by e.import_row_number limit :n"""),
        {"b": batch_id, "n": limit, "contradictions": _CONTRADICTIONS},
    )
    return [
        UnknownEffect(_facts(facts), key, Doubt(settled, looks, absent, attempts, contradiction, restored), float(age))
        for *facts, key, attempts, looks, absent, settled, contradiction, restored, age in rows
    ]


_CONTRADICTIONS = ["%-KEY-REUSED", "%-ANSWER-MISMATCH", "SYS-ANSWER-UNWRITABLE"]


def settle(
    tx: Connection, kind: EffectKind, epoch: int, settlements: Sequence[Settlement], settle_seconds: float
) -> set[int]:
    """Write what calls led to; the ids of the orders whose effect really moved to its new state.

    One that is missing was fenced: somebody else owns it now, and our knowledge of it is dropped. ``settle_seconds``:
    how long after a call that came to nothing it may still have its effect.
    """
    if not settlements:
        return set()
    values = {"epoch": epoch, "settle": settle_seconds, **_settlement_arrays(settlements)}
    rows = tx.execute(text(_SETTLE.format(table=kind.value)), values)
    moved = set(rows.scalars())
    _record_attempts(tx, kind, epoch, [s.attempt for s in settlements])
    return moved


_SETTLE = """
    update {table} e set state = u.to_state, reason = u.reason, remote_id = u.remote_id,
           idempotency_key = coalesce(u.new_key, e.idempotency_key),
           not_before = clock_timestamp() + make_interval(secs => u.wait_seconds),
           looks = case when u.from_state = 'sending' and u.to_state = 'unknown' then 0 else e.looks + u.looked end,
           absent_looks = e.absent_looks + u.absent,
           settles_at = case when u.from_state = 'sending' and u.to_state = 'unknown'
                             then clock_timestamp() + make_interval(secs => :settle) else e.settles_at end,
           settled_at = case when u.to_state in ('done', 'rejected', 'review') then clock_timestamp() end
    from unnest(cast(:ids as integer[]), cast(:from_states as text[]), cast(:to_states as text[]),
                cast(:reasons as text[]),
                cast(:remote_ids as text[]), cast(:waits as float8[]), cast(:looked as integer[]),
                cast(:absent as integer[]), cast(:new_keys as text[]))
         as u (order_id, from_state, to_state, reason, remote_id, wait_seconds, looked, absent, new_key)
    where e.order_id = u.order_id and e.state = u.from_state and e.lease_epoch = :epoch
    returning e.order_id"""


def settled_by_others(tx: Connection, kind: EffectKind, epoch: int, order_ids: Sequence[int]) -> dict[int, EffectState]:
    """Of these effects of our epoch, those that somebody else has settled: the service's own word came first."""
    rows = tx.execute(
        text(f"""select order_id, state from {kind.value}
                 where order_id = any(:ids) and lease_epoch = :epoch and state in ('done', 'rejected', 'review')"""),
        {"ids": list(order_ids), "epoch": epoch},
    )
    return {order_id: EffectState(state) for order_id, state in rows}


def order_facts(tx: Connection, order_id: int) -> OrderFacts:
    """What the requests for one order of a batch are made from."""
    row = tx.execute(
        text(f"""select {_FACTS} from orders o
                 join import_rows r on r.batch_id = o.batch_id and r.import_row_number = o.import_row_number
                 where o.order_id = :o"""),
        {"o": order_id},
    ).one()
    return _facts(row)


def _settlement_arrays(settlements: Sequence[Settlement]) -> dict[str, list[object]]:
    done = EffectState.DONE
    return {
        "ids": [s.attempt.order_id for s in settlements],
        "from_states": [s.from_state.value for s in settlements],
        "to_states": [s.to_state.value for s in settlements],
        "reasons": [s.attempt.outcome.reason for s in settlements],
        "remote_ids": [s.attempt.outcome.remote_id if s.to_state is done else None for s in settlements],
        "waits": [s.wait_seconds for s in settlements],
        "looked": [int(s.attempt.purpose == "look_up" and not s.attempt.outcome.systemic) for s in settlements],
        "absent": [int(s.absent) for s in settlements],
        "new_keys": [s.new_key for s in settlements],
    }


def _record_attempts(tx: Connection, kind: EffectKind, epoch: int, attempts: Iterable[Attempt]) -> None:
    driver = tx.connection.driver_connection
    assert driver is not None
    statement = """copy effect_attempts (kind, order_id, attempt, purpose, lease_epoch, started_at, ended_at, outcome,
                                         reason, http_status, service_request_id) from stdin"""
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for a in attempts:
            copy.write_row(
                (
                    kind.value,
                    a.order_id,
                    a.attempt,
                    a.purpose,
                    epoch,
                    a.started_at,
                    a.ended_at,
                    a.outcome.cls.value,
                    a.outcome.reason,
                    a.outcome.http_status,
                    a.outcome.service_request_id,
                )
            )


def release_unsent(tx: Connection, kind: EffectKind, epoch: int, order_ids: Sequence[int]) -> None:
    """Give back claims that were certainly never sent: the run stops before their call."""
    tx.execute(
        text(f"""update {kind.value} set state = 'retry_wait', attempts = attempts - 1
                 where order_id = any(:ids) and state = 'sending' and lease_epoch = :epoch"""),
        {"ids": list(order_ids), "epoch": epoch},
    )


_PAYABLE = "(o.status in ('PENDING', 'PAID', 'FAILED') or o.cancelled_at is not null)"
_NUMBER_IS_TAKEN = """exists (select from orders other
                              where other.client = o.client and other.order_number = o.order_number
                                    and other.batch_id is not null and other.cancelled_at is null)"""


def mark_paid(tx: Connection, order_ids: Sequence[int]) -> None:
    """Orders whose payment is done. One that the order system moved on or ended meanwhile keeps its status.

    An order that we had cancelled stands again: its number is free no more, unless another order has it by now.
    """
    tx.execute(
        text(f"""update orders o
                 set status = case when {_PAYABLE} then 'PAID' else o.status end,
                     status_reason = case when not {_PAYABLE} then o.status_reason end,
                     cancelled_at = case when o.cancelled_at is not null and {_NUMBER_IS_TAKEN} then o.cancelled_at end,
                     paid_at = coalesce(o.paid_at, now()), updated_at = now()
                 where o.order_id = any(:ids)"""),
        {"ids": list(order_ids)},
    )


def mark_unpaid(tx: Connection, order_ids: Sequence[int], reasons: Sequence[str | None]) -> None:
    """Orders whose payment was declined are PENDING, with the reason (R-13), unless the order system moved them on."""
    tx.execute(
        text("""update orders o set status = case when o.status = 'FAILED' then 'PENDING' else o.status end,
                       status_reason = u.reason, updated_at = now()
                from unnest(cast(:ids as integer[]), cast(:reasons as text[])) as u (order_id, reason)
                where o.order_id = u.order_id"""),
        {"ids": list(order_ids), "reasons": list(reasons)},
    )


RECENT_SECONDS = 30.0


def seconds_until_due(tx: Connection, kind: EffectKind, batch_id: str) -> float | None:
    """Seconds until the next open effect may be touched; 0 when one is due, None when none is open.

    Raises:
        InvariantBroken: an effect is being sent by nobody.
    """
    opened, sending, seconds = tx.execute(
        text(f"""select count(*) filter (where state <> 'sending'), count(*) filter (where state = 'sending'),
                        extract(epoch from greatest(min(not_before), clock_timestamp()) - clock_timestamp())
                 from {kind.value}
                 where batch_id = :b and state in ('planned', 'retry_wait', 'unknown', 'sending')"""),
        {"b": batch_id},
    ).one()
    if sending:
        raise InvariantBroken("SYS-EFFECT-ORPHANED", batch=batch_id, effects=sending)
    return float(seconds) if opened else None


def _facts(values: Sequence[object]) -> OrderFacts:
    order_id, row_number, order_number, item_name, amount, cells, items = values
    if not isinstance(order_number, str):
        raise InvariantBroken("SYS-DATABASE-REFUSED", sqlstate="-", constraint="orders_batch_is_complete")
    return OrderFacts(int(order_id), int(row_number), order_number, item_name, int(amount), bytes(cells), items)  # type: ignore[call-overload, arg-type]  # the columns' types are the database's
