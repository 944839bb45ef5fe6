"""The books of one batch: its file, its orders, its payments, its mails, each counted on its own (R-32, R-50).

The order system may change an order at any time, and asks nobody: correct its amount, charge it elsewhere, refund it.
That is no fault of the batch. Once its payment is planned an order counts with the yen it had then, and one that was
charged elsewhere is none that this batch has paid; both are counted apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from domain.progress import StageProgress
from domain.states import SETTLED_EFFECT, EffectState
from resources.database import batches, effects, repairs
from resources.database.batches import Batch


@dataclass(frozen=True, slots=True)
class EffectBook:
    """Effects and yen of one kind, by state; ``settled_recently`` in the last ``effects.RECENT_SECONDS``."""

    by_state: Mapping[EffectState, tuple[int, int]]
    settled_recently: int = 0

    def count(self, *states: EffectState) -> int:
        """Effects in these states; in all states when none is named."""
        return sum(self.by_state.get(state, (0, 0))[0] for state in states or EffectState)

    def amount_jpy(self, *states: EffectState) -> int:
        """Yen of the effects in these states; of all when none is named."""
        return sum(self.by_state.get(state, (0, 0))[1] for state in states or EffectState)

    @property
    def settled(self) -> int:
        """Effects that nothing more happens to by itself."""
        return self.count(*SETTLED_EFFECT)

    @property
    def waiting(self) -> int:
        """Effects that are still to be done or settled."""
        return self.count() - self.settled


@dataclass(frozen=True, slots=True)
class Books:
    """All books of one batch. Of one moment when read in ``Database.snapshot`` or by the batch's holder."""

    batch: Batch
    rows_accepted: int
    rows_rejected: int
    orders_expected: int  # as rows accepted, unless several rows make one order
    accepted_jpy: int
    orders: int
    orders_jpy: int
    paid_orders: int
    paid_jpy: int
    orders_changed: int  # whose yen the order system has changed since their payment was planned
    paid_elsewhere: int  # whose payment was settled otherwise, and that the order system says are paid
    payments: EffectBook
    notifications: EffectBook
    child_batch_ids: tuple[str, ...] = ()  # that repair rows of this one
    rows_repaired: int = 0  # rejected here, and taken with a repaired file since

    @property
    def mails_expected(self) -> int:
        """Mails that there will be in the end: one per order that is paid or may still be."""
        return self.orders - self.payments.count(EffectState.REJECTED, EffectState.REVIEW, EffectState.CANCELLED)

    @property
    def everything_settled(self) -> bool:
        """Nothing is open any more."""
        payments_known = self.payments.count() == self.orders and self.payments.waiting == 0
        return payments_known and self.notifications.count() == self.paid_orders and self.notifications.waiting == 0

    @property
    def everything_succeeded(self) -> bool:
        """Every row of the file is paid and its mail sent."""
        done = self.notifications.count(EffectState.DONE)
        return (
            self.rows_rejected == 0
            and self.payments.count(EffectState.DONE) == done == self.orders == self.orders_expected
        )

    def tells_the_same_as(self, other: Books) -> bool:
        """Whether no effect has moved between them."""
        ours, theirs = (self.payments, self.notifications), (other.payments, other.notifications)
        return all(mine.by_state == yours.by_state for mine, yours in zip(ours, theirs, strict=True))

    def progress(self) -> list[StageProgress]:
        """Processed and total of every stage, in order (R-35)."""
        rows = self.rows_accepted + self.rows_rejected
        return [
            StageProgress("validated_csv", rows, self.batch.file_rows if self.batch.file_rows is not None else rows),
            StageProgress("created_orders", self.orders, self.orders_expected),
            self._of_effects("payments", self.payments, self.orders),
            self._of_effects("notifications", self.notifications, self.mails_expected),
        ]

    def _of_effects(self, stage: str, book: EffectBook, total: int) -> StageProgress:
        """With the speed of the last seconds: a batch that was paused for an hour is not slow."""
        since = self.batch.paying_since
        paying_seconds = 0.0 if since is None else (datetime.now(UTC) - since).total_seconds()
        elapsed = max(0.0, min(paying_seconds, effects.RECENT_SECONDS))
        return StageProgress(stage, book.settled, total, elapsed, book.settled - book.settled_recently)


def read(tx: Connection, batch_id: str) -> Books:
    """The books of a batch.

    Raises:
        NotFound: there is no such batch.
    """
    batch = batches.get(tx, batch_id)
    counted: dict[str, dict[str, tuple[int, int, int]]] = {book: {} for book in _BOOKS}
    for book, state, count, amount_jpy, recent in tx.execute(_COUNTS, {"b": batch_id, "s": effects.RECENT_SECONDS}):
        counted[book][state] = int(count), int(amount_jpy), int(recent)
    accepted, accepted_jpy, further = counted["rows"].get("accepted", _NOTHING)
    orders = counted["orders"]
    paid, paid_jpy, _ = orders.get("paid", _NOTHING)
    return Books(
        batch=batch,
        rows_accepted=accepted,
        rows_rejected=counted["rows"].get("rejected", _NOTHING)[0],
        orders_expected=accepted - further,
        accepted_jpy=accepted_jpy,
        orders=sum(count for count, _, _ in orders.values()),
        orders_jpy=sum(jpy for _, jpy, _ in orders.values()),
        paid_orders=paid,
        paid_jpy=paid_jpy,
        orders_changed=sum(changed for _, _, changed in orders.values()),
        paid_elsewhere=orders.get("elsewhere", _NOTHING)[0],
        payments=_effect_book(counted["payments"]),
        notifications=_effect_book(counted["notifications"]),
        child_batch_ids=tuple(sorted(counted["children"])),
        rows_repaired=repairs.count_repaired(tx, batch_id) if counted["children"] or batch.parent_batch_id else 0,
    )


_BOOKS = ("rows", "orders", "payments", "notifications", "children")
_NOTHING = (0, 0, 0)
_EFFECTS = """
    select '{table}', e.state, count(*), sum({yen}),
           count(*) filter (where e.settled_at > clock_timestamp() - make_interval(secs => :s))
    from {table} e {orders} where e.batch_id = :b group by e.state"""
_PAYMENTS = _EFFECTS.format(table="payments", yen="e.amount", orders="")
_MAILS = _EFFECTS.format(table="notifications", yen="o.amount", orders="join orders o using (order_id)")
# As the orders are now, paid by their date. One that is not as its payment says is taken out again and put where it
# belongs, with the yen that were planned: taken back are those that were paid and are neither paid nor PENDING now.
_ORDERS = """
    select 'orders', book, sum(n), sum(yen), sum(changed)
    from (select case when paid_at is null then 'unpaid' else 'paid' end as book, count(*) as n, sum(amount) as yen,
                 0 as changed
          from orders where batch_id = :b group by 1
          union all
          select moved.* from payments p join orders o using (order_id)
          cross join lateral (select case when o.paid_at is null then 'unpaid' else 'paid' end as book) live
          cross join lateral (
              select case when o.paid_at is not null and p.state in ('rejected', 'review', 'cancelled') then 'elsewhere'
                          when o.paid_at is null and p.state = 'done' and o.status <> 'PENDING' then 'paid'
                          else live.book end as book) ours
          cross join lateral (
              values (live.book, -1, -o.amount, 0),
                     (ours.book, 1, p.amount, case when o.amount <> p.amount then 1 else 0 end)) moved
          where p.batch_id = :b and (ours.book <> live.book or o.amount <> p.amount)) counted
    group by book"""
# Book, state, how many, their yen; then of effects how many were settled recently, of rows how many begin no order, and
# of orders how many were changed. One statement, so one moment and one round trip.
_COUNTS = text(f"""
    select 'rows', state, count(*), coalesce(sum(amount), 0), count(order_row)
    from import_rows where batch_id = :b group by state
    union all {_ORDERS}
    union all
    select 'children', batch_id, 1, 0, 0 from batches where parent_batch_id = :b
    union all {_PAYMENTS}
    union all {_MAILS}""")


def _effect_book(counted: Mapping[str, tuple[int, int, int]]) -> EffectBook:
    by_state = {EffectState(state): (count, amount_jpy) for state, (count, amount_jpy, _) in counted.items()}
    return EffectBook(by_state, sum(recent for _, _, recent in counted.values()))
