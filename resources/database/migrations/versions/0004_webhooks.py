"""The inbox of the webhook, and the steps that its events may take (R-17)."""

from resources.database.migrate import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the inbox and the transitions."""
    run_sql("0004_webhooks.sql")
