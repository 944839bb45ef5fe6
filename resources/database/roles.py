"""The roles of the database: owner, application, auditor, health. ``migrations/sql/grants.sql`` says what each may do.

Where our login may not grant, nothing of this happens, and the database works as one role: docs/access.md.
"""

from __future__ import annotations

import secrets

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from domain.errors import DatabaseUnavailable
from resources.database.run_lease import plain

OWNER = "bulk_orders_owner"
APPLICATION = "bulk_orders_app"
AUDITOR = "bulk_orders_auditor"
HEALTH = "bulk_orders_health"
APPLICATION_LOGIN = "bulk_orders_application"
"""Our own server's login of the application; on another server it has the name that its administrator gives it."""


def grant(connection: Connection, statements: str) -> None:
    """Run ``statements`` (grants.sql) inside the transaction of the upgrade."""
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(statements)


_SCHEMA_TRIGGERS = text("select evtname from pg_event_trigger where evtname like 'bulk\\_orders\\_audit\\_%'")
_TELLS_RULES = text("""select exists (select from pg_trigger where tgname = 'audit'
                                      and tgrelid = to_regclass('bulk_orders.state_transitions'))""")


def tell_schema_changes(connection: Connection, on: bool) -> None:
    """Whether changes of the schema and of its rules leave events; off only while a new database is made."""
    names = connection.execute(_SCHEMA_TRIGGERS).scalars().all()
    schema = [f'alter event trigger "{name}" {"enable" if on else "disable"}' for name in names]
    rules = f"alter table bulk_orders.state_transitions {'enable always' if on else 'disable'} trigger audit"
    about_rules = [rules] if connection.execute(_TELLS_RULES).scalar_one() else []
    # The change of the rules' own trigger is one of the schema: it happens while that is not told.
    for statement in [*about_rules, *schema] if on else [*schema, *about_rules]:
        connection.execute(text(statement))


def new_password() -> str:
    """Random, 192 bits."""
    return secrets.token_urlsafe(24)


def can_log_in(url: str) -> bool:
    """Whether this login works, at this moment."""
    try:
        psycopg.connect(plain(url), connect_timeout=5).close()
    except psycopg.Error:
        return False
    return True


def make_application_login(owner_url: str, password: str) -> None:
    """The login of the application on our own server, with this password and the rights of its role alone.

    Raises:
        DatabaseUnavailable: the server does not answer.
    """
    try:
        with psycopg.connect(plain(owner_url), autocommit=True, connect_timeout=5) as connection:
            # Sent as SCRAM's verifier: the password itself is in no statement.
            verifier = connection.pgconn.encrypt_password(password.encode(), APPLICATION_LOGIN.encode()).decode()
            known = connection.execute("select from pg_roles where rolname = %s", (APPLICATION_LOGIN,)).fetchone()
            word = sql.SQL("create" if known is None else "alter")
            connection.execute(
                sql.SQL("{} role {} login nosuperuser nocreatedb nocreaterole noreplication password {}").format(
                    word, sql.Identifier(APPLICATION_LOGIN), sql.Literal(verifier)
                )
            )
            connection.execute(f"grant {APPLICATION} to {APPLICATION_LOGIN}")
    except psycopg.Error:
        raise DatabaseUnavailable("SYS-DATABASE-UNREACHABLE") from None
