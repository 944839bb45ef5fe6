"""Make one order per accepted row, as one set, in one transaction. Run twice, nothing is made twice (LIM-001)."""

from __future__ import annotations

from sqlalchemy import Connection

from domain.client_profile import profile_days
from domain.errors import FileRefused, InvariantBroken
from domain.guards import NEAR_DUPLICATE_DAYS
from domain.states import BatchState
from resources.database import batches, books, near_duplicates, orders
from resources.database.books import Books
from resources.database.database import Database


def create_orders(database: Database, batch_id: str, near_duplicate_days: int = NEAR_DUPLICATE_DAYS) -> Books:
    """Create the orders of a validated batch; a batch that has them already is left alone.

    Those that resemble another order of the client, at most ``near_duplicate_days`` apart (or as its profile says), are
    written down: they are not paid until a person accepts them.

    Raises:
        FileRefused: the file was refused.
        InvariantBroken: the batch is not validated yet.
    """
    with database.hold_batch(batch_id) as hold:
        return hold.run(lambda tx: _create(tx, batch_id, near_duplicate_days))


def _create(tx: Connection, batch_id: str, near_duplicate_days: int) -> Books:
    batch = batches.get(tx, batch_id)
    if batch.state is BatchState.REFUSED:
        raise FileRefused(batch.reason or "FILE-UNREADABLE", **batch.reason_facts)
    if batch.state is BatchState.RECEIVED:
        raise InvariantBroken("BATCH-NOT-VALIDATED", batch=batch_id)
    if batch.state is BatchState.VALIDATED:
        batches.read_by_index(tx)
        orders.create(
            tx, batch_id=batch_id, client=batch.client, source=batch.source_name, group=batch.bulk_import_group
        )
        near_duplicates.find(tx, batch_id, profile_days(batch.reading, near_duplicate_days))
        batches.move(tx, batch_id, BatchState.ORDERED)
    return books.read(tx, batch_id)
