"""An event of the trail moves the head of its chain by itself."""

from resources.database.migrate import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Three functions of the trail; what they let through stays the same."""
    run_sql("0015_heads.sql")
