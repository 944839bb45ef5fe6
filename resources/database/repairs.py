"""Rows that came back mended: which row of which batch each of them repairs, and that a row is repaired once.

A row's root is the row of the client's own file at the beginning of the line: a repaired file may have a repair file
of its own. What is unique is the root among the rows that are taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from domain.issues import RowIssue
from resources.database.import_rows import issues_of

_DIGEST_OCTETS = 32


@dataclass(frozen=True, slots=True)
class Repairable:
    """A row of a batch as far as its repair is concerned. ``cells`` are sealed.

    ``line_number`` is that of its own file, ``root_line`` that of the client's own; ``repaired_by`` is the batch with
    which it was taken; ``is_repair`` says that the row came back in a repaired file itself.
    """

    import_row_number: int
    line_number: int
    accepted: bool
    cells: bytes
    issues: tuple[RowIssue, ...]
    root_batch_id: str
    root_row_number: int
    root_line: int
    repaired_by: str | None
    is_repair: bool


@dataclass(frozen=True, slots=True)
class Repair:
    """A row of a repaired file, and the row of its parent whose mark it carries; ``changed`` are names of columns."""

    import_row_number: int
    parent_row_number: int
    root_batch_id: str
    root_row_number: int
    changed: tuple[str, ...]


def batches_by_digest(tx: Connection, beginnings: Iterable[bytes]) -> dict[str, list[str]]:
    """The batches of files whose SHA-256 begins so, by the beginning in hexadecimal digits."""
    spans = [(begin, begin.ljust(_DIGEST_OCTETS, b"\0"), begin.ljust(_DIGEST_OCTETS, b"\xff")) for begin in beginnings]
    query = text("""select encode(s.begin, 'hex'), array_agg(b.batch_id order by b.batch_id)
                    from unnest(cast(:begin as bytea[]), cast(:low as bytea[]), cast(:high as bytea[]))
                         as s (begin, low, high)
                    join batches b on b.file_sha256 between s.low and s.high group by 1""")
    values = dict(zip(("begin", "low", "high"), map(list, zip(*spans, strict=True)), strict=True)) if spans else {}
    return {row[0]: list(row[1]) for row in tx.execute(query, values)} if spans else {}


_ROOTS = """
    left join repairs m on m.batch_id = r.batch_id and m.import_row_number = r.import_row_number
    left join import_rows t on t.batch_id = m.root_batch_id and t.import_row_number = m.root_row_number
    left join repairs d on d.taken and d.root_batch_id = coalesce(m.root_batch_id, r.batch_id)
         and d.root_row_number = coalesce(m.root_row_number, r.import_row_number)"""
_REPAIRABLE = f"""
    select r.import_row_number, r.line_number, r.state = 'accepted', r.cells, r.issues,
           coalesce(m.root_batch_id, r.batch_id), coalesce(m.root_row_number, r.import_row_number),
           coalesce(t.line_number, r.line_number), d.batch_id, m.batch_id is not null
    from import_rows r {_ROOTS} where r.batch_id = :b"""
# A row that was refused for its mark cannot be mended by mending its cells; one that was erased, by nobody.
_TO_REPAIR = text(f"""{_REPAIRABLE} and r.state = 'rejected' and d.batch_id is null
                      and not exists (select from erased_rows e
                                      where e.batch_id = r.batch_id and e.import_row_number = r.import_row_number)
                      and not jsonb_path_exists(r.issues, '$[*] ? (@.code starts with "ORD-REPAIR-")')
                      order by r.import_row_number""")
_BY_NUMBER = text(f"{_REPAIRABLE} and r.import_row_number = any(:numbers)")
_ROOTED = text(f"""{_REPAIRABLE} and (m.batch_id is not null or d.batch_id is not null)""")


def to_repair(tx: Connection, batch_id: str) -> list[Repairable]:
    """The rejected rows that nobody has repaired yet, in their order."""
    return _found(tx, _TO_REPAIR, b=batch_id)


def by_number(tx: Connection, batch_id: str, numbers: Sequence[int]) -> dict[int, Repairable]:
    """These rows of a batch, as many of them as there are."""
    return {row.import_row_number: row for row in _found(tx, _BY_NUMBER, b=batch_id, numbers=list(numbers))}


def linked(tx: Connection, batch_id: str) -> dict[int, Repairable]:
    """The rows of a batch that repair another, or that were repaired."""
    return {row.import_row_number: row for row in _found(tx, _ROOTED, b=batch_id)}


def _found(tx: Connection, query: object, **values: object) -> list[Repairable]:
    rows = tx.execute(query, values)  # type: ignore[call-overload] # one of the texts above
    return [
        Repairable(number, line, accepted, bytes(cells), issues_of(number, line, issues), *rest)
        for number, line, accepted, cells, issues, *rest in rows
    ]


def record(tx: Connection, batch_id: str, parent_batch_id: str, rows: Sequence[Repair]) -> int:
    """Write down what the stored rows of a batch repair; those that another file repaired meanwhile are rejected.

    The unique index decides, also between two transactions: the second waits for the first. In the order of the roots,
    so that no two wait for each other. The number rejected.
    """
    found = [
        {
            "number": row.import_row_number,
            "parent_row": row.parent_row_number,
            "root_batch": row.root_batch_id,
            "root_row": row.root_row_number,
            "changed": row.changed,
        }
        for row in rows
    ]
    values = {"b": batch_id, "parent": parent_batch_id, "rows": json.dumps(found, ensure_ascii=False)}
    tx.execute(_ADOPT, values)
    tx.execute(_CLAIM, values)
    tx.execute(_WITHOUT_CLAIM, values)
    return tx.execute(_REJECT_WITHOUT_CLAIM, {"b": batch_id}).rowcount


# Of the group of its parent, unless it was given one of its own.
_ADOPT = text("""
    update batches b set parent_batch_id = p.batch_id,
           bulk_import_group = coalesce(b.bulk_import_group, p.bulk_import_group)
    from batches p where b.batch_id = :b and p.batch_id = :parent""")
_INSERT = """
    insert into repairs (batch_id, import_row_number, parent_batch_id, parent_row_number,
                         root_batch_id, root_row_number, changed, taken)
    select :b, f.number, :parent, f.parent_row, f.root_batch, f.root_row, f.changed, {taken}
    from jsonb_to_recordset(cast(:rows as jsonb))
         as f (number integer, parent_row integer, root_batch text, root_row integer, changed text[])
    join import_rows r on r.batch_id = :b and r.import_row_number = f.number
    {where} order by f.root_batch, f.root_row, f.number on conflict {conflict} do nothing"""
_CLAIM = text(
    _INSERT.format(
        taken="true",
        where="where r.state = 'accepted'",
        conflict="(root_batch_id, root_row_number) where taken",
    )
)
_WITHOUT_CLAIM = text(_INSERT.format(taken="false", where="", conflict="(batch_id, import_row_number)"))
# Of several lines that make one order none is taken without the others.
_REJECT_WITHOUT_CLAIM = text("""
    with unclaimed as (
        select r.order_number from import_rows r
        where r.batch_id = :b and r.state = 'accepted'
          and not exists (select from repairs p where p.batch_id = r.batch_id
                          and p.import_row_number = r.import_row_number and p.taken))
    update import_rows r set state = 'rejected',
           issues = jsonb_build_array(jsonb_build_object('column', '', 'code', 'ORD-REPAIR-DONE'))
    where r.batch_id = :b and r.state = 'accepted' and r.order_number in (select order_number from unclaimed)""")


def changes(tx: Connection, batch_id: str) -> list[tuple[Repair, bytes]]:
    """What the rows of a repaired file are made of, in their order, with the sealed cells of the parent's row."""
    query = text("""select p.import_row_number, p.parent_row_number, p.root_batch_id, p.root_row_number, p.changed,
                           r.cells
                    from repairs p join import_rows r on r.batch_id = p.parent_batch_id
                         and r.import_row_number = p.parent_row_number
                    where p.batch_id = :b and cardinality(p.changed) > 0 order by p.import_row_number""")
    return [
        (Repair(number, parent_row, root_batch, root_row, tuple(changed)), bytes(cells))
        for number, parent_row, root_batch, root_row, changed, cells in tx.execute(query, {"b": batch_id})
    ]


def count_repaired(tx: Connection, batch_id: str) -> int:
    """The rejected rows of a batch that were taken with a repaired file since."""
    query = text(f"""select count(*) from import_rows r {_ROOTS}
                     where r.batch_id = :b and r.state = 'rejected' and d.batch_id is not null""")
    return int(tx.execute(query, {"b": batch_id}).scalar_one())


def ancestors(tx: Connection, batch_id: str) -> list[str]:
    """The batches at whose repair files a batch hangs, from its parent to the client's own file."""
    query = text("""with recursive line as (
                        select parent_batch_id, 1 as place from batches where batch_id = :b
                        union all
                        select b.parent_batch_id, line.place + 1
                        from line join batches b on b.batch_id = line.parent_batch_id)
                    select parent_batch_id from line where parent_batch_id is not null order by place""")
    return list(tx.execute(query, {"b": batch_id}).scalars())
