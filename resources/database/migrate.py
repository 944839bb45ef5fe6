"""Bring a database to the newest schema. Running it again does nothing; a failure changes nothing."""

from __future__ import annotations

from pathlib import Path

from alembic import command, op
from alembic.config import Config
from sqlalchemy import text

from domain.errors import SettingRefused
from resources.database.connection import connect_once

_MIGRATIONS = Path(__file__).parent / "migrations"
_OLDEST_SERVER = 16


def upgrade(url: str) -> None:
    """Upgrade the database at ``url`` (``postgresql://...``).

    Raises:
        DatabaseUnavailable: nothing answers there.
        SettingRefused: the server is older than PostgreSQL 16 (R-30), or its legacy tables cannot be extended.
    """
    with connect_once(url) as connection:
        version = connection.execute(text("show server_version_num")).scalar_one()
        if int(version) // 10_000 < _OLDEST_SERVER:
            raise SettingRefused("SYS-DATABASE-TOO-OLD", oldest=_OLDEST_SERVER)
        connection.rollback()
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def run_sql(name: str) -> None:
    """Run one file of ``migrations/sql`` inside the migration's transaction."""
    script = (_MIGRATIONS / "sql" / name).read_text(encoding="utf-8")
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
