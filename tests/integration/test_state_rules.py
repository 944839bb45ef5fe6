"""What the database refuses by itself, whoever asks: unlisted steps, wrong beginnings, one charge for two orders."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg
import pytest

from domain.errors import InvariantBroken
from domain.states import BATCH_TRANSITIONS, EFFECT_TRANSITIONS, BatchState, EffectKind, EffectState
from resources.database import batches, effects
from resources.database.effects import PlannedEffect
from tests.integration.batches import Installation, order_row

REFUSED, KEPT = "BO001", "BO003"
CHECK, PARENT = "23514", "23503"


def test_the_database_and_the_domain_list_the_same_transitions(installation: Installation) -> None:
    rows = installation.execute("select subject, from_state, to_state from state_transitions")

    assert {(a, b) for subject, a, b in rows if subject == "batch"} == {
        (a.value, b.value) for a, b in BATCH_TRANSITIONS
    }
    assert {(a, b) for subject, a, b in rows if subject == "effect"} == {
        (a.value, b.value) for a, b in EFFECT_TRANSITIONS
    }


@pytest.mark.parametrize(
    ("table", "states"), [("batches", BatchState), ("payments", EffectState), ("notifications", EffectState)]
)
def test_the_database_knows_the_states_of_the_domain(installation: Installation, table: str, states: Any) -> None:
    query = """select pg_get_constraintdef(oid) from pg_constraint where contype = 'c' and conrelid = %s::regclass
               and pg_get_constraintdef(oid) like '%%ARRAY[%%' and conkey = array[
               (select attnum from pg_attribute where attrelid = %s::regclass and attname = 'state')]"""
    [(definition,)] = installation.execute(query, table, table)

    assert {part.split("'")[1] for part in definition.partition("ARRAY[")[2].split(",")} == {s.value for s in states}


def refusals(installation: Installation, *statements: tuple[object, ...]) -> list[str | None]:
    """The SQLSTATE each statement is refused with; None for one that is not."""
    states: list[str | None] = []
    for statement, *values in statements:
        try:
            installation.execute(str(statement), *values)
            states.append(None)
        except psycopg.Error as error:
            states.append(error.sqlstate)
    return states


def planned(installation: Installation) -> str:
    """A batch with one payment and one mail, both planned."""
    batch = installation.ordered(1)
    [order_id] = installation.order_ids(batch)
    with installation.database.begin() as tx:
        for kind in EffectKind:
            effects.plan(tx, kind, [PlannedEffect(order_id, f"key-{kind}", bytes(32))])
    return batch


class Forced:
    """One row that is put into any state and then asked to move; always rolled back."""

    def __init__(self, url: str, table: str, batch: str) -> None:
        self._connection = psycopg.connect(url, options="-c search_path=bulk_orders,public")
        self._table = table
        self._batch = batch

    def close(self) -> None:
        self._connection.close()

    def move(self, before: str, after: str) -> str | None:
        """The SQLSTATE of the refusal, or None when the step is allowed."""
        done = ", remote_id = case when %(s)s = 'done' then 'r' end" if self._table != "batches" else ", reason = 'R'"
        update = f"update {self._table} set state = %(s)s{done} where batch_id = %(b)s"
        execute = self._connection.execute
        try:
            execute(b"set local session_replication_role = replica")  # triggers off, constraints on
            execute(update.encode(), {"s": before, "b": self._batch})
            execute(b"set local session_replication_role = origin")
            moved = execute(update.encode(), {"s": after, "b": self._batch})
            assert moved.rowcount == 1
        except psycopg.Error as error:
            return error.sqlstate
        finally:
            self._connection.rollback()
        return None


@pytest.mark.parametrize(
    ("table", "states", "allowed"),
    [
        ("batches", BatchState, BATCH_TRANSITIONS),
        ("payments", EffectState, EFFECT_TRANSITIONS),
        ("notifications", EffectState, EFFECT_TRANSITIONS),
    ],
)
def test_every_step_that_is_not_listed_is_refused(
    installation: Installation, table: str, states: Any, allowed: frozenset[tuple[Any, Any]]
) -> None:
    """All pairs."""
    batch = planned(installation)
    forced = Forced(installation.url, table, batch)
    try:
        pairs = list(itertools.permutations(states, 2))
        answers = {(a, b): forced.move(a.value, b.value) for a, b in pairs}
    finally:
        forced.close()

    assert {pair for pair, answer in answers.items() if answer is None} == set(allowed)
    assert {answer for pair, answer in answers.items() if pair not in allowed} == {REFUSED}


def test_a_batch_begins_as_received(installation: Installation) -> None:
    columns = "batch_id, file_sha256, source_name, client, state, reason, code_version, started_by"
    insert = f"""insert into batches ({columns})
                 values ('b', decode(repeat('00', 32), 'hex'), 'f', 'c', %s, 'R', '0', 'test')"""
    others = sorted(set(BatchState) - {BatchState.RECEIVED})

    assert refusals(installation, *((insert, state.value) for state in others)) == [REFUSED] * len(others)


INSERT_PAYMENT = """
    insert into payments (order_id, batch_id, import_row_number, amount, currency,
                          state, idempotency_key, request_sha256, remote_id)
    select order_id, batch_id, import_row_number, amount, currency, %s, %s, decode(repeat('00', 32), 'hex'), %s
    from orders where batch_id = %s and import_row_number = %s"""
INSERT_MAIL = """
    insert into notifications (order_id, batch_id, import_row_number, state, idempotency_key, request_sha256, remote_id)
    select order_id, batch_id, import_row_number, %s, %s, decode(repeat('00', 32), 'hex'), %s
    from orders where batch_id = %s and import_row_number = %s"""


@pytest.mark.parametrize("insert", [INSERT_PAYMENT, INSERT_MAIL], ids=["payment", "mail"])
def test_an_effect_begins_as_planned(installation: Installation, insert: str) -> None:
    """Nothing is `done` that was never sent."""
    batch = installation.ordered(1)
    others = sorted(set(EffectState) - {EffectState.PLANNED})
    inserts = [(insert, state.value, "k", "r" if state is EffectState.DONE else None, batch, 1) for state in others]

    assert refusals(installation, *inserts) == [REFUSED] * len(others)


def moved(installation: Installation, table: str, batch: str, row: int, state: str, remote_id: str | None) -> None:
    update = f"update {table} set state = %s, remote_id = %s where batch_id = %s and import_row_number = %s"
    installation.execute(update, state, remote_id, batch, row)


@pytest.mark.parametrize(
    ("table", "insert", "constraint"),
    [
        ("payments", INSERT_PAYMENT, "payments_one_per_charge"),
        ("notifications", INSERT_MAIL, "notifications_one_per_mail"),
    ],
)
def test_two_orders_can_never_claim_one_charge_or_mail(
    installation: Installation, table: str, insert: str, constraint: str
) -> None:
    batch = installation.ordered(2)
    for row in (1, 2):
        installation.execute(insert, "planned", f"k{row}", None, batch, row)
        moved(installation, table, batch, row, "sending", None)
    moved(installation, table, batch, 1, "done", "remote-1")

    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        moved(installation, table, batch, 2, "done", "remote-1")
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(("table", "insert"), [("payments", INSERT_PAYMENT), ("notifications", INSERT_MAIL)])
def test_done_and_the_id_of_the_service_come_together(installation: Installation, table: str, insert: str) -> None:
    batch = installation.ordered(1)
    installation.execute(insert, "planned", "k", None, batch, 1)

    with pytest.raises(psycopg.errors.CheckViolation):
        moved(installation, table, batch, 1, "sending", "remote-1")
    moved(installation, table, batch, 1, "sending", None)
    with pytest.raises(psycopg.errors.CheckViolation):
        moved(installation, table, batch, 1, "done", None)


@pytest.mark.parametrize("insert", [INSERT_PAYMENT, INSERT_MAIL], ids=["payment", "mail"])
def test_an_order_has_one_payment_and_one_mail_for_ever(installation: Installation, insert: str) -> None:
    batch = installation.ordered(2)
    installation.execute(insert, "planned", "k", None, batch, 1)

    with pytest.raises(psycopg.errors.UniqueViolation):
        installation.execute(insert, "planned", "other", None, batch, 1)
    with pytest.raises(psycopg.errors.UniqueViolation):
        installation.execute(insert, "planned", "k", None, batch, 2)


def test_a_row_has_one_order_for_ever(installation: Installation) -> None:
    """The identity of a row (LIM-001), and a client's order number once."""
    batch = installation.ordered(2)
    copy = """insert into orders (batch_id, csv_source, import_row_number, client, order_number, amount, status)
              select batch_id, csv_source, import_row_number, %s, %s, amount, 'PENDING' from orders
              where batch_id = %s and import_row_number = 1"""

    with pytest.raises(psycopg.errors.UniqueViolation) as same_row:
        installation.execute(copy, "shop", "NEW", batch)
    assert same_row.value.diag.constraint_name == "orders_one_per_row"
    number = "update orders set order_number = (select min(order_number) from orders) where import_row_number = 2"
    with pytest.raises(psycopg.errors.UniqueViolation) as same_number:
        installation.execute(number)
    assert same_number.value.diag.constraint_name == "orders_one_per_number"


def test_an_order_of_a_batch_is_never_incomplete(installation: Installation) -> None:
    batch = installation.ordered(1)
    changes = [
        "amount = 99",
        "amount = 1000001",
        "currency = 'USD'",
        "order_number = null",
        "client = null",
        "csv_source = null",
    ]
    updates = [(f"update orders set {change} where batch_id = %s", batch) for change in changes]

    assert refusals(installation, *updates) == [CHECK] * len(changes)


def test_the_identity_of_a_row_never_changes(installation: Installation) -> None:
    batch = installation.ordered(1)
    changes = ["import_row_number = 77", "import_row_number = import_row_number + 1", "batch_id = 'b'"]
    updates = [
        (f"update {table} set {change} where batch_id = %s", batch)
        for table in ("orders", "import_rows")
        for change in changes
    ]

    assert refusals(installation, *updates) == [KEPT] * len(updates)


def test_what_a_batch_was_made_of_is_never_deleted(installation: Installation) -> None:
    installation.ordered(1)
    deletes = [(verb + table,) for table in ("batches", "import_rows") for verb in ("delete from ", "truncate ")]

    assert set(refusals(installation, *deletes)) <= {KEPT, "0A000"}  # 0A000: what others point at is never truncated
    assert refusals(installation, ("truncate batches cascade",), ("truncate import_rows cascade",)) == [KEPT, KEPT]


def test_there_is_no_row_of_no_batch_and_no_order_of_no_accepted_row(installation: Installation) -> None:
    """Checked once per statement, in place of foreign keys."""
    batch = installation.validated([order_row(), order_row(email="")])
    stray_row = """insert into import_rows (batch_id, import_row_number, line_number, state, cells, issues)
                   values ('none', 1, 2, 'rejected', '', '[{"column": "email", "code": "ORD-EMAIL-MISSING"}]')"""
    stray_order = """insert into orders (batch_id, csv_source, import_row_number, client, order_number, amount)
                     values (%s, 'f', %s, 'c', 'N', 100)"""

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        installation.execute(stray_row)
    # rejected, not there, not named, of no batch
    strays = [(stray_order, batch, 2), (stray_order, batch, 3), (stray_order, batch, None), (stray_order, "none", 1)]
    assert refusals(installation, *strays) == [PARENT, PARENT, CHECK, PARENT]


def test_an_accepted_row_is_complete_and_a_rejected_one_says_why(installation: Installation) -> None:
    """A check whose result is null passes: an absent list of issues must not."""
    batch = installation.ordered(1)
    changes = [
        *(
            "state = 'rejected'",
            "state = 'rejected', issues = '[]'",
            "amount = null",
            "amount = 99",
            "order_number = null",
        ),
        """issues = '[{"column": "email", "code": "ORD-EMAIL-FORMAT"}]'""",
    ]
    updates = [(f"update import_rows set {change} where batch_id = %s", batch) for change in changes]

    assert refusals(installation, *updates) == [CHECK] * len(changes)


def test_a_batch_does_not_pause_without_a_reason(installation: Installation) -> None:
    batch = installation.ordered(1)

    with pytest.raises(psycopg.errors.CheckViolation):
        installation.execute("update batches set state = 'paused' where batch_id = %s", batch)


def test_the_same_bytes_are_one_batch_for_ever(installation: Installation) -> None:
    batch = installation.ordered(1)
    copy = """insert into batches (batch_id, file_sha256, source_name, client, code_version, started_by)
              select 'other', file_sha256, 'other.csv', 'other', '0', 'test' from batches where batch_id = %s"""

    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        installation.execute(copy, batch)
    assert refused.value.diag.constraint_name == "batches_one_per_file"


def test_our_own_code_hears_of_a_refused_step_as_a_broken_invariant(installation: Installation) -> None:
    batch = installation.ordered(1)

    with pytest.raises(InvariantBroken) as refused, installation.database.begin() as tx:
        batches.move(tx, batch, BatchState.RECEIVED)

    assert refused.value.facts == {"sqlstate": REFUSED, "constraint": "-"}


def test_the_legacy_status_of_a_payment_follows_its_state(installation: Installation) -> None:
    """The single-order screens show a payment of a batch as they always did."""
    batch = installation.ordered(2)
    seen = []
    for row, last in ((1, "done"), (2, "rejected")):
        installation.execute(INSERT_PAYMENT, "planned", f"k{row}", None, batch, row)
        moved(installation, "payments", batch, row, "sending", None)
        moved(installation, "payments", batch, row, last, "r" if last == "done" else None)
        seen += installation.execute("select status from payments where import_row_number = %s", row)

    assert seen == [("COMPLETED",), ("FAILED",)]
