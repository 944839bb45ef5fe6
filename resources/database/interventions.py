"""Effects moved by a person's hand: redriven, cancelled, decided in review; and what the guards on money count.

Only effects that no worker touches are moved here: settled ones, and those never sent of a batch that nobody may send
for any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.decisions import proven_absent, redrivable_codes
from domain.guards import NEAR_DUPLICATE, PaymentTally
from domain.states import EffectKind, EffectState
from resources.database import doubt, near_duplicates


@dataclass(frozen=True, slots=True)
class Counted:
    """Effects and their yen."""

    effects: int = 0
    amount_jpy: int = 0


_REDRIVABLE = """(e.state = 'rejected' and e.reason = any(:codes) or e.state = 'review' and e.reason = :absent)
                 and not exists (select from erased_rows x
                                 where x.batch_id = e.batch_id and x.import_row_number = e.import_row_number)"""


_YEN = {EffectKind.PAYMENT: "e.amount", EffectKind.NOTIFICATION: "o.amount"}


def redrivable(tx: Connection, kind: EffectKind, batch_id: str) -> Counted:
    """What certainly did not happen and may be tried again."""
    query = text(f"""select count(*), coalesce(sum({_YEN[kind]}), 0) from {kind.value} e join orders o using (order_id)
                     where e.batch_id = :b and {_REDRIVABLE}""")
    found, amount_jpy = tx.execute(query, _redrive_values(kind, batch_id)).one()
    return Counted(int(found), int(amount_jpy))


def redrive(tx: Connection, kind: EffectKind, batch_id: str) -> int:
    """Put what may be tried again back into the queue, with a full budget of attempts; the number of those."""
    moved = tx.execute(
        text(f"""with moved as (
                     update {kind.value} e set state = 'retry_wait', {_AS_NEW}
                     where e.batch_id = :b and {_REDRIVABLE} returning e.order_id)
                 select order_id from moved"""),
        _redrive_values(kind, batch_id),
    )
    order_ids = list(moved.scalars())
    if kind is EffectKind.PAYMENT:
        _forget_reason(tx, order_ids)
    return len(order_ids)


_AS_NEW = "reason = null, attempts = 0, looks = 0, absent_looks = 0, not_before = '-infinity', settled_at = null"


def _redrive_values(kind: EffectKind, batch_id: str) -> dict[str, object]:
    return {"b": batch_id, "codes": redrivable_codes(kind), "absent": proven_absent(kind)}


def _forget_reason(tx: Connection, order_ids: list[int]) -> None:
    tx.execute(
        text("update orders set status_reason = null, updated_at = now() where order_id = any(:ids)"),
        {"ids": order_ids},
    )


def cancel_unsent(tx: Connection, batch_id: str) -> Counted:
    """Cancel every payment of the batch that certainly was not made and is not under way, and its order.

    An order that was paid elsewhere, or ended by the order system, keeps its status.

    A payment whose last word was "send the same key again" may exist all the same: that one is for a person. One that
    waits because its order resembles another was never sent either.
    """
    near_duplicates.let_go(tx, batch_id)
    doubt.ask_a_person(tx, EffectKind.PAYMENT, batch_id)
    cancelled = tx.execute(
        text("""with moved as (
                    update payments e set state = 'cancelled', reason = 'PAY-CANCELLED', settled_at = clock_timestamp()
                    where e.batch_id = :b and e.state in ('planned', 'retry_wait') returning e.order_id, e.amount),
                ended as (
                    update orders o set status = 'CANCELLED', status_reason = 'PAY-CANCELLED', updated_at = now(),
                           cancelled_at = clock_timestamp()
                    from moved where o.order_id = moved.order_id and o.status in ('PENDING', 'FAILED'))
                select amount from moved"""),
        {"b": batch_id},
    )
    amounts = list(cancelled.scalars())
    return Counted(len(amounts), sum(amounts))


@dataclass(frozen=True, slots=True)
class InReview:
    """An effect in review, locked until the end of the transaction."""

    order_id: int
    reason: str | None
    amount_jpy: int


def take_for_decision(tx: Connection, kind: EffectKind, batch_id: str, row: int) -> InReview | None:
    """The effect of a row if it is in review; whoever comes second waits and then finds it decided."""
    found = tx.execute(
        text(f"""select e.order_id, e.reason, {_YEN[kind]} from {kind.value} e join orders o using (order_id)
                 where e.batch_id = :b and e.import_row_number = :row and e.state = 'review' for update of e"""),
        {"b": batch_id, "row": row},
    ).one_or_none()
    return None if found is None else InReview(*found)


def remote_id_is_taken(tx: Connection, kind: EffectKind, remote_id: str) -> bool:
    """Whether another effect has this number of the service."""
    query = text(f"select exists (select from {kind.value} where remote_id = :r)")
    return bool(tx.execute(query, {"r": remote_id}).scalar_one())


def decide(
    tx: Connection, kind: EffectKind, order_id: int, to: EffectState, *, remote_id: str | None, reason: str | None
) -> None:
    """Take an effect out of review."""
    again = f", {_AS_NEW}" if to is EffectState.RETRY_WAIT else ", reason = :reason, settled_at = clock_timestamp()"
    tx.execute(
        text(f"""update {kind.value} set state = :to, remote_id = :remote{again}
                 where order_id = :o and state = 'review'"""),
        {"o": order_id, "to": to.value, "remote": remote_id, "reason": reason},
    )


def payment_tally(tx: Connection, batch_id: str, canary: int) -> PaymentTally:
    """What the guards look at; the first ``canary`` payments in the order of the file are the canary.

    A payment that waits because its order resembles another has not failed, and is not under way.
    """
    row = tx.execute(
        text("""select count(*), count(*) filter (where failed),
                       count(*) filter (where place <= :c), coalesce(max(row) filter (where place <= :c), 0),
                       count(*) filter (where place <= :c and open), count(*) filter (where place <= :c and failed)
                from (select import_row_number as row, state in ('rejected', 'review') as failed,
                             state in ('planned', 'sending', 'unknown', 'retry_wait') as open,
                             row_number() over (order by import_row_number) as place
                      from payments where batch_id = :b and (state = 'review' and reason = :alike) is not true) p"""),
        {"b": batch_id, "c": canary, "alike": NEAR_DUPLICATE},
    ).one()
    return PaymentTally(batch_id, *(int(figure) for figure in row))


def send_up_to(tx: Connection, batch_id: str, last_row: int | None) -> None:
    """Let no payment beyond this row be sent; None: all may."""
    tx.execute(
        text("""update batches set sends_up_to_row = :r
                where batch_id = :b and sends_up_to_row is distinct from cast(:r as integer)"""),
        {"b": batch_id, "r": last_row},
    )
