"""A superuser's hands in the database, past all triggers: on events, heads, anchors and on the tables beside the trail.

Each is done in a transaction that is verified from inside and then taken back: nobody else ever sees it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, create_engine, text

from audit.verification import Verification, verify_in
from domain.anchors import Anchor
from domain.trail_faults import FaultKind as K
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import TrustedKeys

TABLES = (
    "audit_anchors",
    "audit_events",
    "audit_heads",
    "batches",
    "decisions",
    "effect_attempts",
    "import_rows",
    "notifications",
    "orders",
    "payments",
)


@dataclass(frozen=True, slots=True)
class Hand:
    """One statement; ``kinds`` are right names for what it does, ``at`` says which event is meant (0: any)."""

    what: str
    statement: str
    kinds: frozenset[K]
    names: str = ""  # what a fault must be about, where that is not an event


def _hand(what: str, statement: str, *kinds: K, names: str = "") -> Hand:
    return Hand(what, statement, frozenset(kinds), names)


_EVENT = "where chain = :chain and seq = :seq"
_BY_ORDER = "where order_id = :order"
HANDS = (
    *(
        _hand(f"event: {change}", f"update audit_events set {change} {_EVENT}", K.CHANGED)
        for change in (
            "at = at + interval '1 microsecond'",
            "actor = actor || '.'",
            "run_id = coalesce(run_id, '') || 'x'",
            "code_version = null",
            "event = event || ':'",
            "reason = coalesce(reason, '') || 'X'",
            "subjects = subjects || 7",
            "amount_jpy = coalesce(amount_jpy, 0) + 1",
            "facts = sha256(coalesce(facts, ''))",
            "prev_hash = sha256(prev_hash)",
            "hash = sha256(hash)",
        )
    ),
    _hand("event: number", f"update audit_events set seq = seq + 100000 {_EVENT}", K.CHANGED, K.REORDERED),
    _hand("event: moved away", f"update audit_events set chain = chain || '.' {_EVENT}", K.MISSING, K.TAIL_CUT),
    _hand("event: deleted", f"delete from audit_events {_EVENT}", K.MISSING, K.TAIL_CUT),
    _hand(
        "events: swapped",
        """update audit_events e set (at, actor, run_id, code_version, event, reason, subjects, amount_jpy, facts,
                                      prev_hash, hash)
               = (select o.at, o.actor, o.run_id, o.code_version, o.event, o.reason, o.subjects, o.amount_jpy, o.facts,
                         o.prev_hash, o.hash from audit_events o where o.chain = e.chain
                  and o.seq = case e.seq when 1 then 2 else 1 end)
           where chain = :chain and seq in (1, 2)""",
        K.REORDERED,
    ),
    _hand("tail cut", "delete from audit_events where chain = :chain and seq >= :seq", K.TAIL_CUT),
    _hand("all events gone", "delete from audit_events where chain = :chain", K.TAIL_CUT),
    _hand("head: number", "update audit_heads set seq = seq + 1 where chain = :chain", K.HEAD_ALTERED),
    _hand("head: hash", "update audit_heads set hash = sha256(hash) where chain = :chain", K.HEAD_ALTERED),
    _hand(
        "head: set back",
        """update audit_heads h set (seq, hash) = (select e.seq, e.hash from audit_events e
               where e.chain = h.chain and e.seq = h.seq - 1) where chain = :chain""",
        K.HEAD_ALTERED,
    ),
    _hand("head: deleted", "delete from audit_heads where chain = :chain", K.HEAD_MISSING),
    _hand("anchor: copy deleted", "delete from audit_anchors where number = 1", K.ANCHOR_MISSING, names="database"),
    _hand("anchor: copy changed", "update audit_anchors set body = body || ' '", K.ANCHOR_ALTERED, names="database"),
    _hand("anchor: heads changed", "update audit_anchors set heads = '[]'", K.ANCHOR_ALTERED, names="database"),
    _hand("payment: done", f"update payments set state = 'cancelled', remote_id = null {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("payment: remote id", f"update payments set remote_id = remote_id || 'x' {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("payment: request", f"update payments set request_sha256 = sha256('x') {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("payment: deleted", f"delete from payments {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("mail: remote id", f"update notifications set remote_id = remote_id || 'x' {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("order: amount", f"update orders set amount = amount + 1 {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("order: number", f"update orders set order_number = order_number || 'x' {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("order: status", f"update orders set status = 'SHIPPED' {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("row: amount", f"update import_rows set amount = amount + 1 {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("row: line", f"update import_rows set line_number = line_number + 1 {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("row: number", f"update import_rows set order_number = order_number || 'x' {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("batch: state", "update batches set state = 'paused', reason = 'X' where batch_id = :chain", K.BOOKS_DIFFER),
    _hand("batch: file", "update batches set file_sha256 = sha256('x') where batch_id = :chain", K.BOOKS_DIFFER),
    _hand("batch: name", "update batches set source_name = 'x' where batch_id = :chain", K.BOOKS_DIFFER),
    _hand("batch: client", "update batches set client = 'x' where batch_id = :chain", K.BOOKS_DIFFER),
    _hand("call: outcome", f"update effect_attempts set outcome = 'refused' {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("call: time", f"update effect_attempts set ended_at = ended_at + interval '1 s' {_BY_ORDER}", K.BOOKS_DIFFER),
    _hand("call: deleted", f"delete from effect_attempts {_BY_ORDER}", K.BOOKS_DIFFER),
)
# A row of the file has no order id of its own.
_OF_ROW = """where (batch_id, import_row_number) in
             (select batch_id, import_row_number from orders where order_id = :order)"""


class Tamperer:
    """One session with every guard off, on a database that holds a finished and anchored batch."""

    def __init__(self, url: str, chain: str, folder: AnchorFolder, keys: TrustedKeys) -> None:
        self._engine = create_engine(
            f"postgresql+psycopg://{url.partition('://')[2]}",
            connect_args={"options": "-c search_path=bulk_orders,public -c event_triggers=off"},
        )
        self._chain, self._keys, self._folder = chain, keys, folder
        self._files: list[tuple[int, Anchor | None]] = list(folder.read_all())
        with self._engine.begin() as tx:
            self.events = int(
                tx.execute(text("select seq from audit_heads where chain = :c"), {"c": chain}).scalar_one()
            )
            query = text("select order_id from orders where batch_id = :c and status = 'PAID'")
            self.orders: Sequence[int] = list(tx.execute(query, {"c": chain}).scalars())

    def close(self) -> None:
        """Close the session."""
        self._engine.dispose()

    def honest(self) -> Verification:
        """What is found when nobody did anything."""
        with self._engine.connect() as tx:
            return verify_in(tx, self._folder, self._files, self._keys, None)

    def complaint(self, hand: Hand, rng: random.Random) -> str | None:
        """What is wrong with the verdict after this hand; None: it was found, and rightly named."""
        seq, order = rng.randint(1, self.events), rng.choice(self.orders)
        with self._spoilt(hand, seq, order) as tx:
            found = verify_in(tx, self._folder, self._files, self._keys, None)
        faults = [fault for fault in found.faults if fault.kind is not K.GUARD_OFF]
        if not faults:
            return f"{hand.what} at {seq}: not detected"
        named = [fault for fault in faults if fault.kind in hand.kinds and hand.names in fault.about]
        at_event = any(fault.seq <= seq <= fault.until for fault in named)
        if not named or (_EVENT in hand.statement and not at_event) or faults[0] not in named:
            return f"{hand.what} at {seq}: called {[(f.kind.value, f.seq, f.until, f.about) for f in faults[:3]]}"
        return None

    @contextmanager
    def _spoilt(self, hand: Hand, seq: int, order: int) -> Iterator[Connection]:
        statement = hand.statement
        if statement.startswith("update import_rows"):
            statement = statement.replace(_BY_ORDER, _OF_ROW)
        with self._engine.connect() as tx:
            for table in TABLES:
                tx.execute(text(f"alter table {table} disable trigger all"))
            if hand.what == "event: number":
                tx.execute(text("alter table audit_events drop constraint audit_events_pkey"))
            done = tx.execute(text(statement), {"chain": self._chain, "seq": seq, "order": order})
            assert done.rowcount > 0, hand.what
            yield tx
            tx.rollback()
