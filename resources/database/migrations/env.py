"""Alembic's entry: one transaction for all that is missing, one migration at a time over all processes.

When anything was missing, the roles of the database are granted anew in the same transaction. A new database begins
with an empty trail: what makes it leaves no events; later changes of the schema do.
"""

from typing import Any

from alembic import context
from sqlalchemy import text

from resources.database import roles
from resources.database.connection import SCHEMA
from resources.database.migrate import sql_file

_ONE_AT_A_TIME = 0x62756C6B  # any number, the same everywhere

connection = context.config.attributes["connection"]
applied: list[Any] = []


def _note(*_: Any, **step: Any) -> None:
    applied.append(step)
    if is_new:
        roles.tell_schema_changes(connection, False)


with connection.begin():
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
    is_new = connection.execute(text(f"select to_regclass('{SCHEMA}.alembic_version') is null")).scalar_one()
    if connection.execute(text(f"select to_regnamespace('{SCHEMA}') is null")).scalar_one():
        connection.execute(text(f"create schema {SCHEMA}"))
    context.configure(connection=connection, version_table_schema=SCHEMA, on_version_apply=_note)
    context.run_migrations()
    if applied and context.get_context().get_current_revision() == context.get_head_revision():
        roles.grant(connection, sql_file("grants.sql"))  # which name what only the newest schema has
    if applied and is_new:
        roles.tell_schema_changes(connection, True)
