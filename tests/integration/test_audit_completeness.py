"""Nothing changes without its event, and no hand reaches the trail: not the owner's, not one that plays replica."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from domain.errors import InvariantBroken
from resources.database import migrate, runs
from resources.database.runs import RunStart
from resources.database.trail import GUARDS, guards_missing
from tests.integration.batches import Installation, order_row, services, work_through

OPTIONS = "-c search_path=bulk_orders,public"


@pytest.fixture
def finished(installation: Installation, payments: Any, notifications: Any) -> tuple[Installation, str]:
    """A batch with a payment, a mail and a call behind it."""
    batch = installation.ordered([order_row(), order_row(), order_row(email="none")])
    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    return installation, batch


def last_events(installation: Installation, count: int) -> list[tuple[str, str | None]]:
    query = "select event, reason from audit_events order by at desc, seq desc limit %s"
    return installation.execute(query, count)[::-1]


CHANGES = {
    "update batches set source_name = 'other'": ("batch:changed", "source_name"),
    "update batches set reading = '{}', file_rows = 9": ("batch:changed", "file_rows reading"),
    "update batches set code_version = 'other', started_by = 'x'": ("batch:changed", "code_version started_by"),
    "update import_rows set line_number = line_number + 100": ("row:changed", "line_number"),
    "update import_rows set cells = '\\x00', quantity = 7 where state = 'accepted'": ("row:changed", "cells quantity"),
    "update orders set amount = amount + 1": ("order:changed", "amount"),
    "update orders set item_name = 'x', updated_at = now()": ("order:changed", "item_name updated_at"),
    "update payments set idempotency_key = idempotency_key || 'x'": ("payment:changed", "idempotency_key"),
    "update payments set remote_id = remote_id || 'x'": ("payment:changed", "remote_id"),
    "update notifications set request_sha256 = sha256('x')": ("notification:changed", "request_sha256"),
    "update state_transitions set to_state = to_state": ("rule:update", None),
    "delete from state_transitions where subject = 'batch'": ("rule:delete", None),
    "update encryption_keys set check_value = 'x'": ("key:changed", None),
    "insert into breakers (service, state, reason) values ('payments', 'open', 'PAY-X')": (
        "breaker:open",
        "payments PAY-X",
    ),
    "insert into settings_in_force (variable, value) values ('A', '1')": ("setting:changed", "A"),
    "insert into client_profiles (client, version, content) values ('shop', 'v1', '{}')": (
        "profile:changed",
        "shop v1",
    ),
}


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_every_change_leaves_its_event(finished: tuple[Installation, str], role: str) -> None:
    """Each by a hand in a session of its own, also one that switches ordinary triggers off; then all taken back."""
    installation, _ = finished
    installation.execute("insert into encryption_keys (key_id, check_value) values ('k', 'x')")
    left = {}
    with psycopg.connect(installation.url, options=f"{OPTIONS} -c session_replication_role={role}") as connection:
        for change in CHANGES:
            before = connection.execute(b"select count(*) from audit_events").fetchall()
            assert connection.execute(change.encode()).rowcount > 0, change
            query = "select event, reason from audit_events order by at desc, seq desc limit 1"
            left[change] = connection.execute(query.encode()).fetchall()[0]
            assert connection.execute(b"select count(*) from audit_events").fetchall() != before, change
            connection.rollback()

    reasons = {change: reason for change, (_, reason) in CHANGES.items()}
    assert {change: event for change, (event, _) in left.items()} == {c: event for c, (event, _) in CHANGES.items()}
    assert {c: reason for c, (_, reason) in left.items() if reasons[c]} == {c: r for c, r in reasons.items() if r}


def test_a_statement_that_changes_nothing_leaves_no_event(finished: tuple[Installation, str]) -> None:
    installation, _ = finished
    before = installation.execute("select count(*) from audit_events")
    for table in ("batches", "orders", "payments", "notifications", "import_rows"):
        installation.execute(f"update {table} set batch_id = batch_id")

    assert installation.execute("select count(*) from audit_events") == before


REFUSED = [
    "delete from orders",
    "delete from payments",
    "delete from notifications",
    "delete from import_rows",
    "delete from batches",
    "truncate orders cascade",
    "truncate payments",
    "truncate notifications",
    "update effect_attempts set outcome = 'x'",
    "delete from effect_attempts",
    "truncate effect_attempts",
    "update decisions set note = 'x'",
    "update audit_heads set seq = seq - 1",
    "update audit_heads set seq = seq + 1",
    "update audit_heads set hash = sha256(hash)",
    "delete from audit_heads",
    "truncate audit_heads",
    "insert into audit_heads values ('other', 7, sha256('x'))",
    "insert into audit_events select chain, seq + 1000, at, actor, run_id, code_version, event, reason, subjects,"
    " amount_jpy, prev_hash, hash, facts from audit_events where seq = 1",
    "delete from batch_runs",
    "delete from configurations",
    "update client_profiles set version = 'x'",
    "update audit_anchors set body = ''",
    "delete from settings_in_force",
    "update installation set installation_id = gen_random_uuid()",
]


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_no_hand_reaches_what_must_stay(finished: tuple[Installation, str], role: str) -> None:
    """As the owner and superuser."""
    installation, batch = finished
    installation.execute("insert into decisions (batch_id, decision) values (%s, 'pause')", batch)
    with installation.database.begin() as tx:
        runs.note_start(tx, RunStart("r", batch, "process_batch", "test", "{}", "1"), {"A": "1"})
    refusals = {}
    with psycopg.connect(installation.url, options=f"{OPTIONS} -c session_replication_role={role}") as connection:
        for change in REFUSED:
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(change.encode())
            refusals[change] = str(refused.value.sqlstate)[:4]
            connection.rollback()

    assert refusals == dict.fromkeys(REFUSED, "BO00")


def test_single_orders_may_come_and_go(installation: Installation) -> None:
    """R-39: the order system deletes its own orders as it always did."""
    installation.execute("insert into orders (customer_name, customer_email, amount) values ('n', 'e', 500)")
    installation.execute("insert into payments (order_id, amount) select order_id, amount from orders")
    installation.execute("truncate payments")
    installation.execute("delete from orders")

    assert installation.execute("select count(*) from orders") == [(0,)]
    assert installation.execute("select count(*) from audit_events") == [(0,)]


def test_every_guard_of_the_list_is_on_in_a_new_database(installation: Installation) -> None:
    """The list is what ``audit verify`` looks for: one that names too little would miss a guard that is off."""
    query = """select r.relname || '.' || t.tgname from pg_trigger t join pg_class r on r.oid = t.tgrelid
               join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
               where n.nspname = 'bulk_orders' and not t.tgisinternal and t.tgenabled = 'A' and not r.relispartition"""

    assert {name for (name,) in installation.execute(query)} == GUARDS
    with installation.database.begin() as tx:
        assert guards_missing(tx) == []


UNTOLD = {
    "alembic_version": "the migrations' own; each is an event by what it changes",
    "audit_events": "the trail",
    "audit_heads": "the trail's ends",
    "breaker_windows": "counters of a minute",
    "configurations": "named by its content, and told of by the event of the run",
    "exported_chains": "told of by the event of its export",
    "installation": "written once, before there is a trail",
    "rate_permits": "when the next call may leave",
    "watch_days": "how long somebody looked",
    "watchers": "when somebody last looked",
    "webhook_answers": "counters of a minute",
}
_INSERT, _DELETE, _UPDATE, _TRUNCATE = 4, 8, 16, 32


def test_every_table_tells_of_its_changes_or_refuses_them(installation: Installation) -> None:
    """Also one that somebody adds later: its name is either here, with the reason, or it has its guards."""
    query = """select c.relname, coalesce(bit_or(t.tgtype::integer) filter (where t.tgenabled = 'A'), 0)
               from pg_class c left join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
                    and t.tgfoid in (select p.oid from pg_proc p where p.proname ~ '^(audit|refuse)')
               where c.relkind in ('r', 'p') and not c.relispartition
                 and (c.relnamespace = 'bulk_orders'::regnamespace
                      or c.oid in ('orders'::regclass, 'payments'::regclass))
               group by c.relname"""
    every = _INSERT | _DELETE | _UPDATE | _TRUNCATE
    open_ = {name: every & ~kinds for name, kinds in installation.execute(query) if every & ~kinds}

    assert {name: missing for name, missing in open_.items() if name not in UNTOLD} == {}


def test_a_guard_that_is_switched_off_is_missed_and_stands_in_the_trail(installation: Installation) -> None:
    installation.execute("alter table payments disable trigger audit")
    with installation.database.begin() as tx:
        missing = guards_missing(tx)

    assert missing == ["payments.audit"]
    assert last_events(installation, 1) == [("schema:alter-table", "bulk_orders.payments")]
    installation.execute("drop trigger audit_state on payments")
    assert last_events(installation, 1) == [("schema:drop-trigger", "audit_state on bulk_orders.payments")]


def test_a_run_is_noted_with_who_launched_it_and_its_settings(installation: Installation) -> None:
    batch = installation.validated([order_row()])
    start = RunStart("run-9", batch, "process_batch", "cli:somebody", '{"ops":{}}', "1.0")
    for _ in range(2):  # told twice: a commit that was never answered
        with installation.database.begin() as tx:
            runs.note_start(tx, start, {"BULK_ORDERS_MAX_ROWS": "7", "DATABASE_URL": None})
    with installation.database.begin() as tx:
        [noted] = runs.of_batch(tx, batch)
        [found] = runs.of_run(tx, "run-9")

    assert noted == found
    assert (noted.launched_by, noted.job, noted.run_config) == ("cli:somebody", "process_batch", '{"ops":{}}')
    assert noted.settings == {"BULK_ORDERS_MAX_ROWS": "7", "DATABASE_URL": None}
    assert last_events(installation, 1) == [("run:started", "process_batch")]


def test_only_a_setting_that_is_another_leaves_an_event(installation: Installation) -> None:
    for settings in ({"A": "1", "B": None}, {"A": "1", "B": None}, {"A": "2", "B": None}, {"A": "2", "B": "x"}):
        with installation.database.begin() as tx:
            runs.note_settings(tx, settings)

    query = "select reason from audit_events where chain = 'system' and event = 'setting:changed' order by seq"
    assert [reason for (reason,) in installation.execute(query)] == ["A", "B", "A", "B"]


def test_a_file_read_by_another_profile_is_noticed(installation: Installation) -> None:
    batch = installation.validated([order_row()])
    for version in ("v1", "v1", "v2", None):
        installation.execute(
            "update batches set reading = jsonb_build_object('profile_version', %s::text, 'at', clock_timestamp()) "
            "where batch_id = %s",
            version,
            batch,
        )

    query = "select reason from audit_events where event = 'profile:changed' order by seq"
    assert [reason for (reason,) in installation.execute(query)] == ["shop v1", "shop v2", "shop -"]


def test_without_its_check_no_event_is_written(installation: Installation) -> None:
    """Not even that of the switching-off, which therefore fails; and past that, no change of a batch goes through."""
    installation.ordered(1)
    off = "alter table audit_events disable trigger audit_check"
    with pytest.raises(psycopg.errors.NotNullViolation):
        installation.execute(off)
    installation.execute(f"set event_triggers = off; {off}")
    with pytest.raises(psycopg.errors.NotNullViolation):
        installation.execute("update orders set item_name = 'x'")
    installation.execute("alter table audit_events enable always trigger audit_check")
    installation.execute("update orders set item_name = 'x'")

    assert installation.execute("select * from audit_verify_all()") == []


@pytest.fixture
def unprivileged(empty_database_url: str) -> Iterator[str]:
    """A database whose owner is no superuser, migrated by that owner: as a customer's server gives it."""
    name = f"owner_{os.urandom(4).hex()}"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(f"create role {name} login password 'p'".encode())
        connection.execute(f"alter database {database} owner to {name}".encode())
        connection.execute(f"grant all on schema public to {name}".encode())
    url = make_url(empty_database_url).set(username=name, password="p").render_as_string(hide_password=False)
    migrate.upgrade(url)
    yield url
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"reassign owned by {name} to current_user".encode())
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())


def test_an_owner_without_privileges_works_and_may_not_touch_the_trail(unprivileged: str, tmp_path: Any) -> None:
    """By privilege, before any trigger is asked."""
    installation = Installation(unprivileged, tmp_path)
    batch = installation.ordered(2)
    refusals = []
    with psycopg.connect(unprivileged, autocommit=True, options=OPTIONS) as connection:
        for change in (
            "update audit_events set actor = 'x'",
            "delete from audit_events",
            "truncate audit_events",
            "delete from audit_heads",
            "update decisions set note = 'x'",
            "delete from audit_anchors",
        ):
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(change.encode())
            refusals.append(refused.value.sqlstate)
    installation.database.dispose()

    assert refusals == ["42501"] * len(refusals)
    assert installation.execute("select * from audit_verify(%s)", batch) == []
    assert installation.execute("select * from audit_verify_all()") == []


def test_a_role_that_may_only_work_writes_events_and_cannot_forge_one(installation: Installation) -> None:
    """Its changes leave events, because the trail is written as its owner; the tables of the trail are closed to it."""
    batch = installation.ordered(1)
    with psycopg.connect(installation.url, options=OPTIONS) as connection:
        for statement in (
            "create role worker_of_tests",
            "grant usage on schema bulk_orders to worker_of_tests",
            "grant select, update on batches, orders to worker_of_tests",
            "set local role worker_of_tests",
        ):
            connection.execute(statement.encode())
        connection.execute(b"update orders set item_name = 'x'")
        connection.execute(b"savepoint s")
        for forged in ("insert into audit_events select * from audit_events", "select * from audit_heads"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forged.encode())
            connection.execute(b"rollback to savepoint s")
        connection.execute(b"reset role")
        query = "select event, actor like 'database:%%' from audit_events where chain = %s order by seq desc limit 1"
        last = connection.execute(query.encode(), (batch,)).fetchall()
        connection.rollback()

    assert last == [("order:changed", True)]


def test_a_forged_event_that_even_hashes_right_needs_its_head(installation: Installation) -> None:
    """Whoever gets past the check, by switching it off, leaves an event behind the head."""
    installation.ordered(1)
    with pytest.raises(InvariantBroken, match="BO002"), installation.database.begin() as tx:
        tx.exec_driver_sql(
            """insert into audit_events
               select chain, seq + 1, at, actor, run_id, code_version, event, reason, subjects, amount_jpy, hash,
                      audit_hash(chain, seq + 1, at, actor, run_id, code_version, event, reason, subjects, 1, hash),
                      null
               from audit_events order by seq desc limit 1"""
        )
