"""Orders of a batch: inserted as one set from the stored rows, found again by whoever runs twice (LIM-001).

An order of several rows is named after its first, says how many items it has, and lists them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from resources.database import batches

_ONE_PER_NUMBER = "orders_one_per_number"
_ONE_CLIENT_AT_A_TIME = text("select pg_advisory_xact_lock(hashtextextended('client:' || :client, 0))")

_REJECT_TAKEN = text("""
    update import_rows r set state = 'rejected',
           issues = jsonb_build_array(jsonb_build_object('column', 'order_number', 'code', 'ORD-NUMBER-EARLIER'))
    from orders o
    where r.batch_id = :batch and r.state = 'accepted' and o.client = :client and o.order_number = r.order_number
      and o.batch_id <> r.batch_id and o.cancelled_at is null""")

# The first number of the client not below those of the batch: when it is beyond all of them, none is taken. Numbers
# mostly rise, and this takes no time where looking up each takes 30 ms per 10,000 rows.
_MAY_BE_TAKEN = text("""
    select coalesce(:highest >= (
        select order_number from orders
        where client = :client and batch_id is not null and cancelled_at is null and order_number >= :lowest
        order by order_number limit 1), false)""")

_INSERT = text("""
    insert into orders (batch_id, csv_source, bulk_import_group, import_row_number, client, order_number, item_code,
                        item_name, quantity, amount, currency, ordered_on, status, likeness, items)
    select r.batch_id, :source, :group, r.import_row_number, :client, r.order_number,
           case when r.items is null then r.item_code end,
           case when r.items is null then r.item_name else left(coalesce(r.item_name, r.item_code, '-'), 230)
                || ' ほか' || jsonb_array_length(r.items) - 1 || '点' end,
           case when r.items is null then r.quantity end,
           coalesce(r.order_amount, r.amount), 'JPY', r.ordered_on, 'PENDING', r.likeness, r.items
    from import_rows r
    where r.batch_id = :batch and r.state = 'accepted' and r.order_row is null
      and (r.import_row_number in (select o.import_row_number from orders o where o.batch_id = :batch)) is not true
    order by r.import_row_number""")
# Not as `not exists`: the planner takes a batch that has just come for one row and would look up each of 10,000 in the
# index (20 ms). `in` with `is not true` hashes the orders of the batch once (1 ms), and nulls cannot hide a row.


def may_be_taken(tx: Connection, client: str, lowest: str | None, highest: str | None) -> bool:
    """Whether this client has an order with a number from ``lowest`` to ``highest``; None where there are no rows."""
    return bool(tx.execute(_MAY_BE_TAKEN, {"client": client, "lowest": lowest, "highest": highest}).scalar_one())


def reject_taken(tx: Connection, batch_id: str, client: str) -> int:
    """Reject accepted rows whose order number an earlier batch of this client has used (ORD-NUMBER-EARLIER): how many.

    Whoever calls counts the accepted rows again.
    """
    return tx.execute(_REJECT_TAKEN, {"batch": batch_id, "client": client}).rowcount


def taken_numbers(tx: Connection, client: str, numbers: list[str]) -> set[str]:
    """Those of ``numbers`` that an earlier batch of this client has already used for an order."""
    query = text("""select order_number from orders
                    where client = :client and order_number = any(:numbers) and cancelled_at is null""")
    return set(tx.execute(query, {"client": client, "numbers": numbers}).scalars())


def create(tx: Connection, *, batch_id: str, client: str, source: str, group: str | None) -> None:
    """Make the order of every accepted row that has none yet.

    A row whose number another batch took since validation is rejected here, in the same transaction; the client's lock
    keeps two batches from taking a number at once.
    """
    tx.execute(_ONE_CLIENT_AT_A_TIME, {"client": client})
    values = {"batch": batch_id, "client": client, "source": source, "group": group}
    if not _insert_unless_taken(tx, values):
        reject_taken(tx, batch_id, client)
        batches.count_accepted(tx, batch_id)
        tx.execute(_INSERT, values)


def _insert_unless_taken(tx: Connection, values: dict[str, Any]) -> bool:
    """Whether the orders were made; nothing is done when a number is taken.

    That is rare after validation, and the unique index says it anyway: looking for it first took 30 ms per 10,000 rows.
    """
    try:
        with tx.begin_nested():
            tx.execute(_INSERT, values)
            return True
    except IntegrityError as error:
        if getattr(getattr(error.orig, "diag", None), "constraint_name", None) != _ONE_PER_NUMBER:
            raise
    return False
