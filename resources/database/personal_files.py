"""Files that hold customers' data in clear text: the trail of their batch tells when each was made and when fetched.

Codes and row numbers alone. What somebody with the rights of our account does with a file afterwards, nobody sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, text


class Use(StrEnum):
    """What was done with a file."""

    MADE = "made"  # by a run, in the batch's own folder; told again only when something happened to the batch since
    FETCHED = "fetched"  # by a person


def note_report(tx: Connection, batch_id: str, use: Use) -> None:
    """The result files, which hold every row."""
    if use is Use.FETCHED or not _stands(tx, batch_id, f"report:{use}"):
        _note(tx, batch_id, f"report:{use}", None, [])


def note_repair(tx: Connection, batch_id: str, use: Use, rows: Sequence[int]) -> None:
    """The repair file, which holds these rows."""
    if use is Use.FETCHED or not _stands(tx, batch_id, f"repair:{use}"):
        _note(tx, batch_id, f"repair:{use}", None, rows)


def note_redacted(tx: Connection, batch_id: str, what: str, facts_sha256: bytes) -> None:
    """The archived file no longer holds erased rows; ``facts_sha256`` is the digest of what stands there now."""
    _note(tx, batch_id, "archive:redacted", what, [], facts_sha256)


def fetched(tx: Connection, batch_ids: Sequence[str]) -> int:
    """How often files of these batches were fetched, or packed as evidence: copies that we cannot reach."""
    query = text("""select count(*) from audit_events
                    where chain = any(:ids) and event in ('report:fetched', 'repair:fetched')
                       or chain = 'system' and event = 'pack:made' and reason = any(:ids)""")
    return int(tx.execute(query, {"ids": list(batch_ids)}).scalar_one())


def _stands(tx: Connection, batch_id: str, event: str) -> bool:
    """Whether it was told, and nothing that such a file shows has happened since."""
    query = text("""select exists (
        select from audit_events m where m.chain = :b and m.event = :event and not exists (
            select from audit_events e where e.chain = :b and e.seq > m.seq
              and e.event ~ '^(row|order|payment|notification|cells)\\:'))""")
    return bool(tx.execute(query, {"b": batch_id, "event": event}).scalar_one())


def _note(
    tx: Connection, batch_id: str, event: str, reason: str | None, rows: Sequence[int], facts: bytes | None = None
) -> None:
    tx.execute(
        text("""select audit_append(b.batch_id, :event, :reason, cast(:rows as integer[]), null, :facts)
                from batches b where b.batch_id = :b"""),
        {"b": batch_id, "event": event, "reason": reason, "rows": list(rows), "facts": facts},
    )
