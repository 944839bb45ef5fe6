"""The trail as it is stored: its events in a stream, its heads, what guards it, and what is noted in it.

The database's own verification (``audit_verify_all``) is asked here too; it shares no code with ``domain/trail.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, text

from domain.trail import Fields, Head

SYSTEM_CHAIN = "system"

_EVENTS = sql.SQL("""
    copy (select chain, seq, (extract(epoch from at) * 1000000)::bigint, actor, run_id, code_version, event, reason,
                 array_to_string(subjects, ' '), amount_jpy, encode(facts, 'hex'), encode(prev_hash, 'hex'),
                 encode(hash, 'hex')
          from audit_events {where} order by chain, seq) to stdout""")
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\"}


def events(tx: Connection, chain: str | None = None) -> Iterator[Fields]:
    """Every event of one chain, or of all, chain by chain in the order of their numbers, as text fields."""
    where = sql.SQL("where chain = {}").format(sql.Literal(chain)) if chain is not None else sql.SQL("")
    driver: Any = tx.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(_EVENTS.format(where=where)) as copy:
        for line in copy:
            yield _fields(bytes(line)[:-1])


_NULL = b"\\N"
_MAY_BE_NULL = (4, 5, 7, 9, 10)


def _fields(octets: bytes) -> list[bytes | None]:
    """One line of COPY. Its few nulls first: whatever backslash is left belongs to a value."""
    fields: list[bytes | None] = octets.split(b"\t")  # type: ignore[assignment]  # some become None
    backslashes = octets.count(b"\\")
    for place in _MAY_BE_NULL:
        if fields[place] == _NULL:
            fields[place] = None
            backslashes -= 1
    return fields if backslashes == 0 else [None if field is None else _unescaped(field) for field in fields]


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), field, flags=re.DOTALL)


def heads(tx: Connection, chain: str | None = None) -> dict[str, Head]:
    """Where each chain ends, or one."""
    rows = tx.execute(
        text("select chain, seq, encode(hash, 'hex') from audit_heads where cast(:c as text) is null or chain = :c"),
        {"c": chain},
    )
    return {name: Head(int(seq), value.encode()) for name, seq, value in rows}


def heads_of(tx: Connection, chains: Sequence[str]) -> dict[str, int]:
    """The number of the last event of each of these chains."""
    query = text("select chain, seq from audit_heads where chain = any(:chains)")
    return {chain: int(seq) for chain, seq in tx.execute(query, {"chains": list(chains)})}


def chain_exists(tx: Connection, chain: str) -> bool:
    """Whether there is anything under this name: a head, an event, or a batch."""
    query = text("""select exists (select from audit_heads where chain = :c)
                    or exists (select from audit_events where chain = :c)
                    or exists (select from batches where batch_id = :c)""")
    return bool(tx.execute(query, {"c": chain}).scalar_one())


def installation_id(tx: Connection) -> str:
    """Whose trail this is."""
    return str(tx.execute(text("select installation_id from installation")).scalar_one())


def database_verdict(tx: Connection, chain: str | None = None) -> dict[str, tuple[int, str]]:
    """What the database finds by itself: the first bad place of each chain that does not hold, and its word for it."""
    rows = tx.execute(text("select chain, seq, fault from audit_verify_all(:c)"), {"c": chain})
    return {name: (int(seq), fault) for name, seq, fault in rows}


def guards_missing(tx: Connection) -> list[str]:
    """Triggers that should protect the trail and are missing or not always on, as ``table.trigger``."""
    on = {name for (name,) in tx.execute(_GUARDS_ON)}
    of_months = {
        f"{month}.{trigger}" for month, table in tx.execute(_MONTHS) for trigger in _OF_A_MONTH.get(table, "").split()
    }
    return sorted((GUARDS | of_months) - on)


_GUARDS_ON = text("""
    select r.relname || '.' || t.tgname from pg_trigger t join pg_class r on r.oid = t.tgrelid
    join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'bulk_orders' and not t.tgisinternal and t.tgenabled = 'A'""")
_MONTHS = text("""
    select c.relname, p.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    join pg_class p on p.oid = i.inhparent
    where c.relkind = 'r' and c.relnamespace = 'bulk_orders'\\:\\:regnamespace""")


def note(tx: Connection, event: str, about: str, facts_sha256: bytes | None = None) -> None:
    """An event of the system's chain that no table brings with it: codes and ids only."""
    tx.execute(
        text("select audit_append(:chain, :event, :about, array[]::integer[], null, :facts)"),
        {"chain": SYSTEM_CHAIN, "event": event, "about": about, "facts": facts_sha256},
    )


_GUARDS = {
    "alert_deliveries": "audit audit_state no_delete same_delivery",
    "alerts": "audit audit_state no_delete same_alert",
    "audit_anchors": "append_only audit",
    "audit_events": "audit_append_only audit_check audit_no_truncate",
    "audit_heads": "audit_guard audit_no_delete audit_no_truncate",
    "backups": "append_only audit",
    "batch_runs": "append_only audit",
    "batches": "audit audit_changes audit_requests audit_state no_delete profile_used"
    " same_client same_identity same_parent",
    "breakers": "audit audit_state no_delete",
    "client_profiles": "append_only audit",
    "configurations": "append_only",
    "decisions": "append_only audit no_truncate",
    "effect_attempts": "append_only audit",
    "emptied_batches": "audit no_truncate step_by_step",
    "encryption_keys": "audit no_truncate",
    "erased_rows": "append_only audit",
    "erasures": "append_only audit same_erasure",
    "exported_chains": "no_truncate step_by_step",
    "exports": "audit no_truncate step_by_step",
    "import_rows": "audit audit_state no_delete same_identity",
    "installation": "append_only",
    "legal_holds": "audit no_truncate step_by_step",
    "near_duplicates": "append_only audit no_truncate",
    "notifications": "after_restore after_restore_known audit audit_state no_delete",
    "orders": "audit audit_state no_delete no_truncate same_identity",
    "payments": "after_restore after_restore_known audit audit_state no_delete no_truncate",
    "repairs": "audit audit_taken no_delete same_repair",
    "restorations": "append_only audit audit_changes no_truncate",
    "settings_in_force": "append_only audit audit_changes",
    "state_transitions": "audit",
    "trail_verifications": "append_only audit",
    "webhook_acknowledgements": "append_only audit",
    "webhook_inbox": "audit audit_changes audit_outcome no_delete same_event",
}
GUARDS = frozenset(f"{table}.{trigger}" for table, triggers in _GUARDS.items() for trigger in triggers.split())
"""What migrations put around the trail, each as ``table.trigger``; a test compares it with a new database."""
_OF_A_MONTH = {"audit_events": "audit_append_only audit_check partition_guard", "effect_attempts": "partition_guard"}
"""What each partition of these has besides."""
