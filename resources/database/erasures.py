"""Persons that were erased: who decided it and why, and which rows were theirs; never whom.

The rows' keys lie outside the database (``resources/sheet_folder.py``), with a list of the erasures that were carried
out. Where a backup brought one of the two back, they do not agree any more: nothing is begun before that is mended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.errors import KeyRefused
from resources.sheet_folder import KeySheets

RowsByBatch = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Erasure:
    """One erasure; ``finished_at`` is None until everything was destroyed."""

    erasure_id: int
    client: str
    note: str
    decided_by: str
    decided_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row of a person on which something still has to be done: what, by its state."""

    batch_id: str
    import_row_number: int
    why: str


def refuse_undone(tx: Connection, sheets: KeySheets) -> None:
    """Nothing, when the database and the folder of keys know of the same erasures.

    Raises:
        KeyRefused: a backup of one of them brought back what was erased.
    """
    if undone(tx, sheets):
        raise KeyRefused("SYS-ERASURES-UNDONE")


def undone(tx: Connection, sheets: KeySheets) -> list[int]:
    """Erasures that only the database, or only the folder of keys, knows to be carried out."""
    known = {erasure.erasure_id: erasure.finished_at is not None for erasure in all_of(tx)}
    carried_out = set(sheets.erasures())
    brought_back = {number for number, finished in known.items() if finished and number not in carried_out}
    return sorted(brought_back | (carried_out - set(known)))


def all_of(tx: Connection) -> list[Erasure]:
    """Every erasure, the oldest first."""
    rows = tx.execute(
        text("select erasure_id, client, note, decided_by, decided_at, finished_at from erasures order by erasure_id")
    )
    return [Erasure(*row) for row in rows]


def decide(tx: Connection, client: str, note: str, rows: RowsByBatch) -> int:
    """Write the decision down; from now on the rows are erased, whatever is left to do. Its number."""
    tx.execute(text("select pg_advisory_xact_lock(hashtextextended('erasures', 0))"))
    number = int(tx.execute(text("select coalesce(max(erasure_id), 0) + 1 from erasures")).scalar_one())
    _insert(tx, number, client, note, rows)
    return number


def record_again(tx: Connection, number: int, rows: RowsByBatch) -> None:
    """An erasure of which only the folder of keys knows: the database is older than it."""
    _insert(tx, number, "-", "SYS-ERASURES-UNDONE", rows)


def _insert(tx: Connection, number: int, client: str, note: str, rows: RowsByBatch) -> None:
    query = text("insert into erasures (erasure_id, client, note) values (:n, :client, :note)")
    tx.execute(query, {"n": number, "client": client, "note": note})
    _insert_rows(tx, number, rows)


def _insert_rows(tx: Connection, number: int, rows: RowsByBatch) -> None:
    pairs = [(batch, row) for batch, numbers in rows.items() for row in numbers]
    tx.execute(
        text("""insert into erased_rows (batch_id, import_row_number, erasure_id)
                select b, r, :n from unnest(cast(:batches as text[]), cast(:rows as integer[])) as e (b, r)
                on conflict do nothing"""),
        {"n": number, "batches": [batch for batch, _ in pairs], "rows": [row for _, row in pairs]},
    )


def rows_of(tx: Connection, number: int) -> dict[str, list[int]]:
    """The rows of one erasure by batch."""
    query = text("""select batch_id, array_agg(import_row_number order by import_row_number) from erased_rows
                    where erasure_id = :n group by batch_id order by batch_id""")
    return {batch: list(rows) for batch, rows in tx.execute(query, {"n": number})}


def rows_of_batch(tx: Connection, batch_id: str) -> list[int]:
    """The erased rows of one batch."""
    query = text("select import_row_number from erased_rows where batch_id = :b order by import_row_number")
    return list(tx.execute(query, {"b": batch_id}).scalars())


def finish(tx: Connection, number: int) -> None:
    """Everything was destroyed."""
    tx.execute(
        text("update erasures set finished_at = clock_timestamp() where erasure_id = :n and finished_at is null"),
        {"n": number},
    )


# -- what belongs to a person -----------------------------------------------------------------------------------------


def batches_of(tx: Connection, client: str) -> list[str]:
    """The batches of a client whose rows were stored."""
    query = text("""select batch_id from batches b where client = :c and exists
                    (select from import_rows r where r.batch_id = b.batch_id) order by batch_id""")
    return list(tx.execute(query, {"c": client}).scalars())


def sealed_rows(tx: Connection, batch_id: str, rows: Iterable[int]) -> list[tuple[int, bytes]]:
    """Number and sealed cells of these rows."""
    query = text("""select import_row_number, cells from import_rows
                    where batch_id = :b and import_row_number = any(:rows) order by import_row_number""")
    return [(row, bytes(cells)) for row, cells in tx.execute(query, {"b": batch_id, "rows": list(rows)})]


def rows_without_own_key(tx: Connection, batch_id: str | None, at_most: int) -> list[tuple[str, int, bytes]]:
    """Rows of before there were keys of rows: batch, number and sealed cells, locked until the end of ``tx``."""
    query = text("""select batch_id, import_row_number, cells from import_rows
                    where length(cells) > 0 and get_byte(cells, 0) = 1 and (cast(:b as text) is null or batch_id = :b)
                    order by batch_id, import_row_number limit :n for update""")
    return [(b, row, bytes(cells)) for b, row, cells in tx.execute(query, {"b": batch_id, "n": at_most})]


def rows_by_master_key(tx: Connection) -> dict[str, int]:
    """How many rows of before there were keys of rows each master key sealed."""
    query = text("""select encode(substring(cells from 2 for 4), 'hex'), count(*) from import_rows
                    where length(cells) > 0 and get_byte(cells, 0) = 1 group by 1""")
    return {key_id: int(count) for key_id, count in tx.execute(query)}


def rows_under_master_key(tx: Connection, batch_id: str) -> list[tuple[int, bytes]]:
    """Number and sealed cells of a batch's rows of before there were keys of rows."""
    query = text("""select import_row_number, cells from import_rows
                    where batch_id = :b and length(cells) > 0 and get_byte(cells, 0) = 1 order by import_row_number""")
    return [(row, bytes(cells)) for row, cells in tx.execute(query, {"b": batch_id})]


def lines_of_erased(tx: Connection, batch_id: str) -> list[int]:
    """The lines of its file at which the erased rows of a batch begin."""
    query = text("""select r.line_number from erased_rows e join import_rows r using (batch_id, import_row_number)
                    where e.batch_id = :b order by 1""")
    return list(tx.execute(query, {"b": batch_id}).scalars())


def held(tx: Connection, batch_ids: Sequence[str]) -> list[str]:
    """Those of the batches that are under a legal hold: by themselves, by their client, or with all personal data."""
    query = text("""select b.batch_id from batches b where b.batch_id = any(:ids) and exists (
                        select from legal_holds h where h.lifted_at is null and (
                            h.scope = 'batch' and h.subject = b.batch_id or h.scope = 'client' and h.subject = b.client
                            or h.scope = 'category' and h.subject in ('personal', 'files')))
                    order by b.batch_id""")
    return list(tx.execute(query, {"ids": list(batch_ids)}).scalars())


def put_cells(tx: Connection, batch_id: str, sealed: Mapping[int, bytes]) -> None:
    """The same cells under another key."""
    tx.execute(
        text("""update import_rows r set cells = n.cells
                from unnest(cast(:rows as integer[]), cast(:cells as bytea[])) as n (row, cells)
                where r.batch_id = :b and r.import_row_number = n.row"""),
        {"b": batch_id, "rows": list(sealed), "cells": list(sealed.values())},
    )


# The other lines of the same order; what a row was repaired to, or from; and so on until nothing is added.
_RELATED = text("""
    with recursive own as (
        select b as batch_id, r as row from unnest(cast(:batches as text[]), cast(:rows as integer[])) as e (b, r)
        union
        select n.batch_id, n.row from own cross join lateral (
            select i.batch_id, i.import_row_number as row from import_rows i, import_rows o
            where o.batch_id = own.batch_id and o.import_row_number = own.row and i.batch_id = o.batch_id
              and coalesce(i.order_row, i.import_row_number) = coalesce(o.order_row, o.import_row_number)
              and i.state = 'accepted' and o.state = 'accepted'
            union all select p.parent_batch_id, p.parent_row_number from repairs p
            where p.batch_id = own.batch_id and p.import_row_number = own.row
            union all select p.batch_id, p.import_row_number from repairs p
            where p.parent_batch_id = own.batch_id and p.parent_row_number = own.row) n)
    select batch_id, array_agg(row order by row) from own group by batch_id order by batch_id""")


def with_related(tx: Connection, rows: RowsByBatch) -> dict[str, list[int]]:
    """These rows, and those that tell of the same order."""
    pairs = [(batch, row) for batch, numbers in rows.items() for row in numbers]
    values = {"batches": [batch for batch, _ in pairs], "rows": [row for _, row in pairs]}
    return {batch: list(numbers) for batch, numbers in tx.execute(_RELATED, values)}


_UNFINISHED = text("""
    select e.b, e.r, case
        when b.state not in ('done', 'partial', 'cancelled', 'refused') then 'batch ' || b.state
        when p.state not in ('done', 'rejected', 'cancelled') then 'payment ' || p.state
        when n.state not in ('done', 'rejected', 'cancelled') then 'mail ' || n.state end as why
    from unnest(cast(:batches as text[]), cast(:rows as integer[])) as e (b, r)
    join batches b on b.batch_id = e.b
    join import_rows i on i.batch_id = e.b and i.import_row_number = e.r
    left join orders o on o.batch_id = e.b and o.import_row_number = coalesce(i.order_row, e.r)
    left join payments p on p.order_id = o.order_id
    left join notifications n on n.order_id = o.order_id
    order by 1, 2""")


def unfinished(tx: Connection, rows: RowsByBatch) -> list[OpenRow]:
    """Those of the rows on which something still has to be done."""
    pairs = [(batch, row) for batch, numbers in rows.items() for row in numbers]
    values: dict[str, Any] = {"batches": [batch for batch, _ in pairs], "rows": [row for _, row in pairs]}
    return [OpenRow(batch, row, why) for batch, row, why in tx.execute(_UNFINISHED, values) if why is not None]


def forget_fingerprints(tx: Connection, batch_id: str, rows: Sequence[int]) -> None:
    """What was computed from the cells and could confirm a guess: likeness, and the digest of the mail's request.

    What was read into columns in the clear besides (item, order number, day, yen) tells of an order, not of a person.
    """
    values = {"b": batch_id, "rows": list(rows)}
    tx.execute(
        text("""update import_rows set likeness = null
                where batch_id = :b and import_row_number = any(:rows) and likeness is not null"""),
        values,
    )
    tx.execute(
        text("""update orders set likeness = null
                where batch_id = :b and import_row_number = any(:rows) and likeness is not null"""),
        values,
    )
    tx.execute(
        text("""update notifications set request_sha256 = decode(repeat('00', 32), 'hex')
                where batch_id = :b and import_row_number = any(:rows)
                  and request_sha256 <> decode(repeat('00', 32), 'hex')"""),
        values,
    )
