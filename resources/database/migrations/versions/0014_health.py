"""The watch over the service levels: watchers, alerts and their outbox, verifications, acknowledged alarms (R-52)."""

from resources.database.migrate import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Tables of their own; nothing else changes."""
    run_sql("0014_health.sql")
