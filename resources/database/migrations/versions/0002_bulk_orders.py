"""The batch beside the single order: tables, states and trail (R-27 to R-31, R-39, R-45)."""

from resources.database.migrate import refuse_fractions_of_a_yen, run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Extend the legacy tables in place and add ours."""
    refuse_fractions_of_a_yen()
    run_sql("0002_tables.sql")
    run_sql("0002_states.sql")
    run_sql("0002_audit.sql")
