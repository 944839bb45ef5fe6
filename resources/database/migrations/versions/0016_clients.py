"""A refused batch may be given to another client."""

from resources.database.migrate import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """The file lay in the wrong client's folder; refused as a whole, it has neither row nor order."""
    run_sql("0016_clients.sql")
