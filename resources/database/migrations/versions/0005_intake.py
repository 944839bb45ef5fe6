"""How a file was read: with the batch as a whole, and with each row whose cells were read otherwise than written."""

from resources.database.migrate import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Two columns; rows and batches of before have none."""
    run_sql("0005_intake.sql")
