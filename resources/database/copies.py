"""What a backup says of its database, and the places into which one is restored: made, compared, and given its name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from domain.errors import InvariantBroken, OperationRefused, TerminalError
from resources.database.connection import SCHEMA, translated
from resources.database.run_lease import plain

_RESTORING = "_restoring"


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a database, as far as it is compared after a restoration. Amounts are yen."""

    installation: str
    revision: str
    batches: int
    orders: int
    orders_jpy: int
    payments_done: int
    payments_done_jpy: int
    mails_done: int
    events: int
    last_anchor: int
    keys: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {**asdict(self), "keys": list(self.keys)}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the database, open for others to read as long as its transaction is."""

    name: str
    at: datetime
    content: Content
    roles: tuple[str, ...]  # of the server, that something here belongs or is granted to


_CONTENT = """
    select (select installation_id::text from installation), (select version_num from alembic_version),
           (select count(*) from batches),
           (select count(*) from orders), (select coalesce(sum(amount), 0) from orders),
           (select count(*) from payments where state = 'done'),
           (select coalesce(sum(amount), 0) from payments where state = 'done'),
           (select count(*) from notifications where state = 'done'),
           (select coalesce(sum(seq), 0)::bigint from audit_heads),
           (select coalesce(max(number), 0) from audit_anchors),
           (select coalesce(array_agg(key_id order by key_id), '{}') from encryption_keys)"""


_ROLES = """
    select distinct r.rolname from pg_shdepend d join pg_roles r on r.oid = d.refobjid
    where d.refclassid = 'pg_authid'::regclass
      and d.dbid = (select oid from pg_database where datname = current_database()) order by 1"""


@contextmanager
def snapshot(url: str) -> Iterator[Snapshot]:
    """One moment of the database. ``at`` is not after it: whatever is later is not in it."""
    with _connected(url) as connection:
        connection.execute("begin isolation level repeatable read read only")
        row = connection.execute("select pg_export_snapshot(), transaction_timestamp()").fetchone()
        assert row is not None
        roles = tuple(name for (name,) in connection.execute(_ROLES).fetchall())
        yield Snapshot(row[0], row[1], _content(connection), roles)


def content(url: str) -> Content:
    """What is in it now."""
    with _connected(url) as connection:
        return _content(connection)


def _content(connection: psycopg.Connection[tuple[Any, ...]]) -> Content:
    row = connection.execute(_CONTENT).fetchone()
    assert row is not None
    values = dict(zip(Content.__slots__, row, strict=True))
    return Content(**(values | {"keys": tuple(values["keys"])}))


def refuse_used(url: str) -> None:
    """Let nothing be restored over a database that anybody has worked with.

    Raises:
        OperationRefused: SYS-RESTORE-TARGET-USED.
    """
    with _connected(url) as connection:
        for table in (f"{SCHEMA}.batches", "orders", "payments"):
            there = connection.execute("select to_regclass(%s) is not null", (table,)).fetchone() == (True,)
            if there and connection.execute(f"select exists (select from {table})".encode()).fetchone() == (True,):
                raise OperationRefused("SYS-RESTORE-TARGET-USED")


def make_beside(url: str, roles: Sequence[str]) -> str:
    """An empty database beside that of ``url``; what a killed restoration left goes first.

    ``roles`` are made where the server has none of the name, without a login: who may log in is none of a backup's.
    """
    name = f"{_name_of(url)}{_RESTORING}"
    with _connected(url) as connection:
        known = {found for (found,) in connection.execute("select rolname from pg_roles").fetchall()}
        for role in sorted(set(roles) - known):
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
        connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
    return _with_name(url, name)


def compare(url: str, said: dict[str, Any]) -> None:
    """Whether a restored database holds what the backup's manifest says.

    Raises:
        InvariantBroken: SYS-RESTORE-DIFFERS with the first figure that does not agree.
    """
    found = content(url).as_dict()
    for name, value in said.items():
        if found.get(name) != value:
            raise InvariantBroken("SYS-RESTORE-DIFFERS", figure=name)


def take_its_name(url: str, beside: str) -> None:
    """Put the restored database in the place of the unused one. Killed in between, restoring again begins anew.

    Raises:
        DatabaseUnavailable: somebody is connected to one of them.
    """
    name = _name_of(url)
    with _connected(_with_name(url, "postgres")) as connection:
        connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(name)))
        before, after = sql.Identifier(_name_of(beside)), sql.Identifier(name)
        connection.execute(sql.SQL("alter database {} rename to {}").format(before, after))


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    options = f"-c search_path={SCHEMA},public -c timezone=UTC"
    with translated(), psycopg.connect(plain(url), autocommit=True, connect_timeout=5, options=options) as connection:
        yield connection


def _name_of(url: str) -> str:
    name = conninfo_to_dict(plain(url)).get("dbname")
    if not name:
        raise TerminalError("SYS-RESTORE-FAILED", program="-")
    return str(name)


def _with_name(url: str, name: str) -> str:
    return re.sub(r"^(postgres(?:ql)?://[^/?]*)(?:/[^?]*)?", rf"\g<1>/{name}", plain(url))
