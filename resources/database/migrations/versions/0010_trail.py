"""The complete trail: every change leaves its event, events are checked as they come, heads are anchored (R-45)."""

from resources.database.migrate import run_sql

revision = "0010"
down_revision = "0007"


def upgrade() -> None:
    """What chains are made of, what leaves events, what is kept beside, and how all of it is verified."""
    run_sql("0010_chains.sql")
    run_sql("0010_subjects.sql")
    run_sql("0010_lineage.sql")
    run_sql("0010_system.sql")
    run_sql("0010_verify.sql")
    run_sql("0010_protect.sql")
