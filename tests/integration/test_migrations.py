"""A database is brought to the newest schema: an empty one, and the customer's own with all its rows in place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain.errors import SettingRefused
from resources.database import migrate

ROOT = Path(__file__).resolve().parents[2]
LEGACY = Path(migrate.__file__).parent / "migrations" / "sql" / "0001_legacy.sql"
NEWEST = max(path.stem[:4] for path in (LEGACY.parents[1] / "versions").glob("0*.py"))
FILL = """
    insert into orders (customer_name, customer_email, item_name, quantity, amount, status)
    values ('Taro', 'taro@example.jp', 'apple', 1, 1500.0, 'PAID'),
           ('Hanako', 'h@example.jp', null, null, 50, 'PENDING'),
           ('Jiro', 'j@example.jp', 'pear', 3, 2000000, 'CANCELLED');
    insert into payments (order_id, amount, status) values (1, 1500.0, 'COMPLETED'), (3, 2000000, 'REFUNDED');
"""


def run(url: str, *statements: str, search_path: str = "public") -> list[tuple[Any, ...]]:
    """As the customer's own programs do: they know nothing of our schema."""
    with psycopg.connect(url, autocommit=True, options=f"-c search_path={search_path}") as connection:
        cursor = None
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor is not None and cursor.description else []


def shape(url: str) -> list[tuple[Any, ...]]:
    """All that a migration makes, in words."""
    return run(
        url,
        """select 'column', table_schema, table_name, column_name, data_type, is_nullable, column_default
           from information_schema.columns where table_schema in ('public', 'bulk_orders')
           union all select 'index', schemaname, tablename, indexname, indexdef, null, null from pg_indexes
           where schemaname in ('public', 'bulk_orders')
           union all
           select 'constraint', n.nspname, conrelid::regclass::text, conname, pg_get_constraintdef(c.oid), null, null
           from pg_constraint c join pg_namespace n on n.oid = connamespace where n.nspname in ('public', 'bulk_orders')
           union all
           select 'trigger', n.nspname, tgrelid::regclass::text, tgname, pg_get_triggerdef(t.oid), tgenabled::text, null
           from pg_trigger t join pg_class r on r.oid = tgrelid join pg_namespace n on n.oid = relnamespace
           where not tgisinternal
           union all select 'function', n.nspname, proname, prosrc, null, null, null
           from pg_proc p join pg_namespace n on n.oid = pronamespace where n.nspname = 'bulk_orders'
           order by 1, 2, 3, 4, 5""",
        search_path="bulk_orders,public",
    )


@pytest.fixture
def legacy_url(empty_database_url: str) -> str:
    """The order system as the customer has it, with rows."""
    run(empty_database_url, LEGACY.read_text(encoding="utf-8"), FILL)
    return empty_database_url


def test_an_empty_database_gets_everything(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)

    tables = run(
        empty_database_url, "select table_name from information_schema.tables where table_schema = 'bulk_orders'"
    )
    assert {name for (name,) in tables} >= {"batches", "import_rows", "notifications", "audit_events", "rate_permits"}
    everywhere = "bulk_orders,public"
    assert run(empty_database_url, "select count(*) from orders, payments", search_path=everywhere) == [(0,)]


def test_running_twice_changes_nothing(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    before = shape(empty_database_url)
    migrate.upgrade(empty_database_url)

    assert len(before) > 100
    assert shape(empty_database_url) == before


def test_rows_that_were_there_stay_as_they_are(legacy_url: str) -> None:
    columns = "order_id, customer_name, customer_email, item_name, quantity, amount, currency, status"
    query = f"select {columns}, created_at, updated_at from orders order by 1"
    paid = "select payment_id, order_id, amount, currency, status, created_at from payments order by 1"
    orders, payments = run(legacy_url, query), run(legacy_url, paid)
    migrate.upgrade(legacy_url)

    assert run(legacy_url, query) == orders
    assert run(legacy_url, paid) == payments
    assert run(legacy_url, "select count(*) from orders where batch_id is not null") == [(0,)]


def test_the_legacy_tables_stay_where_they_are_and_are_not_made_a_second_time(legacy_url: str) -> None:
    migrate.upgrade(legacy_url)

    where = "select table_schema from information_schema.tables where table_name in ('orders', 'payments')"
    assert run(legacy_url, where) == [("public",), ("public",)]


@pytest.mark.parametrize("search_path", ["public", "bulk_orders,public", '"$user",public'])
def test_the_single_order_system_goes_on_as_before(legacy_url: str, search_path: str) -> None:
    """R-39: its inserts and updates, in a session that has never heard of us."""
    migrate.upgrade(legacy_url)
    order = run(
        legacy_url,
        "insert into orders (customer_name, customer_email, item_name, quantity, amount)"
        " values ('Saburo', 's@example.jp', 'plum', 2, 700.0) returning order_id",
        search_path=search_path,
    )[0][0]
    for statement in (
        f"insert into payments (order_id, amount) values ({order}, 700.0)",
        f"update payments set status = 'COMPLETED' where order_id = {order}",
        f"update orders set status = 'PAID', updated_at = now() where order_id = {order}",
        "update orders set status = 'PAID' where order_id = 2",
        "update payments set status = 'COMPLETED' where order_id = 3",
        "update orders set amount = 50 where order_id = 2",
    ):
        run(legacy_url, statement, search_path=search_path)
    shown = f"""select o.status, p.status, o.currency, p.amount
                from orders o join payments p using (order_id) where order_id = {order}"""

    assert run(legacy_url, shown, search_path=search_path) == [("PAID", "COMPLETED", "JPY", 700)]
    assert run(legacy_url, "select count(*) from bulk_orders.audit_events") == [(0,)]
    assert (
        run(legacy_url, f"delete from payments where order_id = {order}; delete from orders where order_id = {order}")
        == []
    )


@pytest.mark.parametrize(
    "statement",
    [
        "insert into orders (customer_email, amount) values ('s@example.jp', 700)",
        "insert into orders (customer_name, amount) values ('Saburo', 700)",
        "insert into orders (customer_name, customer_email) values ('Saburo', 's@example.jp')",
        "insert into payments (order_id, amount) values (1, 700)",
        "insert into payments (order_id, amount) values (999, 700)",
    ],
)
def test_a_single_order_is_checked_as_strictly_as_before(legacy_url: str, statement: str) -> None:
    """What we loosened for orders of a batch holds for these."""
    migrate.upgrade(legacy_url)

    with pytest.raises(psycopg.IntegrityError):
        run(legacy_url, statement)


@pytest.mark.parametrize(
    ("table", "column", "amount"),
    [
        *(("orders", "order_id", amount) for amount in ("100.5", "3e9", "'NaN'", "'-Infinity'")),
        ("payments", "payment_id", "0.000001"),
    ],
)
def test_fractions_of_a_yen_are_refused_and_nothing_is_changed(
    legacy_url: str, table: str, column: str, amount: str
) -> None:
    """Nobody's money is rounded; a person has to look."""
    run(legacy_url, f"update {table} set amount = {amount} where {column} = 1")
    before = shape(legacy_url)

    with pytest.raises(SettingRefused) as refused:
        migrate.upgrade(legacy_url)

    assert (refused.value.code, refused.value.facts) == ("SYS-LEGACY-FRACTIONS", {"table": table, "rows": 1})
    assert shape(legacy_url) == before
    assert run(legacy_url, "select count(*) from pg_namespace where nspname = 'bulk_orders'") == [(0,)]
    run(legacy_url, f"update {table} set amount = 100 where {column} = 1")
    migrate.upgrade(legacy_url)


def test_two_upgrades_at_once_are_one_after_the_other(legacy_url: str) -> None:
    """Two processes: `up` and `import` started in the same second."""
    code = (
        "import sys; from resources.database import migrate as m; print(1, flush=True); input(); m.upgrade(sys.argv[1])"
    )
    pipe = subprocess.PIPE
    starts = [
        subprocess.Popen([sys.executable, "-c", code, legacy_url], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(2)
    ]
    for start in starts:
        assert start.stdout is not None
        start.stdout.readline()
    for start in starts:
        assert start.stdin is not None
        start.stdin.write(b"\n")
        start.stdin.flush()
    said = [start.communicate(timeout=30)[1] for start in starts]

    assert [(start.returncode, text) for start, text in zip(starts, said, strict=True)] == [(0, b""), (0, b"")]
    assert run(legacy_url, "select version_num from bulk_orders.alembic_version") == [(NEWEST,)]


def test_a_filled_database_gets_the_same_schema_as_an_empty_one(legacy_url: str, database_url: str) -> None:
    migrate.upgrade(legacy_url)

    def ours(url: str) -> list[tuple[Any, ...]]:
        """Apart from where the legacy tables are: on a new machine in our schema."""
        found = [
            tuple(str(part).replace("bulk_orders.", "").replace("public.", "") for part in row) for row in shape(url)
        ]
        return sorted(row[:1] + row[2:] for row in found)

    assert ours(legacy_url) == ours(database_url)
