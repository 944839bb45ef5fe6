"""The trail: written with every change and never without one, and no hand can change it unseen."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from domain.errors import BatchPaused
from domain.states import BatchState
from resources.database import batches
from tests.integration.batches import Installation, order_row, services, work_through

CANARY = "canary"
PERSONAL = {
    "customer_name": f"{CANARY}-name",
    "email": f"{CANARY}@example.jp",
    "phone": f"{CANARY}-phone",
    "内部メモ": f"{CANARY}-memo",
}


def events(installation: Installation, batch: str) -> list[tuple[str, str | None, list[int]]]:
    return installation.execute("select event, reason, subjects from audit_events where chain = %s order by seq", batch)


def verified(installation: Installation, batch: str) -> list[tuple[int, str]]:
    return installation.execute("select seq, fault from audit_verify(%s)", batch)


@pytest.fixture
def trail(installation: Installation, payments: Any, notifications: Any) -> tuple[Installation, str]:
    """A batch with a rejected row, a declined payment, a pause and a refused mail behind it."""
    batch = installation.ordered([order_row(**PERSONAL), order_row(), order_row(email="canary-no-mail"), order_row()])
    ids = installation.order_ids(batch)
    payments.behave(fault_orders={"decline": [ids[1]], "reset_after": [ids[0]]})
    notifications.behave(fault_orders={"decline": [ids[2]]})
    with installation.database.begin() as tx:
        batches.pause(tx, batch, BatchPaused("BATCH-PAUSED-PAYMENTS", batch=batch, reason="PAY-THROTTLED"), 0.0)
    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    work_through(installation, batch, of)
    return installation, batch


def test_every_change_of_a_state_left_its_event(trail: tuple[Installation, str]) -> None:
    installation, batch = trail
    ids = installation.order_ids(batch)
    found = events(installation, batch)
    about = {(event, reason): subjects for event, reason, subjects in found}

    assert [event for event, _, _ in found][:8] == [
        "batch:received",
        "row:accepted",
        "row:rejected",
        "batch:changed",
        "batch:changed",
        "batch:received:validated",
        "order:created",
        "batch:validated:ordered",
    ]
    assert about["row:accepted", None] == [1, 2, 4]
    assert about["row:rejected", None] == [3]
    assert about["order:created", None] == ids
    assert about["batch:ordered:paused", "BATCH-PAUSED-PAYMENTS"] == []
    assert about["payment:planned", None] == ids
    assert about["payment:sending:rejected", "PAY-DECLINED"] == [ids[1]]
    assert about["payment:sending:unknown", "PAY-OUTCOME-UNKNOWN"] == [ids[0]]
    assert ("payment:unknown:done", None) in about
    assert about["notification:sending:rejected", "MAIL-REFUSED"] == [ids[2]]


def test_the_events_alone_tell_where_every_effect_stands(trail: tuple[Installation, str]) -> None:
    """Replayed from the first to the last event, the trail and the tables agree: nothing moved without a trace."""
    installation, batch = trail
    told: dict[str, dict[int, str]] = {"payment": {}, "notification": {}, "order": {}}
    for event, _, subjects in events(installation, batch):
        word, *steps = event.split(":")
        if word in told and steps != ["changed"]:
            assert len(steps) == 1 or {told[word][i] for i in subjects} == {steps[0]}, event
            told[word] |= dict.fromkeys(subjects, "PENDING" if steps[-1] == "created" else steps[-1])

    for word, state in (("payment", "state"), ("notification", "state"), ("order", "status")):
        query = f"select order_id, {state} from {word}s where batch_id = %s"
        assert told[word] == dict(installation.execute(query, batch)), word


def test_an_event_says_who_acted_in_which_run_with_which_code(trail: tuple[Installation, str]) -> None:
    installation, batch = trail
    actors = installation.execute(
        "select distinct actor, run_id, code_version from audit_events where chain = %s", batch
    )

    assert actors == [("test", "run-1", "0.0")]


def test_a_hand_in_the_database_is_named_too(installation: Installation) -> None:
    """A person who changes a row with psql is an actor like any other."""
    batch = installation.validated([order_row()])
    installation.execute("update batches set state = 'ordered' where batch_id = %s", batch)
    user = installation.execute("select session_user")[0][0]
    last = installation.execute(
        "select event, actor from audit_events where chain = %s order by seq desc limit 1", batch
    )

    assert last == [("batch:validated:ordered", f"database:{user}")]


def test_an_event_is_there_when_its_change_is_and_gone_when_it_is_not(installation: Installation) -> None:
    """One transaction: a change that is rolled back leaves no event and no gap."""
    batch = installation.ordered(1)
    before = events(installation, batch)

    def fail() -> None:
        with installation.database.begin() as tx:
            batches.move(tx, batch, BatchState.DONE)
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    assert events(installation, batch) == before
    assert verified(installation, batch) == []


def test_a_single_order_leaves_no_event(installation: Installation) -> None:
    installation.execute("insert into orders (customer_name, customer_email, amount) values ('n', 'e', 500)")
    installation.execute("insert into payments (order_id, amount) select order_id, amount from orders")
    installation.execute("update payments set status = 'COMPLETED'")

    assert installation.execute("select count(*) from audit_events") == [(0,)]


def test_the_chain_of_every_batch_holds(trail: tuple[Installation, str]) -> None:
    installation, batch = trail
    other = installation.ordered(3)

    assert verified(installation, batch) == verified(installation, other) == []
    numbers = installation.execute("select seq from audit_events where chain = %s order by seq", batch)
    assert [seq for (seq,) in numbers] == list(range(1, len(numbers) + 1))


def test_the_trail_is_worth_nothing_to_a_thief(trail: tuple[Installation, str]) -> None:
    """Codes and numbers only."""
    installation, batch = trail
    found = installation.execute("select e::text from audit_events e where chain = %s", batch)

    assert CANARY not in str(found)
    assert "example.jp" not in str(found)
    assert installation.execute("select 1 from effect_attempts a where a::text like %s", f"%{CANARY}%") == []


CHANGES = [
    "update bulk_orders.audit_events set reason = 'other' where seq = 2",
    "delete from bulk_orders.audit_events where seq = 2",
    "truncate bulk_orders.audit_events",
    "update bulk_orders.audit_events set hash = hash",
]


@pytest.mark.parametrize("role", ["origin", "replica", "local"])
def test_an_event_cannot_be_changed_by_anyone(installation: Installation, role: str) -> None:
    """As the owner and superuser, also in a session that switches ordinary triggers off."""
    installation.ordered(1)
    refusals = []
    with psycopg.connect(installation.url, autocommit=True) as connection:
        connection.execute(f"set session_replication_role = {role}".encode())
        for change in CHANGES:
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(change.encode())
            refusals.append(refused.value.sqlstate)

    assert refusals == ["BO002"] * len(CHANGES)


def found_after(installation: Installation, batch: str, statement: str) -> list[tuple[int, str]]:
    """What the verification says after a superuser took the triggers away and changed something; undone at the end."""
    options = "-c search_path=bulk_orders,public -c event_triggers=off"  # or its own event would be refused
    with psycopg.connect(installation.url, options=options) as connection:
        connection.execute(b"alter table audit_events disable trigger all")
        assert connection.execute(statement.encode()).rowcount > 0
        rows = connection.execute(b"select seq, fault from audit_verify(%s)", (batch,)).fetchall()
        connection.rollback()
    return rows


FIELDS = [
    "at = at + interval '1 microsecond'",
    "actor = 'somebody'",
    "run_id = null",
    "code_version = '9'",
    "event = 'row:other'",
    "reason = 'PAY-DECLINED'",
    "subjects = array_append(subjects, 9)",
    "subjects = array[2, 1]",
    "amount_jpy = coalesce(amount_jpy, 0) + 1",
    "hash = decode(repeat('ab', 32), 'hex')",
]


def test_a_changed_event_is_found_where_it_is(installation: Installation) -> None:
    """Whichever of its fields was changed, by whatever hand."""
    batch = installation.ordered(2)
    found = {
        field: found_after(installation, batch, f"update audit_events set {field} where seq = 2") for field in FIELDS
    }

    assert found == {field: [(2, "content")] for field in FIELDS}


def test_missing_events_and_broken_links_are_found(installation: Installation) -> None:
    """In the middle, at the beginning, at the end (by the head of the chain), and all of them."""
    batch = installation.ordered(2)
    [(last,)] = installation.execute("select max(seq) from audit_events where chain = %s", batch)
    expected = {
        "delete from audit_events where seq = 3": (4, "gap"),
        "delete from audit_events where seq = 1": (2, "gap"),
        "update audit_events set prev_hash = decode(repeat('ab', 32), 'hex') where seq = 3": (3, "link"),
        f"delete from audit_events where seq = {last}": (last, "head"),
        "delete from audit_events": (last, "head"),
    }

    assert {change: found_after(installation, batch, change) for change in expected} == {
        change: [fault] for change, fault in expected.items()
    }


def test_two_writers_of_one_chain_leave_it_whole(installation: Installation) -> None:
    """Payments and notifications of a batch may be settled by several sessions over its life."""
    batch = installation.ordered(2)
    append = "select audit_append(%s, 'test:event', null, array[]::integer[], null)"
    with (
        psycopg.connect(installation.url, options="-c search_path=bulk_orders,public") as first,
        psycopg.connect(installation.url, options="-c search_path=bulk_orders,public") as second,
    ):
        first.execute(append.encode(), (batch,))
        second.execute(b"set lock_timeout = 100")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(append.encode(), (batch,))
        second.rollback()
        first.commit()
        second.execute(append.encode(), (batch,))

    assert verified(installation, batch) == []


def test_different_records_never_hash_alike(installation: Installation) -> None:
    """Each field is framed by its length: moving a character from one to the next changes the bytes."""
    query = """select audit_hash('c', 1, 'epoch', %s, %s, %s, 'e', null, array[]::integer[], null,
                                 decode(repeat('00', 32), 'hex'))"""
    records = [("ab", "c", None), ("a", "bc", None), ("ab", None, "c"), ("ab", "c", ""), ("ab,1:c", None, None)]

    assert len({installation.execute(query, *record)[0][0] for record in records}) == len(records)
