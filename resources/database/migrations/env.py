"""Alembic's entry: one transaction for all that is missing, one migration at a time over all processes."""

from alembic import context
from sqlalchemy import text

from resources.database.connection import SCHEMA

_ONE_AT_A_TIME = 0x62756C6B  # any number, the same everywhere

connection = context.config.attributes["connection"]
with connection.begin():
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
    connection.execute(text(f"create schema if not exists {SCHEMA}"))
    context.configure(connection=connection, version_table_schema=SCHEMA)
    context.run_migrations()
