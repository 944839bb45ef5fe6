"""Several lines that are one order, and orders that resemble each other."""

from resources.database.migrate import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Columns that rows and orders of before do not have, and a table."""
    run_sql("0007_lines.sql")
