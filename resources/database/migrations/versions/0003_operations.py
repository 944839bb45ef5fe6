"""What people do with a batch: redrive, review, pause, continue, cancel, approve."""

from resources.database.migrate import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """States and steps that only a person causes, and the table of what they decided; shared counts of a breaker."""
    run_sql("0003_operations.sql")
    run_sql("0003_breakers.sql")
