"""Alembic migrations. The schema is written in SQL, in `sql/`; a revision only says when."""
