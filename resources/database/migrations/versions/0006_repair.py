"""Repaired files: the batch they belong to, and the row that each of their rows repairs."""

from resources.database.migrate import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """A table and a column; batches of before have no parent."""
    run_sql("0006_repair.sql")
