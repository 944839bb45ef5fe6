"""All SQL: connections, tables, migrations, queries by subject."""
