"""Bring a database to the newest schema. Running it again does nothing; a failure changes nothing."""

from __future__ import annotations

from pathlib import Path

from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from domain.errors import InvariantBroken, SettingRefused
from resources.database.connection import SCHEMA, connect_once

_MIGRATIONS = Path(__file__).parent / "migrations"
_OLDEST_SERVER = 16
_NO_RIGHT = "42501"


def upgrade(url: str) -> None:
    """Upgrade the database at ``url`` (``postgresql://...``). Where it is the newest, no right to change it is needed.

    Raises:
        DatabaseUnavailable: nothing answers there.
        SettingRefused: the server is older than PostgreSQL 16 (R-30), its legacy tables cannot be extended, or our
            login may not change the schema (SYS-DATABASE-RIGHTS).
    """
    try:
        _upgrade(url)
    except InvariantBroken as error:
        if error.facts.get("sqlstate") == _NO_RIGHT:
            raise SettingRefused("SYS-DATABASE-RIGHTS") from None
        raise


def _upgrade(url: str) -> None:
    with connect_once(url) as connection:
        version = connection.execute(text("show server_version_num")).scalar_one()
        if int(version) // 10_000 < _OLDEST_SERVER:
            raise SettingRefused("SYS-DATABASE-TOO-OLD", oldest=_OLDEST_SERVER)
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        newest = _revision(connection) == ScriptDirectory.from_config(config).get_current_head()
        connection.rollback()
        if not newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        with connection.begin():
            _make_months(connection)


def _make_months(connection: Connection) -> None:
    """Without the partitions of this month nothing could be written down: at each start they are looked for."""
    missing = connection.execute(
        text(f"""select exists (
                     select from unnest(array['audit_events', 'effect_attempts']) t, generate_series(0, 1) n
                     where to_regclass('{SCHEMA}.' || t || to_char({SCHEMA}.moment() at time zone 'UTC'
                                       + make_interval(months => n), '"_"YYYY"_"MM')) is null)""")
    ).scalar_one()
    if missing:
        connection.execute(text(f"select {SCHEMA}.make_partitions({SCHEMA}.moment(), 3)"))


def _revision(connection: Connection) -> str | None:
    """What the database has; None where it has nothing of ours."""
    if connection.execute(text(f"select to_regclass('{SCHEMA}.alembic_version') is null")).scalar_one():
        return None
    found = connection.execute(text(f"select version_num from {SCHEMA}.alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


def sql_file(name: str) -> str:
    """The statements of one file of ``migrations/sql``."""
    return (_MIGRATIONS / "sql" / name).read_text(encoding="utf-8")


def run_sql(name: str) -> None:
    """Run one file of ``migrations/sql`` inside the migration's transaction."""
    script = sql_file(name)
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(script)


def refuse_fractions_of_a_yen() -> None:
    """The legacy amounts are FLOAT, ours whole yen (R-16): refuse to round anybody's money.

    Raises:
        SettingRefused: with the number of such rows; a person has to mend them first.
    """
    for table in ("orders", "payments"):
        fractions = op.get_bind().execute(text(_NO_WHOLE_YEN.format(table=table))).scalar_one()
        if fractions:
            raise SettingRefused("SYS-LEGACY-FRACTIONS", table=table, rows=fractions)


# Not a number, infinite and beyond any integer are not between the two either.
_NO_WHOLE_YEN = """select count(*) from {table}
                   where amount <> trunc(amount) or amount not between -2147483648 and 2147483647"""
