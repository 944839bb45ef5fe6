"""What each role of the database may do: the application cannot alter the trail, the auditor reads, and no cells."""

from __future__ import annotations

import psycopg
import pytest

from domain.errors import SettingRefused
from resources.database import migrate, roles
from resources.database.connection import Actor
from resources.database.database import Database
from tests.integration.batches import Installation, order_row

NO_RIGHT = "42501"
ORIGINS = "('orders', 'payments')"


def as_role(installation: Installation, role: str, statement: str) -> str:
    """The SQLSTATE of the refusal of a statement, or nothing when it is allowed; nothing of it stays."""
    options = "-c search_path=bulk_orders,public"
    with psycopg.connect(installation.url, options=options) as connection:
        connection.execute(f"set session authorization {role}".encode())
        try:
            connection.execute(statement.encode())
        except psycopg.Error as refused:
            return refused.sqlstate or "?"
        finally:
            connection.rollback()
    return ""


def application_url(installation: Installation) -> str:
    """The login of the application, as the launcher makes it."""
    password = roles.new_password()
    roles.make_application_login(installation.url, password)
    return f"postgresql://{roles.APPLICATION_LOGIN}:{password}@{installation.url.partition('@')[2]}"


NOT_THE_APPLICATIONS = (
    "update audit_events set actor = 'nobody'",
    "delete from audit_events",
    "truncate audit_events",
    "insert into audit_events select * from audit_events",
    "update audit_heads set seq = seq + 1",
    "insert into audit_heads values ('x', 0, decode(repeat('00', 32), 'hex'))",
    "delete from audit_heads",
    "alter table audit_events disable trigger all",
    "alter table audit_events add column x int",
    "drop trigger audit_check on audit_events",
    "drop table audit_events cascade",
    "set session_replication_role = replica",
    "alter event trigger bulk_orders_audit_schema disable",
    "create or replace function audit_check() returns trigger language plpgsql as 'begin return null; end'",
    "create table bulk_orders.mine (a int)",
    "grant bulk_orders_owner to bulk_orders_app",
    "set role bulk_orders_owner",
    "update decisions set note = 'other words'",
    "delete from decisions",
    "update effect_attempts set outcome = 'done'",
    "insert into state_transitions values ('effect', 'done', 'planned')",
    "update audit_anchors set body = ''",
    "delete from batches",
    "delete from import_rows",
    "truncate payments cascade",
)


def test_the_application_cannot_alter_the_trail_nor_what_guards_it(installation: Installation) -> None:
    """By right, before any trigger is asked; the trigger would refuse too."""
    said = {one: as_role(installation, roles.APPLICATION, one) for one in NOT_THE_APPLICATIONS}

    assert {one: code for one, code in said.items() if code != NO_RIGHT} == {}


def test_the_application_cannot_write_into_a_partition_past_its_table(installation: Installation) -> None:
    """The trail's months are tables of their own, now or later: none of them has more rights than the whole."""
    found = installation.execute(
        """select i.inhrelid::regclass::text from pg_inherits i
           where i.inhparent in ('bulk_orders.audit_events'::regclass, 'bulk_orders.effect_attempts'::regclass)"""
    )

    for (partition,) in found:
        statement = f"insert into {partition} select * from {partition}"
        assert as_role(installation, roles.APPLICATION, statement) == NO_RIGHT
        assert as_role(installation, roles.AUDITOR, f"delete from {partition}") == NO_RIGHT


NOT_THE_AUDITORS = (
    "select cells from import_rows",
    "select * from import_rows",
    "select customer_name from orders",
    "select customer_email from orders",
    "select check_value from encryption_keys",
    "insert into decisions (batch_id, decision) values ('x', 'pause')",
    "update batches set state = 'done'",
    "delete from orders",
    "select audit_append('system', 'a:b', null, array[]::integer[], null)",
    "create table bulk_orders.mine (a int)",
)


def test_the_auditor_reads_no_cell_and_changes_nothing(installation: Installation) -> None:
    said = {one: as_role(installation, roles.AUDITOR, one) for one in NOT_THE_AUDITORS}

    assert {one: code for one, code in said.items() if code != NO_RIGHT} == {}


ALLOWED = (
    (roles.AUDITOR, "select * from audit_events, audit_heads, audit_anchors"),
    (roles.AUDITOR, "select * from audit_verify_all()"),
    (roles.AUDITOR, "select * from decisions, batches, effect_attempts"),
    (roles.AUDITOR, "select order_id, amount, status from orders"),
    (roles.HEALTH, "select state, count(*) from payments group by state"),
    (roles.HEALTH, "select * from breakers, rate_permits, audit_heads"),
)


def test_what_a_role_is_for_it_may_do(installation: Installation) -> None:
    assert {(role, one): code for role, one in ALLOWED if (code := as_role(installation, role, one))} == {}


def test_the_role_of_health_sees_counts_and_no_rows_of_files(installation: Installation) -> None:
    for table in ["import_rows", "orders", "decisions", "audit_events", "encryption_keys"]:
        assert as_role(installation, roles.HEALTH, f"select * from {table}") == NO_RIGHT


def test_the_rights_of_every_table_were_thought_of(installation: Installation) -> None:
    """A table that `grants.sql` does not list is open to the application alone: somebody has to decide."""
    script = migrate.sql_file("grants.sql")
    tables = installation.execute(
        "select relname from pg_class where relnamespace = 'bulk_orders'::regnamespace"
        " and relkind in ('r', 'p') and not relispartition"
    )

    assert [name for (name,) in tables if f"('{name}'," not in script] == []


def test_nobody_works_as_the_owner_of_tables_and_functions(installation: Installation) -> None:
    """Were they the superuser's, the functions that write the trail would run with all rights there are."""
    owners = installation.execute(
        f"""select distinct relowner::regrole::text from pg_class
            where relnamespace = 'bulk_orders'::regnamespace and relkind in ('r', 'p') and relname not in {ORIGINS}
            union
            select distinct proowner::regrole::text from pg_proc where pronamespace = 'bulk_orders'::regnamespace"""
    )
    [[can_log_in]] = installation.execute("select rolcanlogin from pg_roles where rolname = %s", roles.OWNER)

    assert owners == [(roles.OWNER,)]
    assert not can_log_in


def test_a_program_of_single_orders_needs_no_right_on_our_tables(installation: Installation) -> None:
    """R-39, with a login of its own: what its changes leave in our tables, our functions write."""
    installation.execute("do $$ begin create role single_orders; exception when duplicate_object then null; end $$")
    installation.execute("grant select, insert, update, delete on orders, payments to single_orders")
    installation.execute("grant usage on all sequences in schema bulk_orders to single_orders")
    installation.execute("grant usage on schema bulk_orders to single_orders")
    insert = "insert into orders (customer_name, customer_email, amount) values ('Saburo', 's@example.jp', 700)"

    assert (
        as_role(installation, "single_orders", f"{insert}; update orders set status = 'PAID'; delete from orders") == ""
    )
    assert as_role(installation, "single_orders", "delete from audit_events") == NO_RIGHT


def test_a_batch_is_worked_on_with_the_rights_of_the_application(installation: Installation) -> None:
    """Registered, validated, made into orders, decided about: everything the application needs it has."""
    installation.database.dispose()
    installation.database = Database(application_url(installation), Actor("test", "run-1", "0.0"))

    batch = installation.ordered([order_row(), order_row(amount="1"), order_row()])

    assert installation.execute("select count(*) from orders where batch_id = %s", batch) == [(2,)]
    assert installation.execute("select count(*) > 3 from audit_events where chain = %s", batch) == [(True,)]


def test_the_newest_schema_needs_no_right_to_be_found_newest(installation: Installation) -> None:
    """The application starts with its own login; only what is really missing needs the owner's."""
    application = application_url(installation)

    migrate.upgrade(application)
    installation.execute("update alembic_version set version_num = '0012'")
    with pytest.raises(SettingRefused) as refused:
        migrate.upgrade(application)

    assert refused.value.code == "SYS-DATABASE-RIGHTS"
