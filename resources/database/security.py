"""What happens against us, noted in the system's chain where the watch finds it (``domain/health.py``): codes and ids.

A note is made beside what it is about and never instead of it: whoever was refused is refused also where the note
cannot be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection

from domain.errors import BulkOrdersError, KeyRefused
from resources.database import trail
from resources.database.database import Database

FOREIGN_RESULT = "security:foreign-result"
KEY_REFUSED = "security:key-refused"


def note_foreign_results(tx: Connection, service: str, batch_id: str, results: int) -> None:
    """The answer to a batch call held results that nobody asked for."""
    trail.note(tx, FOREIGN_RESULT, f"{results} results {service} {batch_id}")


@contextmanager
def refused_keys_noted(database: Database) -> Iterator[None]:
    """A key that is refused inside leaves its event, and is refused."""
    try:
        yield
    except KeyRefused as refused:
        with suppress(BulkOrdersError), database.begin() as tx:
            trail.note(tx, KEY_REFUSED, refused.code)
        raise
