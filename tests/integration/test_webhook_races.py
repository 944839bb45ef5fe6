"""The webhook beside a batch that is being paid: whoever is first, one payment is done, one mail leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from assets.batch_report.work import close_batch
from assets.effects.stream import LaneEnded
from domain.progress import StageProgress
from domain.states import BatchState, EffectKind, EffectState
from resources.database import batches, effects
from resources.local import children
from tests.conftest import StartSandbox
from tests.integration.batches import Installation, limits, order_row, services, work_through
from tests.integration.webhook import ACTOR, SECRET, Hook, event, inbox, listening, payment, planned, put, said


def rows(count: int) -> list[list[str]]:
    return [order_row(amount="1500") for _ in range(count)]


@pytest.mark.parametrize("latency", ["0.05", "0.4"])
def test_a_batch_whose_payments_are_all_reported_before_our_own_answer_is_finished_as_ever(
    installation: Installation, sandbox_services: StartSandbox, latency: str
) -> None:
    """4.3, a hundred times: our answer and the service's own word at the same moment."""
    running = sandbox_services(payments=["--latency", latency], notifications=["--notification-rate", "0"])
    batch = installation.ordered(rows(100))
    orders = installation.order_ids(batch)
    of = services(running.payments.url, running.notifications.url, notifications={"rate_per_second": None})
    with listening(installation) as hook, sender(installation, hook, batch):
        reports, books = work_through(installation, batch, of, limits(concurrency=20))
        close_batch(installation.database, batch)

    assert installation.execute("select state, count(*) from payments where batch_id = %s group by 1", batch) == [
        ("done", 100)
    ]
    assert installation.execute("select state, count(*) from notifications where batch_id = %s group by 1", batch) == [
        ("done", 100)
    ]
    assert installation.batch(batch) == ("done", None)
    assert books.paid_orders == len(orders) == 100
    ended = {report.kind: report.settled for report in reports if isinstance(report, LaneEnded)}
    assert ended == {EffectKind.PAYMENT: 100, EffectKind.NOTIFICATION: 100}
    last = {report.stage: (report.processed, report.total) for report in reports if isinstance(report, StageProgress)}
    assert last == {"payments": (100, 100), "notifications": (100, 100)}
    by_us, by_word = (
        installation.execute(
            "select coalesce(sum(cardinality(subjects)), 0) from audit_events"
            " where chain = %s and event like 'payment:%%:done' and actor = %s",
            batch,
            actor,
        )[0][0]
        for actor in ("test", ACTOR)
    )
    assert by_us + by_word == 100
    assert by_word > 0 or latency == "0.05"  # a quick service may always be first
    assert installation.execute("select fault from audit_verify(%s)", batch) == []


def test_what_the_service_tells_while_we_wait_to_try_again_is_counted_and_not_tried_again(
    installation: Installation, sandbox_services: StartSandbox
) -> None:
    """Told 429, and then done after all: the second call would be a second charge."""
    options = ["--fault", "error_429=1.0", "--faults-repeat", "--set", "retry_after_seconds=60"]
    running = sandbox_services(payments=options, notifications=["--notification-rate", "0"])
    batch = installation.ordered(rows(1))
    with listening(installation) as hook, sender(installation, hook, batch, state="retry_wait"):
        reports, _ = work_through(installation, batch, services(running.payments.url, running.notifications.url))
    ended = {report.kind: report.settled for report in reports if isinstance(report, LaneEnded)}

    assert ended == {EffectKind.PAYMENT: 1, EffectKind.NOTIFICATION: 1}
    assert installation.execute("select attempts from payments where batch_id = %s", batch) == [(1,)]


@contextmanager
def sender(installation: Installation, hook: Hook, batch: str, state: str = "sending") -> Iterator[None]:
    """Reports every payment as completed as soon as it is in this state."""
    stop = threading.Event()

    def report() -> None:
        told: set[int] = set()
        query = f"select order_id from payments where batch_id = %s and state = '{state}'"
        while not stop.is_set():
            new = [row[0] for row in installation.execute(query, batch) if row[0] not in told]
            for answer in many.map(lambda order_id: hook.tell(order_id), new):
                assert answer == "200 accepted"
            told.update(new)

    with ThreadPoolExecutor(8) as many:
        thread = threading.Thread(target=report)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def test_the_word_of_the_service_ends_a_doubt_that_no_look_up_could(
    installation: Installation, sandbox_services: StartSandbox
) -> None:
    """Neither key nor look-up: without the webhook every timeout needs a person (4.8 the other way round)."""
    options = ["--profile", "neither", "--fault", "reset_after=1.0"]
    running = sandbox_services(payments=options, notifications=["--notification-rate", "0"])
    batch = installation.ordered(rows(5))
    of = services(running.payments.url, running.notifications.url, payments={"look_up": "none"})
    work_through(installation, batch, of)
    close_batch(installation.database, batch)
    assert {state for state, _ in installation.states("payments", batch).values()} == {"review"}
    assert installation.batch(batch)[0] == "partial"

    with listening(installation) as hook:
        for order_id in installation.order_ids(batch):
            assert hook.tell(order_id) == "200 accepted"
    work_through(installation, batch, of)
    close_batch(installation.database, batch)

    assert {state for state, _ in installation.states("payments", batch).values()} == {"done"}
    assert {state for state, _ in installation.states("notifications", batch).values()} == {"done"}
    assert installation.batch(batch) == ("done", None)


def in_review(installation: Installation) -> tuple[str, int]:
    """A batch that has nothing left but a payment in review, and its order."""
    batch, [order_id] = planned(installation)
    put(installation, order_id, "sending", "unknown", "review", reason="PAY-OUTCOME-UNKNOWN")
    return batch, order_id


def test_the_report_waits_for_an_event_that_is_being_judged(installation: Installation) -> None:
    """Else it would close over a mail that has yet to leave."""
    batch, order_id = in_review(installation)
    with listening(installation) as hook, ThreadPoolExecutor(2) as both:
        with psycopg.connect(installation.url, options="-c search_path=bulk_orders,public") as blocker:
            blocker.execute("lock table notifications in share mode")  # the event gets as far as its mail
            told = both.submit(hook.tell, order_id)
            assert children.wait_until(lambda: waiting(installation) == 1, 15)
            closed = both.submit(close_batch, installation.database, batch)
            assert children.wait_until(lambda: waiting(installation) == 2, 15)
        assert told.result() == "200 accepted"
        assert closed.result().batch.state is BatchState.ORDERED

    assert installation.states("notifications", batch) == {order_id: ("planned", None)}
    assert installation.batch(batch) == ("ordered", None)


def test_an_event_waits_for_the_report_that_is_closing_the_batch_and_opens_it_again(installation: Installation) -> None:
    batch, order_id = in_review(installation)
    with listening(installation) as hook, ThreadPoolExecutor(1) as other:
        with installation.database.begin() as tx:
            batches.lock(tx, batch)
            batches.move(tx, batch, BatchState.PARTIAL)
            told = other.submit(hook.tell, order_id)
            assert children.wait_until(lambda: waiting(installation) == 1, 15)
        assert told.result() == "200 accepted"

    assert installation.batch(batch) == ("ordered", None)


def test_an_answer_that_comes_after_the_event_hears_what_became_of_the_payment(installation: Installation) -> None:
    """Else the running lane would call it fenced, and count it nowhere; one that is fenced hears nothing."""
    batch, [order_id, other] = planned(installation, 2)
    kind = EffectKind.PAYMENT
    with installation.database.hold_batch(batch) as hold, listening(installation) as hook:
        with hold.begin() as tx:
            effects.claim(tx, kind, batch, hold.epoch, 10)
        assert hook.tell(order_id) == "200 accepted"
        with hold.begin() as tx:
            assert effects.settled_by_others(tx, kind, hold.epoch, [order_id, other]) == {order_id: EffectState.DONE}
            assert effects.settled_by_others(tx, kind, hold.epoch + 1, [order_id, other]) == {}


def test_the_same_event_many_times_at_once_is_taken_once(installation: Installation) -> None:
    batch, [order_id] = planned(installation)
    put(installation, order_id, "sending")
    told = event(order_id)
    with listening(installation) as hook, ThreadPoolExecutor(20) as many:
        answers = list(many.map(lambda _: said(hook.post(told)), range(40)))

    assert sorted(set(answers)) == ["200 accepted", "200 duplicate"]
    assert answers.count("200 accepted") == 1
    assert inbox(installation, order_id) == [("applied", None)]
    assert len(installation.states("notifications", batch)) == 1


@contextmanager
def command(installation: Installation, home: Path) -> Iterator[tuple[Hook, subprocess.Popen[str]]]:
    """``bulk-orders webhooks`` as a process of its own."""
    environment = {
        "DATABASE_URL": installation.url,
        "BULK_ORDERS_HOME": str(home),
        "BULK_ORDERS_ENCRYPTION_KEY": installation.key,
        "BULK_ORDERS_KEY_SHEETS_DIR": str(installation.folder / "home" / "keys" / "sheets"),
        "PAYMENT_WEBHOOK_SECRET": SECRET,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli.main", "webhooks", "--port", "0"],
        env=children.python_environment(environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        hook = Hook(process.stdout.readline().split()[1])
        yield hook, process
        hook.http.close()
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)


def test_killed_between_commit_and_answer_the_sender_comes_again_and_nothing_happens_twice(
    installation: Installation, home: Path
) -> None:
    """4.6. The commit takes a while: the process is stopped in it, and killed when the database has finished it."""
    batch, [order_id] = planned(installation)
    put(installation, order_id, "sending")
    told = event(order_id)
    _commits_slowly(installation)
    with command(installation, home) as (hook, process), ThreadPoolExecutor(1) as other:
        answer = other.submit(_post_or_none, hook, told)
        assert children.wait_until(lambda: _is_committing(installation), 15)
        os.kill(process.pid, signal.SIGSTOP)
        assert children.wait_until(lambda: payment(installation, order_id) == ("done", None), 15)
        os.kill(process.pid, signal.SIGKILL)
        assert answer.result() is None

    with command(installation, home) as (hook, process):
        assert said(hook.post(told)) == "200 duplicate"
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert inbox(installation, order_id) == [("applied", None)]
    assert len(installation.states("notifications", batch)) == 1


def test_killed_before_the_commit_nothing_has_happened_and_the_sender_comes_again(
    installation: Installation, home: Path
) -> None:
    """4.7."""
    _, [order_id] = planned(installation)
    put(installation, order_id, "sending")
    told = event(order_id)
    with command(installation, home) as (hook, process), ThreadPoolExecutor(1) as other:
        with psycopg.connect(installation.url, options="-c search_path=bulk_orders,public") as blocker:
            blocker.execute("select from payments where order_id = %s for update", [order_id])
            answer = other.submit(_post_or_none, hook, told)
            assert children.wait_until(lambda: waiting(installation) == 1, 15)
            os.kill(process.pid, signal.SIGKILL)
            assert answer.result() is None
    assert payment(installation, order_id) == ("sending", None)
    assert inbox(installation, order_id) == []

    with command(installation, home) as (hook, _):
        assert said(hook.post(told)) == "200 accepted"
    assert payment(installation, order_id) == ("done", None)


def _post_or_none(hook: Hook, told: dict[str, object]) -> str | None:
    import httpx

    try:
        return said(hook.post(told))
    except httpx.HTTPError:
        return None


def _commits_slowly(installation: Installation) -> None:
    """A trigger that runs within COMMIT and takes its time there, once."""
    installation.execute(
        """create function commit_slowly() returns trigger language plpgsql as
           'begin perform pg_sleep(2); return null; end'"""
    )
    installation.execute(
        """create constraint trigger slow after insert on webhook_inbox deferrable initially deferred
           for each row execute function commit_slowly()"""
    )


def waiting(installation: Installation) -> int:
    """How many sessions wait for a lock."""
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return int(installation.execute(query)[0][0])


def _is_committing(installation: Installation) -> bool:
    query = "select count(*) from pg_stat_activity where query ilike 'commit' and state = 'active'"
    return bool(installation.execute(query)[0][0])
