"""Orders that resemble an earlier one of their client: found when they are made, and paid when a person accepts them.

Alike is what has the same likeness (``Vault.likenesses``): customer, amount and items; the database knows nobody.
Apart are their days, of the order where the file says it and else of the import, in Japan. An earlier order that was
cancelled, or whose payment was declined or rejected, is none that could be doubled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text

from domain.guards import NEAR_DUPLICATE

_DAY = "coalesce({0}.ordered_on, ({0}.created_at at time zone 'Asia/Tokyo')::date)"
_COUNTS = """o.cancelled_at is null and coalesce(p.state, 'planned') not in ('rejected', 'cancelled')"""

# One pass over the index for all of them, and mostly the end of it: a look for each of 10,000 takes half as long again.
_ALIKE = text("""
    select likeness from orders
    where likeness = any(array(select likeness from orders where batch_id = :b and likeness is not null))
    group by likeness having count(*) > 1""")

# The last one before it, by the index: where thousands are alike (a gift to every colleague) the first look ends it.
# In the order of the index: neighbours lie in the same pages.
_FIND = text(f"""
    insert into near_duplicates (order_id, batch_id, import_row_number, alike_order_id, days_apart)
    select n.order_id, n.batch_id, n.import_row_number, e.order_id, e.apart
    from (select order_id, batch_id, import_row_number, likeness, ordered_on, created_at from orders
          where batch_id = :b and likeness = any(:alike) order by likeness) n cross join lateral (
        select o.order_id, abs({_DAY.format("o")} - {_DAY.format("n")}) as apart
        from orders o left join payments p on p.order_id = o.order_id
        where o.likeness = n.likeness and o.order_id < n.order_id and {_COUNTS}
          and abs({_DAY.format("o")} - {_DAY.format("n")}) <= :days
        order by o.order_id desc limit 1) e
    on conflict (order_id) do nothing""")

# Before its first claim a payment is `planned`, and never again: whoever was let go is not held twice.
_HOLD = text("""
    update payments p set state = 'review', reason = :reason, settled_at = clock_timestamp()
    from near_duplicates d where d.order_id = p.order_id and p.batch_id = :b and p.state = 'planned'""")

_LET_GO = text("""
    update payments set state = 'retry_wait', reason = null, settled_at = null
    where batch_id = :b and state = 'review' and reason = :reason""")


def find(tx: Connection, batch_id: str, days: int) -> int:
    """Write down which orders of the batch resemble an earlier one, at most ``days`` apart: the number of those."""
    if days <= 0:
        return 0
    alike = list(tx.execute(_ALIKE, {"b": batch_id}).scalars())
    return tx.execute(_FIND, {"b": batch_id, "days": days, "alike": alike}).rowcount if alike else 0


def hold(tx: Connection, batch_id: str) -> None:
    """Put the payments of such orders into review, in the transaction that plans them."""
    tx.execute(_HOLD, {"b": batch_id, "reason": NEAR_DUPLICATE})


def let_go(tx: Connection, batch_id: str) -> None:
    """Take them out of review: the batch is cancelled, and they with the rest of it."""
    tx.execute(_LET_GO, {"b": batch_id, "reason": NEAR_DUPLICATE})


def count(tx: Connection, batch_id: str) -> int:
    """How many orders of the batch resemble an earlier one."""
    query = text("select count(*) from near_duplicates where batch_id = :b")
    return int(tx.execute(query, {"b": batch_id}).scalar_one())


def waiting(tx: Connection, batch_id: str) -> list[int]:
    """The import row numbers of those that wait for a person."""
    query = text("""select import_row_number from payments
                    where batch_id = :b and state = 'review' and reason = :reason order by import_row_number""")
    return list(tx.execute(query, {"b": batch_id, "reason": NEAR_DUPLICATE}).scalars())


@dataclass(frozen=True, slots=True)
class Likely:
    """An order that may be made: its likeness, and its day where the file says it."""

    likeness: int
    ordered_on: date | None


def count_alike(tx: Connection, orders: Sequence[Likely], days: int) -> int:
    """How many of these, in their order, resemble one before them or one that is there, at most ``days`` apart."""
    if days <= 0:
        return 0
    today = tx.execute(text("select (now() at time zone 'Asia/Tokyo')::date")).scalar_one()
    seen: dict[int, set[date]] = defaultdict(set)
    new: list[tuple[int, date]] = []
    for order in orders:
        day = order.ordered_on or today
        if not any(abs((day - other).days) <= days for other in seen[order.likeness]):
            new.append((order.likeness, day))
        seen[order.likeness].add(day)
    query = text(f"""
        select count(*) from unnest(cast(:likeness as bigint[]), cast(:day as date[])) as n (likeness, day)
        where exists (select from orders o left join payments p on p.order_id = o.order_id
                      where o.likeness = n.likeness and {_COUNTS} and abs({_DAY.format("o")} - n.day) <= :days)""")
    values = {"likeness": [likeness for likeness, _ in new], "day": [day for _, day in new], "days": days}
    return len(orders) - len(new) + int(tx.execute(query, values).scalar_one())
