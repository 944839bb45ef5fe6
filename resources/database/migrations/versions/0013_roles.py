"""Database roles with the least privilege each: owner, application, auditor, health (R-46)."""

from resources.database.migrate import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """The roles; what they may do is granted at the end of every upgrade."""
    run_sql("0013_roles.sql")
