"""The driver's errors end at the border: they become ours, and what they say about customers goes no further."""

from __future__ import annotations

import logging
import traceback

import psycopg
import pyarrow as arrow
import pytest
from sqlalchemy import Connection, make_url, text

from domain.errors import BulkOrdersError, DatabaseUnavailable, InvariantBroken, SettingRefused
from resources.database import keys, row_storage
from resources.database.connection import Actor, connect_once
from resources.database.database import Database
from resources.encryption import Vault
from tests.integration.batches import Installation

CANARY = "canary@example.jp"


def insert_taken(tx: Connection) -> None:
    insert = text("insert into encryption_keys values (:v, '')")
    tx.execute(insert, {"v": CANARY})
    tx.execute(insert, {"v": CANARY})


def bad_cast(tx: Connection) -> None:
    tx.execute(text("select cast(:v as integer)"), {"v": CANARY})


def bad_check(tx: Connection) -> None:
    insert = """insert into batches (batch_id, file_sha256, source_name, client, code_version, started_by)
                values (:v, '', '', '', '', '')"""
    tx.execute(text(insert), {"v": CANARY})


def raised_by_a_function(tx: Connection) -> None:
    tx.execute(text(f"do $$ begin raise exception '{CANARY}' using detail = '{CANARY}'; end $$"))


def bad_statement(tx: Connection) -> None:
    tx.execute(text(f"select nothing from '{CANARY}'"))


def missing_parameter(tx: Connection) -> None:
    tx.execute(text("select :v, :w"), {"v": CANARY})


def bad_copy(tx: Connection) -> None:
    copied(tx, import_row_number=0)


def unfit_value_in_copy(tx: Connection) -> None:
    copied(tx, import_row_number=1, item_code=f"{CANARY}\0")


def copied(tx: Connection, **row: object) -> None:
    """A row that breaks a rule of its table, or of which a value is none."""
    whole = {"line_number": 1, "state": "rejected", "cells": CANARY.encode(), "order_number": CANARY, **row}
    row_storage.store(tx, "none", [arrow.RecordBatch.from_pylist([whole], schema=row_storage.STORED_ROW)], lambda: None)


WORKS = [
    insert_taken,
    bad_cast,
    bad_check,
    raised_by_a_function,
    bad_statement,
    missing_parameter,
    bad_copy,
    unfit_value_in_copy,
]


def test_an_error_says_which_rule_was_hit_and_nothing_of_the_value(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for work in WORKS:
        with pytest.raises(InvariantBroken) as refused, installation.database.begin() as tx:
            work(tx)
        told = "".join(traceback.format_exception(refused.value)) + repr(refused.value.facts) + caplog.text

        assert refused.value.code == "SYS-DATABASE-REFUSED", work.__name__
        assert set(refused.value.facts) == {"sqlstate", "constraint"}
        assert refused.value.__suppress_context__
        assert CANARY not in told, work.__name__


def test_a_rule_is_named(installation: Installation) -> None:
    with pytest.raises(InvariantBroken) as refused, installation.database.begin() as tx:
        insert_taken(tx)

    assert refused.value.facts == {"sqlstate": "23505", "constraint": "encryption_keys_pkey"}


def test_an_exception_of_ours_passes_as_it_is(installation: Installation) -> None:
    ours = SettingRefused("SYS-COMMAND-LINE")
    with pytest.raises(SettingRefused) as passed, installation.database.begin():
        raise ours

    assert passed.value is ours


def test_a_failed_transaction_leaves_nothing(installation: Installation) -> None:
    with pytest.raises(InvariantBroken), installation.database.begin() as tx:
        insert_taken(tx)

    assert installation.execute("select count(*) from encryption_keys") == [(0,)]


def changed(url: str, **parts: object) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


def failure_at(url: str) -> BulkOrdersError:
    with pytest.raises(BulkOrdersError) as refused:
        with connect_once(url) as connection:
            connection.execute(text("select 1"))
    with pytest.raises(type(refused.value)), Database(url, Actor("test")).begin():
        pass
    told = "".join(traceback.format_exception(refused.value))
    assert "pw-canary" not in told
    assert refused.value.__suppress_context__
    return refused.value


def test_a_database_that_does_not_answer_is_worth_trying_again(database_url: str) -> None:
    error = failure_at(changed(database_url, port=9))

    assert isinstance(error, DatabaseUnavailable)
    assert error.code == "SYS-DATABASE-UNREACHABLE"


def test_a_wrong_password_is_a_setting(database_url: str) -> None:
    """Trying again unchanged would lock the account, not open it."""
    error = failure_at(changed(database_url, password="pw-canary"))

    assert isinstance(error, SettingRefused)
    assert error.code == "SYS-DATABASE-LOGIN"


def test_a_missing_password_is_a_setting(database_url: str) -> None:
    address = make_url(database_url)
    without = f"postgresql://{address.username}@{address.host}:{address.port}/{address.database}"

    assert failure_at(without).code == "SYS-DATABASE-LOGIN"


def test_a_server_without_a_free_connection_is_worth_trying_again(installation: Installation) -> None:
    """It says so only after the password, as a refusal without SQLSTATE."""
    login = "full_test_login"
    installation.execute(f"drop role if exists {login}")
    installation.execute(f"create role {login} login password 'x' connection limit 0")
    try:
        error = failure_at(changed(installation.url, username=login, password="x"))
    finally:
        installation.execute(f"drop role {login}")

    assert isinstance(error, DatabaseUnavailable)
    assert error.code == "SYS-DATABASE-UNREACHABLE"


def test_a_database_that_is_not_there_is_a_setting(database_url: str) -> None:
    error = failure_at(changed(database_url, database="no_such_database"))

    assert error.code == "SYS-DATABASE-LOGIN"


def test_a_host_nobody_knows_is_worth_trying_again(database_url: str) -> None:
    error = failure_at(changed(database_url, host="no-such-host.invalid"))

    assert error.code == "SYS-DATABASE-UNREACHABLE"


@pytest.mark.parametrize(
    "url", ["", "nonsense pw-canary", "mysql://u:pw-canary@h/d", "sqlite:///x", "postgresql://h:port/d"]
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingRefused) as refused, connect_once(url):
        pass

    assert refused.value.facts["variable"] == "DATABASE_URL"
    assert "canary" not in str(refused.value)


def cut(installation: Installation, tx: Connection) -> None:
    """End the session behind a connection, as an administrator or a lost network does."""
    installation.execute("select pg_terminate_backend(%s)", tx.execute(text("select pg_backend_pid()")).scalar_one())
    tx.execute(text("select 1"))


def test_a_connection_that_is_cut_is_worth_trying_again(installation: Installation) -> None:
    with pytest.raises(DatabaseUnavailable) as refused, installation.database.begin() as tx:
        cut(installation, tx)
    assert refused.value.code == "SYS-DATABASE-UNREACHABLE"

    with installation.database.begin() as tx:
        assert tx.execute(text("select 1")).scalar_one() == 1


def test_a_hold_that_is_lost_writes_nothing_more(installation: Installation) -> None:
    """Its session has ended, and so has its lock: another may be at work already."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        with pytest.raises(DatabaseUnavailable), hold.begin() as tx:
            cut(installation, tx)
        with pytest.raises(DatabaseUnavailable), hold.begin() as tx:  # it must not get another session
            tx.execute(text("select 1"))
        with installation.database.hold_batch(batch, wait_seconds=2.0) as next_hold:
            assert next_hold.epoch == hold.epoch + 1


def session(tx: Connection) -> int:
    return int(tx.execute(text("select pg_backend_pid()")).scalar_one())


def advisory_locks(installation: Installation) -> int:
    query = """select count(*) from pg_locks where locktype = 'advisory'
               and database = (select oid from pg_database where datname = current_database())"""
    return int(installation.execute(query)[0][0])


def test_a_hold_that_ends_well_gives_its_session_back_without_the_lock(installation: Installation) -> None:
    """And without a way to write on: the session may be somebody else's by then."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold, hold.begin() as tx:
        held_by = session(tx)
    with installation.database.begin() as tx:
        used_again = session(tx)

    assert (used_again, advisory_locks(installation)) == (held_by, 0)
    with pytest.raises(DatabaseUnavailable) as refused, hold.begin():
        pass
    assert refused.value.code == "SYS-HOLD-LOST"


def test_a_hold_that_ends_badly_closes_its_session(installation: Installation) -> None:
    """Whatever state it is in: nobody else may get it, and the lock goes with it."""
    batch = installation.ordered(1)
    sessions = []

    def fail_while_holding() -> None:
        with installation.database.hold_batch(batch) as hold, hold.begin() as tx:
            sessions.append(session(tx))
            raise KeyError

    with pytest.raises(KeyError):
        fail_while_holding()
    with installation.database.hold_batch(batch, wait_seconds=2.0) as hold, hold.begin() as tx:
        assert session(tx) not in sessions


def test_a_hold_whose_session_is_cut_after_the_last_write_ends_well(installation: Installation) -> None:
    """All is written, and the lock is gone with the session."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        with hold.begin() as tx:
            held_by = session(tx)
        installation.execute("select pg_terminate_backend(%s, 5000)", held_by)

    assert advisory_locks(installation) == 0


def test_what_passes_by_itself_is_worth_trying_again(installation: Installation) -> None:
    """Serialization, deadlock, too many connections, lock timeout, statement timeout, shutdown."""
    for condition in ("40001", "40P01", "53300", "55P03", "57014", "57P01"):
        with pytest.raises(DatabaseUnavailable), installation.database.begin() as tx:
            tx.execute(text(f"do $$ begin raise exception 'x' using errcode = '{condition}'; end $$"))


def test_a_session_says_who_acts_in_universal_time(installation: Installation) -> None:
    with installation.database.begin() as tx:
        query = (
            "select current_setting('timezone'), current_setting('bulk_orders.actor'), current_setting('search_path')"
        )
        assert tx.execute(text(query)).one() == ("UTC", "test", "bulk_orders,public")


def test_the_first_key_is_admitted_and_no_other_after_it(installation: Installation) -> None:
    """A wrong key is noticed at start, not at the first row it cannot open."""
    with installation.database.begin() as tx:
        before = keys.any_known(tx)
        keys.admit(tx, installation.vault)
    with installation.database.begin() as tx:
        keys.admit(tx, installation.vault)
        after = keys.any_known(tx)

    assert (before, after) == (False, True)
    with pytest.raises(BulkOrdersError) as refused, installation.database.begin() as tx:
        keys.admit(tx, Vault(bytes(32)))
    assert refused.value.code == "SYS-KEY-WRONG"
    assert installation.execute("select count(*) from encryption_keys") == [(1,)]


def test_nothing_of_us_stays_connected(database_url: str) -> None:
    with connect_once(database_url) as connection:
        connection.execute(text("select 1"))
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'bulk-orders'"
    )
    with psycopg.connect(database_url) as outside:
        row = outside.execute(query).fetchone()

    assert row == (0,)
