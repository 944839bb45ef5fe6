"""Connections to the database, and the one place where its errors become ours.

Every session names who acts (actor, run, code version): the trail's triggers read it. Messages of the driver carry
customers' values and are never passed on (R-43).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.pool import NullPool

from domain.errors import BulkOrdersError, DatabaseUnavailable, InvariantBroken, SettingRefused

SCHEMA = "bulk_orders"

_CONNECT_ARGS = {
    # Ours first, then the customer's: the legacy tables stay where they are.
    "options": f"-c search_path={SCHEMA},public -c timezone=UTC"
    # When our machine vanishes, the server notices in seconds and lets go of what we hold.
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
    "connect_timeout": 5,
    "application_name": "bulk-orders",
    # A dead peer is noticed in seconds: a lease must not outlive its holder for long.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# Classes of SQLSTATE after which the same work may succeed later: connection, resources, operator, system.
_TRANSIENT_CLASSES = ("08", "53", "57", "58", "40", "55")
# The session is of no more use, though it lives: its server has become a standby, or a migration changed what its
# prepared statements give. Another session, perhaps at another server, is.
_SESSION_USELESS = ("25006", "0A000")

# How a server says that it does not let us in, in the languages of our users; a failed connection has no SQLSTATE in
# libpq. Whatever else it says (no connection left, shutting down) is no reason to give up.
_TURNED_AWAY = (
    *("authentication failed", "does not exist", "pg_hba.conf", "not permitted to log in", "permission denied"),
    *("認証に失敗", "存在しません", "許可され", "拒否され"),
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: written into every event of the trail. ``name`` is a role or account, e.g. ``cli:root``, ``sensor``."""

    name: str
    run_id: str = ""
    code_version: str = ""


def make_engine(url: str, actor: Actor, pool_size: int = 4) -> Engine:
    """An engine whose sessions act as ``actor``. Nothing is connected yet; parameters never appear in messages.

    Raises:
        SettingRefused: ``url`` is no PostgreSQL address.
    """
    return _named(
        create_engine(
            _driver_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=_CONNECT_ARGS,
        ),
        actor,
    )


@contextmanager
def connect_once(url: str, actor: Actor | None = None) -> Iterator[Connection]:
    """One connection that is not pooled, closed at the end; errors are ours."""
    engine = create_engine(_driver_url(url), poolclass=NullPool, hide_parameters=True, connect_args=_CONNECT_ARGS)
    with translated(), _named(engine, actor or Actor(f"system:{os.getpid()}")).connect() as connection:
        yield connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours; their texts, which hold customers' values, end here.

    Raises:
        DatabaseUnavailable: no connection, or the server asks to come again later.
        InvariantBroken: a constraint or a rule of the database was hit: by SQLSTATE and name only.
    """
    try:
        yield
    except BulkOrdersError:
        raise
    except DBAPIError as error:
        raise _ours(error.orig, error.connection_invalidated) from None
    except psycopg.Error as error:  # COPY goes past SQLAlchemy
        raise _ours(error) from None
    except PoolExhausted:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None
    except SQLAlchemyError as error:
        raise InvariantBroken("SYS-DATABASE-REFUSED", sqlstate=type(error).__name__, constraint="-") from None


def _ours(error: BaseException | None, connection_lost: bool = False) -> BulkOrdersError:
    diagnosis = getattr(error, "diag", None)
    sqlstate = getattr(error, "sqlstate", None) or ""
    if sqlstate.startswith(("28", "3D")) or (not sqlstate and _was_turned_away(error)):
        return SettingRefused("SYS-DATABASE-LOGIN")
    if connection_lost or not sqlstate or sqlstate.startswith((*_TRANSIENT_CLASSES, *_SESSION_USELESS)):
        return DatabaseUnavailable("SYS-DATABASE-UNREACHABLE")
    constraint = getattr(diagnosis, "constraint_name", None) or "-"
    return InvariantBroken("SYS-DATABASE-REFUSED", sqlstate=sqlstate, constraint=constraint)


def _was_turned_away(error: BaseException | None) -> bool:
    """Whether the server asked who we are and does not let us in, or asked for a password that we do not have."""
    refused = getattr(error, "pgconn", None)
    if refused is None or not refused.used_password:
        return False
    said = refused.error_message.decode(errors="replace")
    return bool(refused.needs_password) or any(words in said for words in _TURNED_AWAY)


def _driver_url(url: str) -> str:
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):  # ValueError: the port is no number
        raise SettingRefused(
            "SYS-SETTING-INVALID", variable="DATABASE_URL", expected="postgresql://user:password@host/name"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise SettingRefused(
            "SYS-SETTING-INVALID", variable="DATABASE_URL", expected="postgresql://user:password@host/name"
        )
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _named(engine: Engine, actor: Actor) -> Engine:
    @event.listens_for(engine, "connect")
    def name_the_actor(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a psycopg connection, typed as object by SQLAlchemy
        cursor.execute(
            "select set_config('bulk_orders.actor', %s, false), set_config('bulk_orders.run_id', %s, false),"
            " set_config('bulk_orders.code_version', %s, false)",
            (actor.name, actor.run_id, actor.code_version),
        )
        connection.commit()  # type: ignore[attr-defined]  # the same

    @event.listens_for(engine, "handle_error")
    def give_up_useless_sessions(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) in _SESSION_USELESS:
            context.is_disconnect = True

    return engine
