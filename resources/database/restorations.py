"""A database that was restored from a backup: what it marks, and what may not be paid before a person said so.

Of the effects of before, every one that is not done is in doubt, or will be as soon as somebody tries it again. Order
ids are skipped, so that no order is ever looked up under the number of another that was lost. Batches without orders
have to wait: theirs may have been made, and paid, under numbers that are lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from domain.restoring import DIGEST_OF_BATCH, UNPROVEN
from domain.states import BatchState, EffectKind


@dataclass(frozen=True, slots=True)
class Restoration:
    """One restoration. ``lost_batches``: what anchors or the archive know and the database does not."""

    number: int
    backup_at: datetime
    restored_at: datetime
    last_order_id: int
    last_anchor: int
    lost_anchors_to: int
    lost_batches: tuple[str, ...]
    reconciled_at: datetime | None
    reconciled_by: str | None


_COLUMNS = ", ".join(Restoration.__slots__)


@dataclass(frozen=True, slots=True)
class Loss:
    """What is known about the time between backup and restoration. ``settle_seconds`` per kind of effect."""

    backup_at: datetime
    last_anchor: int
    lost_anchors_to: int
    lost_batches: Sequence[str]
    settle_seconds: Mapping[EffectKind, float]
    skipped_order_ids: int


@dataclass(frozen=True, slots=True)
class Marked:
    """How many effects are in doubt now, and how many others will be looked up should anybody try them again."""

    number: int
    in_doubt: int
    rechecked: int


def next_number(tx: Connection) -> int:
    """The number of the restoration that is being marked."""
    tx.execute(text("lock table restorations in share row exclusive mode"))
    return int(tx.execute(text("select coalesce(max(number), 0) + 1 from restorations")).scalar_one())


def mark(tx: Connection, number: int, loss: Loss, statement: str, signature: bytes) -> Marked:
    """Mark the database as restored; nothing of ours may be connected to it meanwhile."""
    longest = max(loss.settle_seconds.values())
    tx.execute(
        text("""insert into restorations (number, backup_at, last_order_id, settles_at, last_anchor, lost_anchors_to,
                                          lost_batches, statement, signature)
                values (:n, :backup_at, coalesce((select max(order_id) from orders), 0),
                        clock_timestamp() + make_interval(secs => :settle), :last_anchor, :lost_to, :lost, :statement,
                        :signature)"""),
        {
            "n": number,
            "backup_at": loss.backup_at,
            "settle": longest,
            "last_anchor": loss.last_anchor,
            "lost_to": loss.lost_anchors_to,
            "lost": list(loss.lost_batches),
            "statement": statement,
            "signature": signature,
        },
    )
    skip_order_ids(tx, loss.skipped_order_ids)
    moved = [_doubt(tx, kind, number) for kind in EffectKind]
    return Marked(number, sum(doubted for doubted, _ in moved), sum(kept for _, kept in moved))


def skip_order_ids(tx: Connection, count: int) -> None:
    """Let the next order have a number that none of the lost ones had.

    Raises:
        InvariantBroken: there are not so many numbers left.
    """
    tx.execute(
        text("""select setval(pg_get_serial_sequence('orders', 'order_id'),
                              greatest((select coalesce(max(order_id), 0) from orders),
                                       (select last_value from orders_order_id_seq)) + cast(:n as bigint))"""),
        {"n": count},
    )


def _doubt(tx: Connection, kind: EffectKind, number: int) -> tuple[int, int]:
    """Open effects are in doubt from now on; settled ones but for those done, when somebody tries them again."""
    values = {"n": number}
    doubted = tx.execute(
        text(f"""update {kind.value} e set state = 'unknown', recheck = true, reason = null, looks = 0,
                        absent_looks = 0, not_before = clock_timestamp(), settles_at = r.settles_at,
                        first_sent_at = coalesce(e.first_sent_at, r.backup_at)
                 from restorations r where r.number = :n and e.batch_id is not null
                   and e.state in ('planned', 'sending', 'retry_wait', 'unknown')"""),
        values,
    )
    kept = tx.execute(
        text(f"""update {kind.value} set recheck = true
                 where batch_id is not null and state in ('rejected', 'review', 'cancelled')""")
    )
    return doubted.rowcount, kept.rowcount


def newest(tx: Connection) -> Restoration | None:
    """The last restoration, if there ever was one."""
    row = tx.execute(text(f"select {_COLUMNS} from restorations order by number desc limit 1")).one_or_none()
    return None if row is None else _restoration(tuple(row))


def every(tx: Connection) -> list[Restoration]:
    """All restorations, oldest first."""
    rows = tx.execute(text(f"select {_COLUMNS} from restorations order by number"))
    return [_restoration(tuple(row)) for row in rows]


def statements(tx: Connection) -> list[tuple[str, bytes]]:
    """What was signed about each restoration, with its signature."""
    rows = tx.execute(text("select statement, signature from restorations order by number"))
    return [(str(statement), bytes(signature)) for statement, signature in rows]


def _restoration(values: tuple[object, ...]) -> Restoration:
    known = dict(zip(Restoration.__slots__, values, strict=True))
    known["lost_batches"] = tuple(known["lost_batches"])  # type: ignore[arg-type]  # an array of texts
    return Restoration(**known)  # type: ignore[arg-type]  # the columns' types are the database's


def waits_for(tx: Connection, batch_id: str) -> datetime | None:
    """When the restoration was because of which this batch must not be paid before a person said so; None: it may.

    Its orders were made after it, and either nobody has said yet that what was lost is accounted for, or the batch is
    known to be one of those that were lost.
    """
    query = text("""
        select r.restored_at from restorations r
        where (r.reconciled_at is null
               or right(:b, :digest) in (select right(l, :digest) from unnest(r.lost_batches) l))
          and not exists (select from orders o where o.batch_id = :b and o.order_id <= r.last_order_id)
          and not exists (select from decisions d where d.batch_id = :b and d.decision = 'continue' and d.code = :code
                          and d.decided_at > r.restored_at)
        order by r.number desc limit 1""")
    values = {"b": batch_id, "digest": DIGEST_OF_BATCH, "code": UNPROVEN}
    found: datetime | None = tx.execute(query, values).scalar_one_or_none()
    return found


def reconcile(tx: Connection, number: int, person: str, note: str) -> None:
    """A person says that what was lost is accounted for; its event of the trail comes with it."""
    tx.execute(
        text("""update restorations set reconciled_at = clock_timestamp(), reconciled_by = :p, note = :note
                where number = :n"""),
        {"n": number, "p": person, "note": note},
    )


def known_batches(tx: Connection, names: Sequence[str]) -> set[str]:
    """Those of these batches that the database has, by the digest of their file: the day before it may differ."""
    query = text("""select n from unnest(cast(:names as text[])) n
                    where exists (select from batches b where right(b.batch_id, :digest) = right(n, :digest))""")
    return set(tx.execute(query, {"names": list(names), "digest": DIGEST_OF_BATCH}).scalars())


def batches_without_orders(tx: Connection) -> dict[str, BatchState]:
    """The batches that have none yet, with their states; none of those whose time was over."""
    query = text("""select batch_id, state from batches b
                    where state not in ('done', 'partial', 'cancelled')
                          and not exists (select from orders o where o.batch_id = b.batch_id)""")
    return {batch: BatchState(state) for batch, state in tx.execute(query)}


def note_backup(tx: Connection, snapshot_at: datetime, octets: int, manifest_sha256: bytes) -> None:
    """A backup was made; its event of the trail comes with it."""
    tx.execute(
        text("insert into backups (snapshot_at, bytes, manifest) values (:at, :octets, :digest)"),
        {"at": snapshot_at, "octets": octets, "digest": manifest_sha256},
    )
