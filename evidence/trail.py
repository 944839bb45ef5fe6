"""The checker's part about the trail (I6, I12) and about what is nobody's business (I7)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import psycopg

from evidence.witnesses import Record, Violation

Effect = tuple[str, int]
"""payment or notification, and the order's id."""

# -- I6, I12: the trail -----------------------------------------------------------------------------------------------

_EVENTS = """select *, (extract(epoch from at) * 1000000)::bigint as at_us from audit_events
             where chain = %s order by seq"""


def retold(connection: psycopg.Connection[Record], batch: Record, effects: Mapping[Effect, str]) -> Iterable[Violation]:
    """The chain holds, and told from its beginning it arrives at the states that the database has."""
    chain = (batch["batch_id"],)
    if connection.execute("select * from audit_verify(%s)", chain).fetchall():
        yield Violation("I6", "audit_verify finds a fault in the trail")
    events = connection.execute(_EVENTS, chain).fetchall()
    previous = bytes(32)
    for place, event in enumerate(events, start=1):
        if event["seq"] != place or bytes(event["prev_hash"]) != previous or _hash(event) != bytes(event["hash"]):
            yield Violation("I6", f"event {event['seq']} does not follow from those before")
            return
        previous = bytes(event["hash"])
    head = connection.execute("select seq, hash from audit_heads where chain = %s", chain).fetchone()
    if head is None or (head["seq"], bytes(head["hash"])) != (len(events), previous):
        yield Violation("I6", "the trail does not end where its head says")
    yield from _told(events, batch, effects)


def _hash(event: Record) -> bytes:
    subjects = " ".join(map(str, event["subjects"]))
    fields = [event["chain"], event["seq"], event["at_us"], event["actor"], event["run_id"], event["code_version"]]
    fields += [event["event"], event["reason"], subjects, event["amount_jpy"]]
    if event["facts"] is not None:
        fields.append(bytes(event["facts"]).hex())
    framed = ["-" if f is None else f"{len(str(f).encode())}:{f}" for f in fields]
    return hashlib.sha256(bytes(event["prev_hash"]) + ",".join(framed).encode()).digest()


def _told(events: Sequence[Record], batch: Record, effects: Mapping[Effect, str]) -> Iterable[Violation]:
    told: dict[Effect, str] = {}
    batch_state = None
    for event in events:
        subject, *states = event["event"].split(":")
        if states == ["changed"]:  # something else than its state
            continue
        if subject == "batch" and states:
            batch_state = states[-1]
        if subject not in ("payment", "notification"):
            continue
        for order_id in event["subjects"]:
            before = told.get((subject, order_id))
            if len(states) == 2 and (before != states[0] or before == "done"):
                yield Violation("I12", f"order {order_id}: {event['event']} after {before}")
            told[subject, order_id] = states[-1]
    if told != effects or batch_state != batch["state"]:
        yield Violation("I6", "told from the trail, the batch stands elsewhere than in the database")


# -- I7 ---------------------------------------------------------------------------------------------------------------

_OPEN_PLACES = (
    "select * from audit_events where chain = %(b)s",
    "select * from batches where batch_id = %(b)s",
    "select a.* from effect_attempts a join orders o using (order_id) where o.batch_id = %(b)s",
    "select * from orders where batch_id = %(b)s",
    "select * from payments where batch_id = %(b)s",
    "select * from notifications where batch_id = %(b)s",
    "select import_row_number, issues from import_rows where batch_id = %(b)s",
    "select * from repairs where batch_id = %(b)s",
    "select * from near_duplicates where batch_id = %(b)s",
)


def personal(connection: psycopg.Connection[Record], manifest: Record, batch_id: str) -> Iterable[Violation]:
    """Nothing of a person outside the sealed cells (I7)."""
    persons = [value for row in manifest["rows"] for value in (row["email"], row["name"])]
    for query in _OPEN_PLACES:
        text = repr(connection.execute(query.encode(), {"b": batch_id}).fetchall())
        if any(value in text for value in persons):
            yield Violation("I7", f"something personal in the answer to: {query}")
