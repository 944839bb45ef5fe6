"""What people do with a batch, on real tables and services. A refusal says why and changes nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from assets.batch_report.result_files import ResultFile
from assets.batch_report.work import close_batch, write_report
from assets.effects.stream import LaneEnded
from assets.payments.planning import plan_missing
from domain.errors import BatchBusy, BatchPaused, BulkOrdersError, OperationRefused
from domain.outcomes import LookUp
from domain.states import EffectKind
from orchestration import operations
from resources.database import batches, effects
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.effects import PlannedEffect
from tests.integration.batches import Installation, limits, order_row, services, work_through, working

ROWS = {"batches": "batch_id", "payments": "order_id", "notifications": "order_id", "orders": "order_id"}


@pytest.fixture
def charging(payments: Any) -> Any:
    """The payment service, which would charge an order twice if it were asked twice."""
    payments.behave(unique_orders=False)
    return payments


def between(charger: Any, mailer: Any, **changes: Any) -> Any:
    return services(str(charger.http.base_url), str(mailer.http.base_url), **changes)


def done_by_service(service: Any, table: str, ids: list[int]) -> Counter[int]:
    query = f"SELECT order_id FROM {table} WHERE order_id BETWEEN ? AND ?"
    return Counter(order_id for (order_id,) in service.rows(query, ids[0], ids[-1]))


def everything(installation: Installation) -> list[Any]:
    """All that a refusal must not touch."""
    tables = [*ROWS, "decisions", "audit_events", "audit_heads", "effect_attempts"]
    return [installation.execute(f"select to_jsonb(t) from {table} t order by to_jsonb(t)::text") for table in tables]


def refused(installation: Installation, act: Callable[[], object]) -> str:
    """The code of a refusal that changed nothing."""
    before = everything(installation)
    with pytest.raises(BulkOrdersError) as caught:
        act()

    assert everything(installation) == before
    return caught.value.code


def events(installation: Installation, batch: str) -> list[tuple[str, str | None]]:
    query = "select event, reason from audit_events where chain = %s order by seq"
    return [(event, reason) for event, reason in installation.execute(query, batch)]


def states(installation: Installation, batch: str) -> list[str]:
    query = "select state from payments where batch_id = %s order by import_row_number"
    return [state for (state,) in installation.execute(query, batch)]


def exhausted(installation: Installation, charging: Any, notifications: Any) -> tuple[str, list[int]]:
    """A finished batch of four: one payment that never arrived however often, one declined, two paid."""
    batch = installation.ordered(4)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"reset_before": [ids[1]], "decline": [ids[2]]})
    work_through(installation, batch, between(charging, notifications), limits(max_attempts=1))
    close_batch(installation.database, batch)
    charging.behave(fault_orders={})
    return batch, ids


# -- redrive ----------------------------------------------------------------------------------------------------------


def test_what_certainly_did_not_happen_is_tried_again_and_nothing_else(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """A declined card is not asked again; what was paid is not touched."""
    batch, ids = exhausted(installation, charging, notifications)
    assert states(installation, batch) == ["done", "review", "rejected", "done"]
    redriven = operations.redrive(installation.database, batch)

    assert (redriven.payments.effects, redriven.notifications.effects) == (1, 0)
    assert installation.batch(batch) == ("ordered", None)
    _, books = work_through(installation, batch, between(charging, notifications), limits(max_attempts=1))
    assert close_batch(installation.database, batch).batch.state == "partial"
    assert books.paid_orders == 3
    assert done_by_service(charging, "charges", ids) == Counter([ids[0], ids[1], ids[3]])
    assert done_by_service(notifications, "mails", ids) == Counter([ids[0], ids[1], ids[3]])
    assert [e for e, _ in events(installation, batch) if e.startswith("decision:")] == ["decision:redrive"]


def test_a_redrive_renews_the_budget_of_attempts(installation: Installation, charging: Any, notifications: Any) -> None:
    batch, ids = exhausted(installation, charging, notifications)
    operations.redrive(installation.database, batch)
    [(attempts, not_before_passed)] = installation.execute(
        "select attempts, not_before < now() from payments where order_id = %s", ids[1]
    )

    assert (attempts, not_before_passed) == (0, True)


def test_a_dry_run_of_a_redrive_says_the_same_and_changes_nothing(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch, _ = exhausted(installation, charging, notifications)
    before = everything(installation)
    forecast = operations.redrive(installation.database, batch, dry_run=True)

    assert everything(installation) == before
    assert operations.redrive(installation.database, batch) == forecast


def test_a_redrive_with_nothing_to_redo_is_refused(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """In doubt or declined: neither is tried again without a person."""
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"reset_after": [ids[0]], "decline": [ids[1]]})
    work_through(installation, batch, between(charging, notifications, payments={"look_up": LookUp.NONE}))
    close_batch(installation.database, batch)

    assert states(installation, batch) == ["review", "rejected", "done"]
    assert refused(installation, lambda: operations.redrive(installation.database, batch)) == "BATCH-NOTHING-TO-REDRIVE"


def test_a_batch_that_is_done_or_not_finished_or_unknown_is_not_redriven(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    unfinished, done = installation.ordered(1), installation.ordered(1)
    work_through(installation, done, between(charging, notifications))
    close_batch(installation.database, done)
    database = installation.database

    assert refused(installation, lambda: operations.redrive(database, done)) == "BATCH-FINISHED"
    assert refused(installation, lambda: operations.redrive(database, unfinished)) == "BATCH-NOT-FINISHED"
    assert refused(installation, lambda: operations.redrive(database, "20260101-x-000000000000")) == "BATCH-NOT-FOUND"


def test_a_batch_that_is_being_worked_on_is_not_redriven(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch, _ = exhausted(installation, charging, notifications)
    with installation.database.hold_batch(batch):
        assert refused(installation, lambda: operations.redrive(installation.database, batch)) == "BATCH-BUSY"
        with pytest.raises(BatchBusy):
            operations.redrive(installation.database, batch)


def test_of_two_people_who_redrive_at_once_one_does(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch, _ = exhausted(installation, charging, notifications)
    codes: list[str] = []
    together = threading.Barrier(2)

    def person(name: str) -> None:
        database = Database(installation.url, Actor(f"cli:{name}"))
        together.wait(10)
        try:
            operations.redrive(database, batch)
            codes.append("done")
        except BulkOrdersError as error:
            codes.append(error.code)
        finally:
            database.dispose()

    people = [threading.Thread(target=person, args=(name,)) for name in ("hanako", "jiro")]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join(30)

    assert sorted(codes)[1] == "done"
    assert sorted(codes)[0] in ("BATCH-NOT-FINISHED", "BATCH-BUSY")
    assert installation.execute("select count(*) from decisions") == [(1,)]


# -- pause and continue -----------------------------------------------------------------------------------------------


def pause_while_paying(installation: Installation, charging: Any, notifications: Any) -> tuple[str, str]:
    """A batch of 40 whose pause is asked for once three are paid; the id, and the code the run ended with."""
    batch = installation.ordered(40)
    charging.behave(latency_seconds=0.3)
    hanako = Database(installation.url, Actor("cli:hanako"))
    try:
        with working(installation, batch, between(charging, notifications), limits(concurrency=2, chunk=2)) as work:
            asked = False
            for report in work.reports():
                if not asked and not isinstance(report, LaneEnded) and report.processed >= 3:
                    asked = True
                    operations.pause(hanako, batch)
    except BatchPaused as paused:
        return batch, paused.code
    finally:
        hanako.dispose()
    return batch, "finished"


def test_a_pause_stops_a_stream_under_way_and_lets_its_calls_come_home(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch, code = pause_while_paying(installation, charging, notifications)
    found = Counter(states(installation, batch))
    ids = installation.order_ids(batch)

    assert code == "BATCH-PAUSED-BY-PERSON"
    assert installation.batch(batch) == ("paused", "BATCH-PAUSED-BY-PERSON")
    assert set(found) <= {"done", "planned", "retry_wait"}
    assert 3 <= found["done"] < 40
    assert sum(done_by_service(charging, "charges", ids).values()) == found["done"]
    assert ("decision:pause", "decision-1") in events(installation, batch)
    [(facts,)] = installation.execute("select reason_facts from batches where batch_id = %s", batch)
    assert facts["person"] == "cli:hanako"


def test_a_paused_batch_is_taken_up_by_nobody_and_run_again_stays_paused(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """Neither the sensor nor a run by hand: only who continues it."""
    batch, _ = pause_while_paying(installation, charging, notifications)
    paid = states(installation, batch).count("done")
    with installation.database.begin() as tx:
        waiting = [found.batch_id for found in batches.unfinished(tx)]
    with pytest.raises(BatchPaused):
        work_through(installation, batch, between(charging, notifications))

    assert batch not in waiting
    assert states(installation, batch).count("done") == paid


def test_a_continued_batch_goes_on_to_its_end_with_everything_once(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch, _ = pause_while_paying(installation, charging, notifications)
    charging.behave(latency_seconds=0)
    operations.continue_(installation.database, batch)
    with installation.database.begin() as tx:
        assert batch in [found.batch_id for found in batches.unfinished(tx)]
    _, books = work_through(installation, batch, between(charging, notifications))
    ids = installation.order_ids(batch)

    assert books.everything_succeeded
    assert done_by_service(charging, "charges", ids) == done_by_service(notifications, "mails", ids) == Counter(ids)
    assert close_batch(installation.database, batch).batch.state == "done"


def test_a_pause_holds_from_its_commit_on_also_when_the_worker_dies_before_it_looks(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """The claim asks the batch: no call begins after the commit of the pause, whoever works then."""
    batch = installation.ordered(2)
    with installation.database.hold_batch(batch) as hold:
        with hold.begin() as tx:
            orders = effects.unplanned_payments(tx, batch)
            effects.plan(tx, EffectKind.PAYMENT, [PlannedEffect(o, f"k{o}", bytes(32)) for o, _, _ in orders])
        operations.pause(installation.database, batch)
        with hold.begin() as tx:
            claimed = effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 10)
    assert claimed == []
    assert installation.batch(batch) == ("ordered", None)
    with pytest.raises(BatchPaused) as paused:
        work_through(installation, batch, between(charging, notifications))

    assert paused.value.code == "BATCH-PAUSED-BY-PERSON"
    assert installation.batch(batch) == ("paused", "BATCH-PAUSED-BY-PERSON")
    assert states(installation, batch) == ["planned", "planned"]


def test_a_batch_that_nobody_works_on_is_paused_at_once(installation: Installation) -> None:
    batch = installation.ordered(1)
    paused = operations.pause(installation.database, batch)

    assert (paused.state, paused.reason, paused.waits_for_person) == ("paused", "BATCH-PAUSED-BY-PERSON", True)
    assert [event for event, _ in events(installation, batch)][-4:] == [
        "decision:pause",
        "batch:pause:requested",
        "batch:pause:answered",
        "batch:ordered:paused",
    ]


def test_a_pause_before_the_orders_are_made_holds_before_the_first_payment(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    from assets.created_orders.work import create_orders

    batch = installation.validated([order_row()])
    operations.pause(installation.database, batch)
    create_orders(installation.database, batch)
    with pytest.raises(BatchPaused):
        work_through(installation, batch, between(charging, notifications))

    assert installation.batch(batch) == ("paused", "BATCH-PAUSED-BY-PERSON")
    assert states(installation, batch) == []


def test_a_pause_that_nobody_has_seen_yet_is_not_undone_by_importing_the_file_again(installation: Installation) -> None:
    batch = installation.validated([order_row()])
    installation.execute("update batches set run_id = 'ended' where batch_id = %s", batch)
    operations.pause(installation.database, batch)

    operations.take_up(installation.database, batch)

    decided = installation.execute("select decision from decisions where batch_id = %s", batch)
    asked_by = installation.execute("select pause_requested_by is not null from batches where batch_id = %s", batch)
    assert (decided, asked_by) == ([("pause",)], [(True,)])


def test_a_pause_by_a_person_outlives_the_pause_of_a_service(installation: Installation) -> None:
    """A batch that waits for a service and is paused by a person does not go on when the service is back."""
    batch = installation.ordered(1)
    with installation.database.begin() as tx:
        batches.pause(tx, batch, BatchPaused("BATCH-PAUSED-PAYMENTS", batch=batch, reason="-"), 0.0)
    operations.pause(installation.database, batch)
    with installation.database.begin() as tx:
        waiting = batches.unfinished(tx)

    assert waiting == []
    assert installation.batch(batch) == ("paused", "BATCH-PAUSED-BY-PERSON")
    assert ("batch:paused:reason", "BATCH-PAUSED-BY-PERSON") in events(installation, batch)


def test_pausing_or_continuing_twice_or_at_the_end_is_refused(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    database = installation.database
    paused, done = installation.ordered(1), installation.ordered(1)
    operations.pause(database, paused)
    work_through(installation, done, between(charging, notifications))
    close_batch(database, done)

    assert refused(installation, lambda: operations.pause(database, paused)) == "BATCH-ALREADY-PAUSED"
    assert refused(installation, lambda: operations.pause(database, done)) == "BATCH-FINISHED"
    assert refused(installation, lambda: operations.continue_(database, done)) == "BATCH-FINISHED"
    operations.continue_(database, paused)
    with database.hold_batch(paused):
        assert refused(installation, lambda: operations.continue_(database, paused)) == "BATCH-NOT-PAUSED"


def test_a_pause_that_nobody_answered_yet_can_be_taken_back(installation: Installation) -> None:
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch):
        operations.pause(installation.database, batch)
        continued = operations.continue_(installation.database, batch)

    assert (continued.state, continued.pause_requested_by) == ("ordered", None)


def test_a_batch_left_by_its_worker_can_be_continued(installation: Installation) -> None:
    """Its run was terminated: the sensor does not follow it until somebody says so."""
    batch = installation.ordered(1)
    continued = operations.continue_(installation.database, batch)

    assert continued.continued_at is not None
    assert [e for e, _ in events(installation, batch)][-1] == "decision:continue"


# -- cancel -----------------------------------------------------------------------------------------------------------


def test_what_was_never_sent_is_cancelled_and_what_is_paid_has_its_mail(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch, _ = pause_while_paying(installation, charging, notifications)
    paid = states(installation, batch).count("done")
    cancelled = operations.cancel(installation.database, batch)
    assert installation.batch(batch) == ("ordered", "BATCH-CANCELLING")
    _, books = work_through(installation, batch, between(charging, notifications))
    closed = close_batch(installation.database, batch)
    ids = installation.order_ids(batch)

    assert cancelled.effects == 40 - paid
    assert (closed.batch.state, closed.batch.reason) == ("cancelled", "BATCH-CANCELLED")
    assert Counter(states(installation, batch)) == {"done": paid, "cancelled": 40 - paid}
    assert sum(done_by_service(charging, "charges", ids).values()) == paid
    assert sum(done_by_service(notifications, "mails", ids).values()) == paid
    assert books.payments.count() == books.orders == 40
    legacy = "select o.status, p.status, count(*) from orders o join payments p using (order_id) group by 1, 2"
    assert set(installation.execute(legacy)) == {("PAID", "COMPLETED", paid), ("CANCELLED", "CANCELLED", 40 - paid)}


def test_every_row_of_a_cancelled_batch_is_in_exactly_one_result_file(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch, _ = pause_while_paying(installation, charging, notifications)
    paid = states(installation, batch).count("done")
    operations.cancel(installation.database, batch)
    work_through(installation, batch, between(charging, notifications))
    report = write_report(installation.database, installation.vault, batch, installation.folder / "report")

    assert report.rows_per_file == {
        ResultFile.SUCCEEDED: paid,
        ResultFile.FAILED: 0,
        ResultFile.NOT_PROCESSED: 40 - paid,
    }
    text = (installation.folder / "report" / "not_processed.csv").read_text(encoding="utf-8-sig")
    assert text.count("PAY-CANCELLED") == 40 - paid


def test_what_is_in_doubt_is_settled_and_never_sent_again_before_a_cancelled_batch_ends(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """One was charged although its answer was lost, one was not: the first stays paid, the second is cancelled."""
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    with installation.database.hold_batch(batch) as hold, hold.begin() as tx:
        plan_missing(tx, batch)
        charged, _ = effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 2)
    charging.pay(ids[0], float(charged.order.amount_jpy))  # the worker died before either answer came
    cancelled = operations.cancel(installation.database, batch)
    assert cancelled.effects == 1
    _, books = work_through(installation, batch, between(charging, notifications))

    assert states(installation, batch) == ["done", "cancelled", "cancelled"]
    assert close_batch(installation.database, batch).batch.state == "cancelled"
    assert done_by_service(charging, "charges", ids) == done_by_service(notifications, "mails", ids) == Counter(ids[:1])
    assert books.everything_settled


def test_a_payment_that_only_its_key_would_tell_about_is_for_a_person_when_cancelled(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """Its last word was "send the same key again": it may be charged, and must not be called cancelled."""
    batch = installation.ordered(1)
    ids = installation.order_ids(batch)
    key_only = {"look_up": LookUp.NONE, "honours_keys": True}
    with installation.database.hold_batch(batch) as hold:
        with hold.begin() as tx:
            plan_missing(tx, batch)
            [claimed] = effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 1)
    charging.pay(ids[0], float(claimed.order.amount_jpy))  # its answer never came
    operations.cancel(installation.database, batch)
    work_through(installation, batch, between(charging, notifications, payments=key_only))

    assert installation.states("payments", batch)[ids[0]] == ("review", "PAY-OUTCOME-UNKNOWN")
    assert done_by_service(charging, "charges", ids) == Counter(ids)
    assert close_batch(installation.database, batch).batch.state == "cancelled"


def test_a_batch_without_orders_is_cancelled_at_once(installation: Installation) -> None:
    batch = installation.validated([order_row(), order_row(email="")])
    operations.cancel(installation.database, batch)
    report = write_report(installation.database, installation.vault, batch, installation.folder / "report")

    assert installation.batch(batch) == ("cancelled", "BATCH-CANCELLED")
    assert report.rows_per_file == {"succeeded": 0, "failed": 1, "not_processed": 1}


def test_a_batch_whose_payments_are_not_planned_yet_is_cancelled_with_all_books_equal(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(2)
    operations.cancel(installation.database, batch)
    _, books = work_through(installation, batch, between(charging, notifications))

    assert states(installation, batch) == ["cancelled", "cancelled"]
    assert books.payments.count() == books.orders
    assert close_batch(installation.database, batch).batch.state == "cancelled"


def test_a_batch_that_is_paying_or_has_ended_is_not_cancelled(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    database = installation.database
    paying, done = installation.ordered(1), installation.ordered(1)
    work_through(installation, done, between(charging, notifications))
    close_batch(database, done)

    with database.hold_batch(paying):
        assert refused(installation, lambda: operations.cancel(database, paying)) == "BATCH-CANCEL-WHILE-PAYING"
    assert refused(installation, lambda: operations.cancel(database, done)) == "BATCH-FINISHED"
    operations.cancel(database, paying)
    assert refused(installation, lambda: operations.cancel(database, paying)) == "BATCH-CANCELLING"


CUT = """select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
         and database = (select oid from pg_database where datname = current_database())"""


def cancelled_once_free(installation: Installation, batch: str) -> None:
    """Cancelled as soon as the lost session has really ended."""
    for _ in range(100):
        with suppress(OperationRefused):
            operations.cancel(installation.database, batch)
            return
        time.sleep(0.05)
    pytest.fail("the session did not end")


def test_a_worker_that_lost_its_hold_does_not_pay_for_a_cancelled_batch(installation: Installation) -> None:
    """It would take its hold again as if nothing had happened; its epoch is over."""
    batch = installation.ordered(2)
    with installation.database.hold_batch(batch) as hold:
        installation.execute(CUT)
        cancelled_once_free(installation, batch)
        with pytest.raises(BatchBusy):
            hold.run(lambda tx: effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 10))

    assert states(installation, batch) == ["cancelled", "cancelled"]


def test_the_numbers_of_cancelled_orders_are_free_for_the_corrected_file(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """Otherwise a wrong file that was cancelled in time could never be sent again."""
    rows = [order_row(), order_row()]
    wrong = installation.ordered(rows)
    operations.cancel(installation.database, wrong)
    corrected = [[*row[:-1], "corrected"] for row in rows]
    again = installation.ordered(corrected)
    _, books = work_through(installation, again, between(charging, notifications))

    assert books.orders == 2
    assert books.everything_succeeded


def test_a_cancelled_batch_is_neither_continued_nor_paused_nor_its_payments_redriven(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    cancelled = installation.ordered(1)
    operations.cancel(installation.database, cancelled)
    work_through(installation, cancelled, between(charging, notifications))
    close_batch(installation.database, cancelled)
    database = installation.database

    for act in (operations.pause, operations.continue_, operations.cancel):
        assert refused(installation, lambda act=act: act(database, cancelled)) == "BATCH-FINISHED"  # type: ignore[misc]
    assert refused(installation, lambda: operations.redrive(database, cancelled)) == "BATCH-NOTHING-TO-REDRIVE"
