"""The legacy order system, made only where it is absent."""

from alembic import op
from sqlalchemy import text

from resources.database.migrate import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make `orders` and `payments` where neither our schema nor the search path has them."""
    absent = (
        op.get_bind().execute(text("select to_regclass('orders') is null and to_regclass('payments') is null")).scalar()
    )
    if absent:
        run_sql("0001_legacy.sql")
