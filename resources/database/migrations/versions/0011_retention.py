"""What a restored database no longer knows; the trail and the calls by the month, holds, exports (R-47)."""

from resources.database.migrate import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """What a restoration leaves behind; what grows without end, month by month; what may go, and what may not."""
    run_sql("0011_restorations.sql")
    run_sql("0011_partitions.sql")
    run_sql("0011_retention.sql")
    run_sql("0011_verify.sql")
