"""A batch knows the services that it began with."""

from resources.database.migrate import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Batches of before are bound to the services with which they are taken up next."""
    run_sql("0017_services.sql")
