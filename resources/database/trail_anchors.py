"""Anchors in the database: copies of the files that count, and how far each chain is anchored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from domain.anchors import Anchor, AnchoredHead
from resources.database import trail


@dataclass(frozen=True, slots=True)
class StoredAnchor:
    """The copy of an anchor in the database."""

    number: int
    anchor: Anchor


def take_turn_to_anchor(tx: Connection) -> None:
    """Be the only one who makes an anchor until the end of the transaction."""
    tx.execute(text("select pg_advisory_xact_lock(hashtextextended('anchor', 0))"))


def newest_anchor(tx: Connection) -> tuple[int, Anchor] | None:
    """The last anchor that the database knows, with its number."""
    row = tx.execute(
        text("select number, body, encode(signature, 'hex'), heads from audit_anchors order by number desc limit 1")
    ).one_or_none()
    return None if row is None else (int(row[0]), _anchor(*row[1:]))


def anchors(tx: Connection) -> Iterator[StoredAnchor]:
    """All copies in order."""
    rows = tx.execute(text("select number, body, encode(signature, 'hex'), heads from audit_anchors order by number"))
    for number, body, signature, known in rows:
        yield StoredAnchor(int(number), _anchor(body, signature, known))


def anchor_events(tx: Connection) -> dict[int, str]:
    """The digest of each anchor that the trail tells of, by number."""
    rows = tx.execute(
        text("""select substr(reason, 8)::bigint, encode(facts, 'hex') from audit_events
                where chain = 'system' and event = 'anchor:made' and reason ~ '^anchor-[0-9]{1,18}$'""")
    )
    return {int(number): digest for number, digest in rows}


def heads_moved_since(tx: Connection, known: dict[str, int]) -> list[AnchoredHead]:
    """Heads of chains that are further than ``known`` says, sorted by chain."""
    return sorted(
        AnchoredHead(chain, head.seq, head.hash.decode())
        for chain, head in trail.heads(tx).items()
        if head.seq > known.get(chain, 0)
    )


def anchored_numbers(tx: Connection) -> dict[str, int]:
    """How far each chain is anchored already."""
    rows = tx.execute(
        text("""select k.head ->> 0, max((k.head ->> 1)::bigint)
                from audit_anchors a cross join jsonb_array_elements(a.heads) k (head)
                where not exists (select from restorations r
                                  where a.number > r.last_anchor and a.number <= r.lost_anchors_to)
                group by 1""")
    )
    return {chain: int(seq) for chain, seq in rows}


def store_anchor(tx: Connection, number: int, anchor: Anchor) -> None:
    """Keep a copy; its event of the trail comes with it."""
    tx.execute(
        text("""insert into audit_anchors (number, body, signature, heads)
                values (:n, :body, decode(:signature, 'hex'), cast(:heads as jsonb))"""),
        {
            "n": number,
            "body": anchor.body,
            "signature": anchor.signature,
            "heads": json.dumps([[head.chain, head.seq, head.hash] for head in anchor.heads]),
        },
    )


def now_us(tx: Connection) -> int:
    """The database's clock, microseconds since 1970."""
    return int(tx.execute(text("select (extract(epoch from clock_timestamp()) * 1000000)::bigint")).scalar_one())


def _anchor(body: str, signature: str, known: Sequence[Sequence[Any]]) -> Anchor:
    return Anchor(body, signature, tuple(AnchoredHead(str(c), int(s), str(h)) for c, s, h in known))
