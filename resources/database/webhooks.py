"""The inbox of the webhook: every event once, and the payment that an event is about, read and moved.

One event is one transaction. Order of locks within it: the event, the batch, the payment, then as everywhere (see
``effects.py``). The batch is locked first and against changes, so that it is not closed under an event that plans a
mail, and so that an event which reopens it never waits for a claim that waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from domain.payment_events import EventOutcome, EventType, KnownPayment, PaymentEvent, Verdict
from domain.states import BatchState, EffectState
from resources.database import batches

PARKED_HOURS = 24
SYSTEM_CHAIN = "system:webhooks"


@dataclass(frozen=True, slots=True)
class Received:
    """An event that the inbox holds already: what became of it, and whether it says the same."""

    outcome: EventOutcome
    same_content: bool


@dataclass(frozen=True, slots=True)
class OrderPlace:
    """Whose order an event is about. ``batch_id`` None: a single order of the legacy system."""

    batch_id: str | None
    batch_state: BatchState | None


def take_turn(tx: Connection, event: PaymentEvent, wait_seconds: float) -> None:
    """Be the only one who judges this event until the end of the transaction; no statement waits longer than that."""
    limit = f"{max(1, int(wait_seconds * 1000))}ms"
    tx.execute(text("select set_config('statement_timeout', :t, true)"), {"t": limit})
    tx.execute(text("select pg_advisory_xact_lock(hashtextextended('webhook:' || :id, 0))"), {"id": event.event_id})


def received(tx: Connection, event: PaymentEvent) -> Received | None:
    """What the inbox knows of an event with this id."""
    row = tx.execute(
        text("select outcome, content_sha256 = :sha from webhook_inbox where event_id = :id"),
        {"id": event.event_id, "sha": event.content_sha256},
    ).one_or_none()
    return None if row is None else Received(EventOutcome(row[0]), bool(row[1]))


def place_of(tx: Connection, order_id: int) -> OrderPlace | None:
    """Whose order this is, its batch locked against changes; None when there is no such order."""
    row = tx.execute(text("select batch_id from orders where order_id = :o"), {"o": order_id}).one_or_none()
    if row is None:
        return None
    if row[0] is None:
        return OrderPlace(None, None)
    return OrderPlace(row[0], batches.lock(tx, row[0]).state)


def known_payment(tx: Connection, event: PaymentEvent) -> KnownPayment | None:
    """What we know of the payment of the event's order, locked; None when none is planned yet."""
    row = tx.execute(
        text("""select p.state, p.reason, p.amount, p.remote_id, p.first_sent_at from payments p
                where p.order_id = :o and p.state is not null for update"""),
        {"o": event.order_id},
    ).one_or_none()
    if row is None:
        return None
    state, reason, amount, remote_id, first_sent_at = row
    called_at, of_another = tx.execute(_CIRCUMSTANCES, {"o": event.order_id, "p": event.payment_id}).one()
    times = [at for at in (first_sent_at, called_at) if at is not None]
    return KnownPayment(EffectState(state), reason, int(amount), remote_id, max(times, default=None), bool(of_another))


# When the payment was last asked for, or last told done; whether another order has the payment that the event names.
_CIRCUMSTANCES = text("""
    select greatest(
        (select max(a.started_at) from effect_attempts a
         where a.order_id = :o and a.kind = 'payments' and a.purpose = 'send'),
        (select max(w.occurred_at) from webhook_inbox w
         where w.order_id = :o and w.type = 'payment.completed' and w.outcome in ('applied', 'agreed'))),
        exists (select from payments p where p.remote_id = :p and p.order_id <> :o)""")


def move_payment(tx: Connection, event: PaymentEvent, known: KnownPayment, verdict: Verdict) -> None:
    """Take the locked payment where the verdict says. The epoch stays: its worker goes on with the others."""
    if verdict.to_state is None:
        return
    tx.execute(
        text("""update payments set state = :to, reason = :reason, remote_id = :remote, settled_at = clock_timestamp()
                where order_id = :o and state = :from"""),
        {
            "o": event.order_id,
            "from": known.state.value,
            "to": verdict.to_state.value,
            "reason": verdict.reason,
            "remote": event.payment_id if verdict.to_state is EffectState.DONE else None,
        },
    )


def look_up_now(tx: Connection, order_id: int) -> None:
    """Bring the next look-up of a payment in doubt forward."""
    tx.execute(
        text("update payments set not_before = clock_timestamp() where order_id = :o and state = 'unknown'"),
        {"o": order_id},
    )


def write(tx: Connection, event: PaymentEvent, verdict: Verdict, batch_id: str | None) -> None:
    """Write down an event with what became of it; one that was parked gets its new judgement."""
    tx.execute(
        text("""insert into webhook_inbox (event_id, type, order_id, payment_id, amount_jpy, currency, occurred_at,
                                           content_sha256, outcome, reason, batch_id)
                values (:event_id, :type, :order_id, :payment_id, :amount_jpy, :currency, :occurred_at,
                        :content_sha256, :outcome, :reason, :batch_id)
                on conflict (event_id) do update
                set outcome = excluded.outcome, reason = excluded.reason, batch_id = excluded.batch_id,
                    judged_at = clock_timestamp(), tries = webhook_inbox.tries + 1"""),
        {name: getattr(event, name) for name in PaymentEvent.__slots__}
        | {"outcome": verdict.outcome.value, "reason": verdict.reason, "batch_id": batch_id, "type": event.type.value},
    )


def parked(tx: Connection, limit: int) -> list[tuple[PaymentEvent, bool]]:
    """Events that wait for their order, longest untried first, and whether their day is over."""
    rows = tx.execute(
        text("""select event_id, type, order_id, payment_id, amount_jpy, currency, occurred_at, content_sha256,
                       received_at < clock_timestamp() - make_interval(hours => :h)
                from webhook_inbox where outcome = 'parked' order by judged_at limit :n"""),
        {"n": limit, "h": PARKED_HOURS},
    )
    return [(_event(*row[:8]), bool(row[8])) for row in rows]


def refused(tx: Connection, code: str, count: int) -> None:
    """Write into the system's chain that requests were refused as not genuine: a code and how many."""
    tx.execute(
        text("select audit_append(:chain, :event, :count, array[]::integer[], null)"),
        {"chain": SYSTEM_CHAIN, "event": f"webhook:refused:{code}", "count": f"{count} requests"},
    )


_ANSWERS_KEPT_MINUTES = 24 * 60


def count_answers(tx: Connection, by_step: Mapping[int, int]) -> None:
    """Count answers of this minute by the milliseconds that they took at most (R-49)."""
    for step, answers in sorted(by_step.items()):
        tx.execute(
            text("""insert into webhook_answers as a (slot, up_to_ms, answers)
                    values (floor(extract(epoch from clock_timestamp()) / 60), :step, :answers)
                    on conflict (slot, up_to_ms) do update set answers = a.answers + excluded.answers"""),
            {"step": step, "answers": answers},
        )
    old = text("delete from webhook_answers where slot < extract(epoch from clock_timestamp()) / 60 - :kept")
    tx.execute(old, {"kept": _ANSWERS_KEPT_MINUTES})


def _event(
    event_id: str,
    type_: str,
    order_id: int,
    payment_id: str,
    amount_jpy: int,
    currency: str,
    occurred_at: datetime,
    digest: bytes,
) -> PaymentEvent:
    kind = EventType(type_)
    return PaymentEvent(event_id, kind, order_id, payment_id, amount_jpy, currency, occurred_at, bytes(digest))
