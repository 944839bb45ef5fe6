"""Payments that stop before the rest is paid: the canary, tolerated failures, a second person's approval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from assets.batch_report.work import close_batch
from assets.effects.work import EffectLimits
from domain.errors import BatchPaused, BulkOrdersError
from domain.guards import GuardLimits
from orchestration import operations
from orchestration.forecast import forecast
from resources.database import batches
from resources.database.connection import Actor
from resources.database.database import Database
from tests.integration.batches import Installation, limits, order_row, services, work_through, working


@pytest.fixture
def charging(payments: Any) -> Any:
    payments.behave(unique_orders=False)
    return payments


def between(charger: Any, mailer: Any) -> Any:
    return services(str(charger.http.base_url), str(mailer.http.base_url))


def guarded(concurrency: int = 8, **guards: Any) -> EffectLimits:
    return replace(limits(concurrency=concurrency, chunk=concurrency), guards=GuardLimits(**guards))


def stopped(installation: Installation, batch: str, of: Any, within: EffectLimits) -> BatchPaused:
    with pytest.raises(BatchPaused) as paused:
        work_through(installation, batch, of, within)

    return paused.value


def states(installation: Installation, batch: str) -> list[str]:
    query = "select state from payments where batch_id = %s order by import_row_number"
    return [state for (state,) in installation.execute(query, batch)]


def asked(service: Any, ids: list[int]) -> set[int]:
    """The orders for which the service was asked for anything at all."""
    query = "SELECT DISTINCT order_id FROM charges WHERE order_id BETWEEN ? AND ?"
    return {order_id for (order_id,) in service.rows(query, ids[0], ids[-1])}


@contextmanager
def acting(installation: Installation, name: str) -> Iterator[Database]:
    database = Database(installation.url, Actor(name))
    try:
        yield database
    finally:
        database.dispose()


def refused(act: Any) -> str:
    with pytest.raises(BulkOrdersError) as caught:
        act()

    return caught.value.code


# -- canary -----------------------------------------------------------------------------------------------------------


def test_a_good_canary_goes_alone_and_then_the_rest_follows_in_the_same_run(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """Until all of the canary is settled no other payment may be claimed; rejected rows leave gaps in the numbers."""
    rows = [order_row(), order_row(email=""), *(order_row() for _ in range(28))]
    batch = installation.ordered(rows)
    ids = installation.order_ids(batch)
    charging.behave(latency_seconds=0.1)
    _, books = work_through(installation, batch, between(charging, notifications), guarded(canary_payments=4))
    query = """select max(ended_at) filter (where order_id = any(%s)),
                      min(started_at) filter (where order_id <> all(%s))
               from effect_attempts where kind = 'payments'"""
    [(canary_ended, rest_began)] = installation.execute(query, ids[:4], ids[:4])

    assert canary_ended <= rest_began
    assert books.payments.count() == len(ids) == 29
    assert asked(charging, ids) == set(ids)
    assert installation.execute("select sends_up_to_row from batches where batch_id = %s", batch) == [(None,)]
    trail = [event for (event,) in installation.execute("select event from audit_events where chain = %s", batch)]
    assert [event for event in trail if "canary" in event] == ["batch:canary:begun", "batch:canary:over"]


def test_a_bad_canary_stops_the_batch_before_the_rest_and_a_person_lets_it_go_on(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(20)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"decline": ids[1:3]})
    within = guarded(canary_payments=5, canary_failed_percent=20)
    paused = stopped(installation, batch, between(charging, notifications), within)

    assert (paused.code, paused.facts["failed"], paused.facts["canary"]) == ("BATCH-STOPPED-CANARY", 2, 5)
    assert installation.batch(batch) == ("paused", "BATCH-STOPPED-CANARY")
    assert asked(charging, ids) <= set(ids[:5])
    assert states(installation, batch)[5:] == ["planned"] * 15
    with installation.database.begin() as tx:
        assert batches.unfinished(tx) == []
    # What is paid has its mail all the same.
    mailed = notifications.rows("SELECT count(*) FROM mails WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    assert mailed == [(len(asked(charging, ids)),)]

    operations.continue_(installation.database, batch)
    _, books = work_through(installation, batch, between(charging, notifications), within)
    assert books.paid_orders == 18
    assert installation.execute("select decision, code from decisions") == [("continue", "BATCH-STOPPED-CANARY")]
    assert close_batch(installation.database, batch).batch.state == "partial"


def test_a_canary_that_was_killed_is_the_same_canary_for_the_next_worker(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(12)
    ids = installation.order_ids(batch)
    within = guarded(concurrency=2, canary_payments=4, canary_failed_percent=0)
    charging.behave(latency_seconds=0.2, fault_orders={"decline": [ids[3]]})
    with working(installation, batch, between(charging, notifications), within) as work:
        for _ in work.reports():
            break  # whoever drains the reports is gone
    found = states(installation, batch)
    paused = stopped(installation, batch, between(charging, notifications), within)

    assert found[4:] == ["planned"] * 8
    assert paused.code == "BATCH-STOPPED-CANARY"
    assert states(installation, batch)[4:] == ["planned"] * 8
    assert installation.execute("select sends_up_to_row from batches where batch_id = %s", batch) == [(4,)]


# -- tolerated failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", [{"tolerated_failures": 2}, {"tolerated_failed_percent": 5.0}])
def test_too_many_failures_stop_the_batch_and_what_was_begun_comes_home(
    installation: Installation, charging: Any, notifications: Any, guard: dict[str, Any]
) -> None:
    batch = installation.ordered(40)
    ids = installation.order_ids(batch)
    # Slower than a commit on a busy machine: what is in flight when the guard closes is two calls and their followers.
    charging.behave(fault_orders={"decline": ids[:20]}, latency_seconds=0.3)
    paused = stopped(installation, batch, between(charging, notifications), guarded(concurrency=2, **guard))
    found = Counter(states(installation, batch))

    assert paused.code == "BATCH-STOPPED-FAILURES"
    assert paused.facts["tolerated"] == 2
    assert 3 <= found["rejected"] <= 6
    assert found["planned"] > 20
    assert set(found) <= {"rejected", "planned", "retry_wait"}


def test_a_batch_within_its_tolerance_is_not_stopped(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(10)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"decline": ids[:2]})
    _, books = work_through(installation, batch, between(charging, notifications), guarded(tolerated_failures=2))

    assert books.paid_orders == 8


def test_a_batch_whose_last_payment_is_one_too_many_has_nothing_left_to_stop(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"decline": [ids[2]]})
    _, books = work_through(installation, batch, between(charging, notifications), guarded(1, tolerated_failures=0))

    assert books.everything_settled
    assert close_batch(installation.database, batch).batch.state == "partial"


# -- a second person --------------------------------------------------------------------------------------------------


def test_above_the_limit_nothing_is_paid_until_another_person_approves(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    with acting(installation, "cli:hanako") as hanako:
        mine = Installation.__new__(Installation)
        mine.__dict__ = installation.__dict__ | {"database": hanako}
        batch = mine.ordered(3)
    ids = installation.order_ids(batch)
    within = guarded(approval_above_jpy=1_000)
    paused = stopped(installation, batch, between(charging, notifications), within)

    assert paused.code == "BATCH-APPROVAL-NEEDED"
    assert installation.batch(batch) == ("paused", "BATCH-APPROVAL-NEEDED")
    assert asked(charging, ids) == set()
    assert states(installation, batch) == []
    approve = operations.approve
    with acting(installation, "ui:Hanako") as same, acting(installation, "dagster") as nobody:
        assert refused(lambda: approve(same, batch, within.guards)) == "BATCH-APPROVAL-OWN"
        assert refused(lambda: approve(nobody, batch, within.guards)) == "BATCH-PERSON-UNKNOWN"
        assert refused(lambda: operations.continue_(same, batch)) == "BATCH-APPROVAL-NEEDED"
    assert installation.execute("select count(*) from decisions") == [(0,)]
    with acting(installation, "cli:jiro") as jiro:
        approve(jiro, batch, within.guards)
        assert refused(lambda: approve(jiro, batch, within.guards)) == "BATCH-NOTHING-TO-APPROVE"
    _, books = work_through(installation, batch, between(charging, notifications), within)

    assert books.everything_succeeded
    jpy = books.accepted_jpy
    assert installation.execute("select decision, decided_by, amount_jpy from decisions") == [
        ("approve", "cli:jiro", jpy)
    ]


def test_an_approval_before_the_batch_asks_for_it_counts(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(2)
    within = guarded(approval_above_jpy=1_000)
    with acting(installation, "cli:jiro") as jiro:
        operations.approve(jiro, batch, within.guards)
    _, books = work_through(installation, batch, between(charging, notifications), within)

    assert books.everything_succeeded


def test_a_batch_below_the_limit_or_not_read_yet_or_ended_has_nothing_to_approve(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    small = installation.ordered(1)
    unread = installation.admitted(installation.write([order_row()]))
    ended = installation.ordered(1)
    work_through(installation, ended, between(charging, notifications))
    close_batch(installation.database, ended)
    strict, generous = GuardLimits(approval_above_jpy=0), GuardLimits()
    with acting(installation, "cli:jiro") as jiro:
        assert refused(lambda: operations.approve(jiro, small, generous)) == "BATCH-NOTHING-TO-APPROVE"
        assert refused(lambda: operations.approve(jiro, unread, strict)) == "BATCH-NOTHING-TO-APPROVE"
        assert refused(lambda: operations.approve(jiro, ended, strict)) == "BATCH-FINISHED"


def test_a_batch_that_waits_for_an_approval_can_be_cancelled(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(2)
    within = guarded(approval_above_jpy=1_000)
    stopped(installation, batch, between(charging, notifications), within)
    operations.cancel(installation.database, batch)
    work_through(installation, batch, between(charging, notifications), within)

    assert states(installation, batch) == ["cancelled", "cancelled"]
    assert close_batch(installation.database, batch).batch.state == "cancelled"


# -- dry run ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_yen_calls_least_time_and_whether_a_second_person_is_needed(
    installation: Installation,
) -> None:
    from assets.validated_csv.limits import ReadingLimits
    from domain.profiles import ServiceProfile

    rows = [order_row(amount="1000") for _ in range(25)]
    path = installation.write(rows)

    def found(guards: GuardLimits) -> dict[str, Any]:
        payments = ServiceProfile(batch_size=10, honours_keys=True)
        mails = ServiceProfile(rate_per_second=5.0)
        told = forecast(
            path,
            "shop",
            ReadingLimits(),
            installation.database,
            installation.vault,
            payments=payments,
            notifications=mails,
            guards=guards,
        )
        return told.as_json()

    plain = found(GuardLimits())
    strict = found(GuardLimits(canary_payments=20, approval_above_jpy=24_999))

    assert (plain["amount_jpy"], plain["payment_calls"], plain["mail_calls"]) == (25_000, 3, 25)
    assert plain["least_seconds"] == 5.0
    assert (plain["canary_payments"], plain["needs_approval"]) == (0, False)
    assert (strict["canary_payments"], strict["needs_approval"]) == (20, True)
    assert not found(GuardLimits(approval_above_jpy=25_000))["needs_approval"]
