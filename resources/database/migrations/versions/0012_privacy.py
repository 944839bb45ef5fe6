"""Personal data: keys that outlive a rotation, and the erasure of persons (R-47, R-48)."""

from resources.database.migrate import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """The keys of comparisons, and who was erased by whose decision."""
    run_sql("0012_privacy.sql")
