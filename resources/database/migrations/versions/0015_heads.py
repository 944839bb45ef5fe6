"""An event of the trail moves the head of its chain by itself."""

from resources.database.migrate import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Three functions of the trail; without triggers of other hands they let through the same (decision 0030)."""
    run_sql("0015_heads.sql")
