"""What retention knows of the database: its months, what is exported, what is held, what is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import sql
from sqlalchemy import Connection, text

from domain.errors import OperationRefused
from domain.retention import TABLES, Category, ChainRange, ExportManifest
from domain.trail import Head

MONTHS_AHEAD = 3
"""Partitions that are there before their month begins."""


# -- months ------------------------------------------------------------------------------------------------------------


def make_partitions(tx: Connection, from_: datetime | None = None) -> int:
    """Make what is missing of this month's partitions and those of the next; how many that were."""
    query = text("select make_partitions(coalesce(:at, moment()), :n)")
    return int(tx.execute(query, {"at": from_, "n": MONTHS_AHEAD}).scalar_one())


def months(tx: Connection, category: Category) -> list[tuple[date, bool]]:
    """The months that stand in the database, oldest first, and whether each is on the warm disks."""
    rows = tx.execute(
        text("""select to_date(right(c.relname, 7), 'YYYY_MM'), c.reltablespace <> 0
                from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = cast(:parent as regclass) order by 1"""),
        {"parent": f"bulk_orders.{TABLES[category]}"},
    )
    return [(month, bool(warm)) for month, warm in rows]


def move_to(tx: Connection, partition: str, tablespace: str) -> None:
    """Put a month onto other disks; its indexes too."""
    tx.execute(text("select warm_partition(:p, :t)"), {"p": partition, "t": tablespace})


_TRAIL = """select chain, seq, (extract(epoch from at) * 1000000)::bigint, actor, run_id, code_version, event, reason,
       array_to_string(subjects, ' '), amount_jpy, encode(facts, 'hex'), encode(prev_hash, 'hex'), encode(hash, 'hex')
from {} e order by chain, seq"""
_ATTEMPTS = """select attempt_id, kind, order_id, attempt, purpose, lease_epoch,
       (extract(epoch from started_at) * 1000000)::bigint, (extract(epoch from ended_at) * 1000000)::bigint, outcome,
       reason, http_status, service_request_id, (extract(epoch from recorded_at) * 1000000)::bigint
from {} e order by attempt_id"""
_ROWS = {Category.TRAIL: _TRAIL, Category.ATTEMPTS: _ATTEMPTS}


def rows(tx: Connection, category: Category, partition: str) -> Iterator[tuple[str | None, ...]]:
    """Every row of a month as text fields, always in the same order."""
    driver: Any = tx.connection.driver_connection
    query = sql.SQL("copy ({}) to stdout").format(sql.SQL(_ROWS[category].format(_of_month(category, partition))))
    with driver.cursor() as cursor, cursor.copy(query) as copy:
        yield from copy.rows()


def batches_of(tx: Connection, category: Category, partition: str) -> list[str]:
    """The batches that a month tells of."""
    of = {
        Category.TRAIL: "select distinct chain from {} e where chain not like 'system%'",
        Category.ATTEMPTS: "select distinct o.batch_id from {} e join orders o using (order_id)",
    }[category]
    found = tx.execute(text(of.format(_of_month(category, partition)).replace(":", "\\:")))
    return sorted(str(name) for (name,) in found if name is not None)


def _of_month(category: Category, partition: str) -> str:
    """A month as a part of its table: whoever may read the table need not be able to read its partitions."""
    year, month = (int(part) for part in partition[-7:].split("_"))
    ends = (year + month // 12, month % 12 + 1)
    moment = {Category.TRAIL: "at", Category.ATTEMPTS: "recorded_at"}[category]
    return (
        f"(select * from {TABLES[category]} where {moment} >= timestamptz '{year}-{month:02}-01 00:00:00+00'"
        f" and {moment} < timestamptz '{ends[0]}-{ends[1]:02}-01 00:00:00+00')"
    )


# -- exports -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Export:
    """A month that stands in cold storage."""

    partition: str
    category: Category
    month: date
    manifest: str
    signature: bytes
    dropped: bool
    destroying: bool
    destroyed: bool


def exports(tx: Connection) -> list[Export]:
    """All of them, oldest month first."""
    found = tx.execute(
        text("""select partition, category, month, manifest, signature, dropped_at is not null,
                       destroying_at is not null, destroyed_at is not null
                from exports order by month, category""")
    )
    return [Export(p, Category(c), m, body, bytes(s), d, g, x) for p, c, m, body, s, d, g, x in found]


def record_export(tx: Connection, manifest: ExportManifest, body: str, signature: bytes) -> None:
    """A month stands in cold storage, verified; its event of the trail comes with it."""
    tx.execute(
        text("""insert into exports (partition, category, month, rows, manifest, signature)
                values (:p, :c, :m, :n, :body, :signature)"""),
        {
            "p": manifest.partition,
            "c": manifest.category.value,
            "m": manifest.month,
            "n": manifest.rows,
            "body": body,
            "signature": signature,
        },
    )
    ranges = [_range_values(manifest.partition, chain) for chain in manifest.chains]
    if ranges:
        tx.execute(
            text("""insert into exported_chains (chain, partition, first_seq, first_prev, last_seq, last_hash)
                    values (:chain, :p, :first, decode(:prev, 'hex'), :last, decode(:hash, 'hex'))"""),
            ranges,
        )


def _range_values(partition: str, chain: ChainRange) -> dict[str, object]:
    return {
        "p": partition,
        "chain": chain.chain,
        "first": chain.first_seq,
        "prev": chain.first_prev,
        "last": chain.last_seq,
        "hash": chain.last_hash,
    }


def drop_exported(tx: Connection, partition: str) -> None:
    """Drop an exported month from the database; dropped already is fine."""
    tx.execute(text("select drop_exported(:p)"), {"p": partition})


def begin_to_destroy(tx: Connection, partition: str) -> None:
    """From now on nobody misses the file; its event stands before anything is gone."""
    tx.execute(
        text("""update exports set destroying_at = clock_timestamp()
                where partition = :p and destroying_at is null"""),
        {"p": partition},
    )


def end_to_destroy(tx: Connection, partition: str) -> None:
    """The file is gone."""
    tx.execute(
        text("update exports set destroyed_at = clock_timestamp() where partition = :p and destroyed_at is null"),
        {"p": partition},
    )


def chain_starts(tx: Connection) -> dict[str, Head]:
    """After which event each chain goes on in the database, as the database itself says."""
    found = tx.execute(text("select chain, seq, encode(hash, 'hex') from chain_starts"))
    return {chain: Head(int(seq), value.encode()) for chain, seq, value in found}


def first_export_of(tx: Connection, chain: str) -> str | None:
    """The first month of a chain that is no longer in the database; None: all of it is here."""
    query = text("""select c.partition from exported_chains c join exports x using (partition)
                    where c.chain = :c and x.dropped_at is not null order by c.first_seq limit 1""")
    found: str | None = tx.execute(query, {"c": chain}).scalar_one_or_none()
    return found


def goes_on(tx: Connection, chain: ChainRange) -> bool:
    """Whether what follows a stretch of a chain knows it: the next event, or the head where there is none."""
    query = text("""
        select coalesce(
            (select encode(e.prev_hash, 'hex') from audit_events e where e.chain = :c and e.seq = :next),
            (select encode(h.hash, 'hex') from audit_heads h where h.chain = :c and h.seq = :last)) = :hash""")
    values = {"c": chain.chain, "next": chain.last_seq + 1, "last": chain.last_seq, "hash": chain.last_hash}
    return bool(tx.execute(query, values).scalar_one())


# -- what must not go --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LegalHold:
    """One hold in force, or one that was lifted."""

    hold_id: int
    scope: str
    subject: str
    set_by: str
    set_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None


def holds(tx: Connection, *, lifted: bool = False) -> list[LegalHold]:
    """The holds in force, or all there ever were."""
    found = tx.execute(
        text(f"""select {", ".join(LegalHold.__slots__)} from legal_holds
                 where :all or lifted_at is null order by hold_id"""),
        {"all": lifted},
    )
    return [LegalHold(*row) for row in found]


def let_no_hold_be_set(tx: Connection) -> None:
    """Until the end of this transaction: what is found unheld in it may be destroyed."""
    tx.execute(text("select pg_advisory_xact_lock(hashtextextended('legal-holds', 0))"))


def set_hold(tx: Connection, scope: str, subject: str, note: str) -> int:
    """Keep a batch, all of a client, or a category; in force already, that hold stays. Its number."""
    let_no_hold_be_set(tx)  # by another: what is being begun to be destroyed is begun when we tell of the hold
    values = {"scope": scope, "subject": subject, "note": note}
    found = tx.execute(
        text("""insert into legal_holds (scope, subject, note) values (:scope, :subject, :note)
                on conflict (scope, subject) where lifted_at is null do nothing returning hold_id"""),
        values,
    ).scalar()
    if found is None:
        found = tx.execute(
            text("select hold_id from legal_holds where scope = :scope and subject = :subject and lifted_at is null"),
            values,
        ).scalar_one()
    return int(found)


def lift_hold(tx: Connection, hold_id: int, person: str) -> None:
    """Let go what a hold kept.

    Raises:
        OperationRefused: there is no such hold in force.
    """
    lifted = tx.execute(
        text("""update legal_holds set lifted_by = :p, lifted_at = clock_timestamp()
                where hold_id = :h and lifted_at is null"""),
        {"h": hold_id, "p": person},
    )
    if lifted.rowcount == 0:
        raise OperationRefused("SYS-HOLD-NOT-FOUND", hold=hold_id)


def kept_by(tx: Connection, category: Category, names: Sequence[str]) -> str | None:
    """What keeps these batches of a category where they are: a hold, or a batch that is not finished."""
    query = text("""
        select coalesce(
            (select 'hold-' || h.hold_id from legal_holds h where h.lifted_at is null
               and (h.scope = 'category' and h.subject = :category
                    or h.scope = 'batch' and h.subject = any(:names)
                    or h.scope = 'client' and exists
                       (select from batches b where b.batch_id = any(:names) and b.client = h.subject))
             order by h.hold_id limit 1),
            (select b.batch_id from batches b where b.batch_id = any(:names)
               and b.state not in ('done', 'partial', 'refused', 'cancelled') order by 1 limit 1))""")
    found: str | None = tx.execute(query, {"category": category.value, "names": list(names)}).scalar_one()
    return found


def client_kept_by(tx: Connection, category: Category, client: str) -> str | None:
    """What keeps a client's files that belong to no batch: a hold on the category, the client, or a batch of it."""
    query = text("""
        select 'hold-' || h.hold_id from legal_holds h where h.lifted_at is null
           and (h.scope = 'category' and h.subject = :category or h.scope = 'client' and h.subject = :client
                or h.scope = 'batch' and exists
                   (select from batches b where b.batch_id = h.subject and b.client = :client))
        order by h.hold_id limit 1""")
    found: str | None = tx.execute(query, {"category": category.value, "client": client}).scalar()
    return found


# -- batches -----------------------------------------------------------------------------------------------------------


def batches_over(tx: Connection, category: Category, before: date) -> list[str]:
    """Batches that ended before that day and whose personal data, or files, are still there."""
    found = tx.execute(
        text("""select b.batch_id from batches b
                where b.state in ('done', 'partial', 'refused', 'cancelled') and b.finished_at < :before
                  and not exists (select from emptied_batches x where x.batch_id = b.batch_id
                                  and x.category = :c and x.ended_at is not null)
                order by b.finished_at, b.batch_id"""),
        {"before": before, "c": category.value},
    )
    return [str(name) for (name,) in found]


def begin_to_empty(tx: Connection, category: Category, batch_id: str) -> None:
    """The event stands before anything is gone; begun already is fine."""
    tx.execute(
        text("insert into emptied_batches (batch_id, category) values (:b, :c) on conflict do nothing"),
        {"b": batch_id, "c": category.value},
    )


def end_to_empty(tx: Connection, category: Category, batch_id: str) -> None:
    """It is gone."""
    tx.execute(
        text("""update emptied_batches set ended_at = clock_timestamp()
                where batch_id = :b and category = :c and ended_at is null"""),
        {"b": batch_id, "c": category.value},
    )


def now(tx: Connection) -> datetime:
    """The clock of what is kept by the month."""
    moment: datetime = tx.execute(text("select moment()")).scalar_one()
    return moment


def complete_from(tx: Connection) -> date | None:
    """Batches of before this day have lost events or calls to cold storage; None: nobody has."""
    query = text("select max(month) + interval '1 month' from exports where dropped_at is not null")
    found: datetime | None = tx.execute(query).scalar_one()
    return None if found is None else found.date()
