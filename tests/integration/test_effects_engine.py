"""Payments and mails exactly once, against services that are real processes and keep their own books.

The witness is the ledger of the sandbox, read from outside. It does not refuse a second payment of an order here:
sending blindly twice would show as a second charge.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from assets.effects.stream import LaneEnded
from domain.errors import BatchBusy, BatchPaused, InvariantBroken
from domain.outcomes import LookUp
from domain.states import EffectKind
from resources.database import effects
from resources.database.books import Books
from resources.local import children
from tests.integration.batches import Installation, limits, order_row, services, work_through, working


@pytest.fixture
def charging(payments: Any) -> Any:
    """The payment service, which would charge an order twice if it were asked twice."""
    payments.behave(unique_orders=False)
    return payments


def between(charger: Any, mailer: Any, **changes: Any) -> Any:
    return services(str(charger.http.base_url), str(mailer.http.base_url), **changes)


def charges(payments: Any, order_ids: list[int]) -> Counter[int]:
    rows = payments.rows("SELECT order_id FROM charges WHERE order_id BETWEEN ? AND ?", order_ids[0], order_ids[-1])
    return Counter(order_id for (order_id,) in rows)


def mails(notifications: Any, order_ids: list[int]) -> Counter[int]:
    query = "SELECT order_id FROM mails WHERE order_id BETWEEN ? AND ?"
    return Counter(order_id for (order_id,) in notifications.rows(query, order_ids[0], order_ids[-1]))


def arrived(service: Any) -> int:
    """The number of the last request, of whatever kind."""
    return int(service.rows("SELECT coalesce(max(request_id), 0) FROM requests")[0][0])


def once(order_ids: list[int]) -> Counter[int]:
    return Counter(order_ids)


def assert_books_agree(books: Books) -> None:
    assert books.everything_settled
    assert books.notifications.count() == books.paid_orders


# -- the way it should go ---------------------------------------------------------------------------------------------


def test_every_order_is_paid_once_and_mailed_once(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(30)
    ids = installation.order_ids(batch)

    reports, books = work_through(installation, batch, between(charging, notifications))

    assert charges(charging, ids) == once(ids)
    assert mails(notifications, ids) == once(ids)
    assert books.everything_settled
    assert books.everything_succeeded
    assert {r.kind for r in reports if isinstance(r, LaneEnded) and r.out_of_order is None} == set(EffectKind)
    jpy = charging.rows("SELECT sum(amount_jpy) FROM charges WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    assert jpy == [(books.orders_jpy,)]


def test_working_through_a_finished_batch_again_calls_nobody(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(5)
    of = between(charging, notifications)
    work_through(installation, batch, of)
    before = [arrived(s) for s in (charging, notifications)]

    work_through(installation, batch, of)

    assert [arrived(s) for s in (charging, notifications)] == before


def test_mails_leave_while_other_orders_still_pay(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """LIM-005: both stages are one stream."""
    charging.behave(latency_seconds=0.05)
    batch = installation.ordered(24)
    ids = installation.order_ids(batch)

    work_through(installation, batch, between(charging, notifications), limits(concurrency=4, chunk=4))

    these = "WHERE order_id BETWEEN ? AND ?"
    [(first_mail,)] = notifications.rows(f"SELECT min(created_us) FROM mails {these}", ids[0], ids[-1])
    [(last_charge,)] = charging.rows(f"SELECT max(created_us) FROM charges {these}", ids[0], ids[-1])
    assert first_mail < last_charge


def test_a_mail_says_to_the_right_person_what_was_paid(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    row = order_row(customer_name="山田 花子", email="hanako@example.jp", amount="1234", order_number="A-7")
    batch = installation.ordered([order_row(), row, order_row()])
    ids = installation.order_ids(batch)

    work_through(installation, batch, between(charging, notifications))

    [(to, subject, body)] = notifications.rows("SELECT recipient, subject, body FROM mails WHERE order_id = ?", ids[1])
    assert to == "hanako@example.jp"
    assert "A-7" in subject
    assert "山田 花子" in body
    assert "1,234" in body


def test_a_declined_payment_puts_its_order_back_and_the_others_go_on(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(8)
    ids = installation.order_ids(batch)
    declined, *others = ids
    charging.behave(fault_orders={"decline": [declined]})

    _, books = work_through(installation, batch, between(charging, notifications))

    status = installation.execute("select status, status_reason from orders where order_id = %s", declined)
    assert status == [("PENDING", "PAY-DECLINED")]
    assert installation.states("payments", batch)[declined] == ("rejected", "PAY-DECLINED")
    assert charges(charging, ids) == once(others)
    assert mails(notifications, ids) == once(others)
    assert declined not in installation.states("notifications", batch)
    assert_books_agree(books)


def test_only_the_selected_kind_is_worked_on(installation: Installation, charging: Any, notifications: Any) -> None:
    """Each asset can be materialized alone; the mails then wait, planned."""
    batch = installation.ordered(4)
    ids = installation.order_ids(batch)
    of = between(charging, notifications)

    work_through(installation, batch, of, selected=frozenset({EffectKind.PAYMENT}))
    between_the_two = mails(notifications, ids)
    work_through(installation, batch, of, selected=frozenset({EffectKind.NOTIFICATION}))

    assert between_the_two == Counter()
    assert charges(charging, ids) == mails(notifications, ids) == once(ids)


# -- services that misbehave ------------------------------------------------------------------------------------------

# What a payment or a mail comes to when its call meets this fault once.
RECOVERS = [
    "error_500_before",
    "error_500_after",
    "error_503",
    "error_503_after",
    "error_429",
    "timeout_before",
    "timeout_after",
    "late_effect",
    "reset_before",
    "reset_after",
    "garbled",
    "truncated",
    "html",
    "redirect",
    "wrong_order",
    "slow",
]
SHORT = 0.6  # seconds for one call
HANG = 1.2
SETTLE = {"settle_seconds": HANG}  # counted from the end of the call: later than the latest late effect


@pytest.mark.parametrize("lane", ["payments", "notifications"])
def test_every_fault_of_a_service_ends_in_exactly_one_effect(
    installation: Installation, charging: Any, notifications: Any, lane: str
) -> None:
    """Doubt is settled by looking, never by sending again; what certainly did not happen is sent again."""
    batch = installation.ordered(3 * len(RECOVERS))
    ids = installation.order_ids(batch)
    service = charging if lane == "payments" else notifications
    faults = {kind: [ids[3 * i]] for i, kind in enumerate(RECOVERS)}
    service.behave(fault_orders=faults, hang_seconds=HANG)

    _, books = work_through(
        installation,
        batch,
        between(charging, notifications, payments=SETTLE, notifications=SETTLE, timeout_seconds=SHORT),
    )

    struck = "SELECT DISTINCT fault FROM requests WHERE fault IS NOT NULL AND order_id BETWEEN ? AND ?"
    assert {kind for (kind,) in service.rows(struck, ids[0], ids[-1])} == set(RECOVERS)
    assert charges(charging, ids) == once(ids)
    assert mails(notifications, ids) == once(ids)
    assert books.everything_succeeded


def test_an_answer_about_another_amount_is_looked_up(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(4)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"wrong_amount": [ids[1]]})

    _, books = work_through(installation, batch, between(charging, notifications))

    assert books.everything_succeeded
    assert charges(charging, ids) == once(ids)


def test_a_look_up_that_shows_another_amount_asks_for_a_person(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """Never a second charge, never a mail about money that nobody understands."""
    batch = installation.ordered(4)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"error_500_after": [ids[0]]}, lookup_faults={"wrong_amount": 1.0})

    _, books = work_through(installation, batch, between(charging, notifications))

    assert installation.states("payments", batch)[ids[0]] == ("review", "PAY-ANSWER-MISMATCH")
    assert charges(charging, ids) == once(ids)
    assert mails(notifications, ids) == once(ids[1:])
    assert_books_agree(books)


def test_two_charges_found_at_a_look_up_ask_for_a_person(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """3.17: the duplicate was there already; a third would be ours."""
    batch = installation.ordered(2)
    ids = installation.order_ids(batch)
    amount = installation.execute("select amount from orders where order_id = %s", ids[0])[0][0]
    assert charging.pay(ids[0], float(amount)).status_code == 201
    charging.behave(fault_orders={"reset_after": [ids[0]]})

    work_through(installation, batch, between(charging, notifications))

    assert installation.states("payments", batch)[ids[0]][0] == "review"
    assert charges(charging, ids) == Counter({ids[0]: 2, ids[1]: 1})


def test_a_replica_that_lags_is_not_believed(installation: Installation, charging: Any, notifications: Any) -> None:
    """3.18: a 404 right after a charge; absent counts only after the settle time and at the second look."""
    batch = installation.ordered(2)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"error_500_after": [ids[0]]}, lookup_delay_seconds=0.9)

    _, books = work_through(installation, batch, between(charging, notifications, payments={"settle_seconds": 0.7}))

    assert charges(charging, ids) == once(ids)
    assert books.everything_succeeded


def test_without_key_and_look_up_a_doubt_is_for_a_person(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """Never a blind resend."""
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"reset_after": [ids[0]], "reset_before": [ids[1]]})

    _, books = work_through(installation, batch, between(charging, notifications, payments={"look_up": LookUp.NONE}))

    states = installation.states("payments", batch)
    assert [states[i][0] for i in ids] == ["review", "review", "done"]
    assert charges(charging, ids) == once([ids[0], ids[2]])
    assert_books_agree(books)


CALLS = """SELECT order_id, idempotency_key, body_sha256 FROM requests
           WHERE route = 'single' AND order_id BETWEEN ? AND ?"""


def test_a_service_that_honours_keys_is_asked_with_the_same_key(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    payments.behave(profile="key_only", unique_orders=False)
    batch = installation.ordered(6)
    ids = installation.order_ids(batch)
    payments.behave(fault_orders={"reset_after": [ids[0]], "reset_before": [ids[1]], "error_500_after": [ids[2]]})
    knows_keys = {"honours_keys": True, "look_up": LookUp.NONE}

    _, books = work_through(installation, batch, between(payments, notifications, payments=knows_keys))

    assert books.everything_succeeded
    assert charges(payments, ids) == once(ids)
    calls = Counter(payments.rows(CALLS, ids[0], ids[-1]))
    assert {order_id for order_id, _, _ in calls} == set(ids)
    assert len(calls) == len({key for _, key, _ in calls}) == len(ids), "an order's calls have one key and one body"
    assert max(calls.values()) > 1, "no call was repeated"


def test_a_service_that_says_too_often_is_obeyed_and_nothing_is_given_up(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """429 is no failure of the row: more of them than there are attempts."""
    notifications.behave(rate_limit_per_second=8)
    batch = installation.ordered(14)
    ids = installation.order_ids(batch)

    reports, books = work_through(installation, batch, between(charging, notifications), limits(max_attempts=1))

    assert books.everything_succeeded
    assert mails(notifications, ids) == once(ids)
    too_often = "SELECT count(*) > 0 FROM requests WHERE outcome = 'too_many_requests' AND order_id BETWEEN ? AND ?"
    assert notifications.rows(too_often, ids[0], ids[-1]) == [(1,)]
    lowest = {report.kind: report.lowest_concurrency for report in reports if isinstance(report, LaneEnded)}
    assert lowest[EffectKind.PAYMENT] == 8
    assert lowest[EffectKind.NOTIFICATION] < 8, "fewer calls at once, where there were too many"


def test_a_refused_mail_leaves_its_order_paid(installation: Installation, charging: Any, notifications: Any) -> None:
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    notifications.behave(fault_orders={"decline": [ids[0]]})

    _, books = work_through(installation, batch, between(charging, notifications))

    assert installation.states("notifications", batch)[ids[0]] == ("rejected", "MAIL-REFUSED")
    assert installation.execute("select status from orders where order_id = %s", ids[0]) == [("PAID",)]
    assert_books_agree(books)


def test_a_payment_already_there_is_found_and_not_repeated(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    """409 of the legacy service (R-15): somebody charged this order; it is looked up."""
    batch = installation.ordered(2)
    ids = installation.order_ids(batch)
    amount = installation.execute("select amount from orders where order_id = %s", ids[0])[0][0]
    assert payments.pay(ids[0], float(amount)).status_code == 201

    _, books = work_through(installation, batch, between(payments, notifications))

    assert books.everything_succeeded
    assert charges(payments, ids) == once(ids)


# -- who may work on a batch ------------------------------------------------------------------------------------------


def test_a_second_worker_is_told_that_the_batch_is_held(installation: Installation) -> None:
    batch = installation.ordered(1)
    database = installation.database

    with (
        database.hold_batch(batch),
        pytest.raises(BatchBusy) as refused,
        database.hold_batch(batch, wait_seconds=0.3),
    ):
        pass

    assert (refused.value.code, refused.value.facts) == ("BATCH-BUSY", {"batch": batch})


def test_a_hold_ends_with_its_session_and_the_next_epoch_is_higher(installation: Installation) -> None:
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as first:
        pass
    with installation.database.hold_batch(batch, wait_seconds=2) as second:
        pass

    assert second.epoch == first.epoch + 1


def effects_of(installation: Installation, batch: str) -> list[tuple[Any, ...]]:
    columns = "order_id, state, attempts, remote_id, reason, lease_epoch"
    return installation.execute(f"select {columns} from payments where batch_id = %s order by order_id", batch)


def test_a_fenced_worker_writes_nothing_more(installation: Installation, charging: Any, notifications: Any) -> None:
    """Its lock was lost and a successor has begun: neither a result nor a new intent of it may count."""
    charging.behave(latency_seconds=1.0)
    batch = installation.ordered(40)
    of = between(charging, notifications)

    with working(installation, batch, of, limits(concurrency=4, chunk=4)) as work:
        reports = work.reports()
        next(reports)
        assert children.wait_until(lambda: "sending" in {row[1] for row in effects_of(installation, batch)}, 10)
        installation.execute("update batches set lease_epoch = lease_epoch + 1 where batch_id = %s", batch)
        installation.execute(
            "update payments set lease_epoch = lease_epoch + 1 where batch_id = %s and state = 'sending'", batch
        )
        seen = effects_of(installation, batch)
        with pytest.raises(BatchBusy):
            list(reports)

    assert effects_of(installation, batch) == seen
    assert "sending" in {row[1] for row in seen}


def test_a_fenced_worker_may_not_begin(installation: Installation) -> None:
    batch = installation.ordered(2)
    with installation.database.hold_batch(batch) as hold:
        installation.execute("update batches set lease_epoch = lease_epoch + 1 where batch_id = %s", batch)

        with pytest.raises(BatchBusy), hold.begin() as tx:
            effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 10)


def test_nothing_is_paid_before_the_orders_are_there(installation: Installation) -> None:
    """Started by hand, a stage reads the truth before it spends money."""
    batch = installation.validated([order_row()])
    of = services("http://127.0.0.1:9", "http://127.0.0.1:9")

    with pytest.raises(InvariantBroken) as refused:
        work_through(installation, batch, of)

    assert refused.value.code == "BATCH-NOT-ORDERED"


def test_nothing_is_paid_when_orders_and_file_differ(installation: Installation) -> None:
    batch = installation.ordered(2)
    installation.execute("update orders set amount = amount + 1 where order_id = %s", installation.order_ids(batch)[0])

    with pytest.raises(InvariantBroken) as refused:
        work_through(installation, batch, services("http://127.0.0.1:9", "http://127.0.0.1:9"))

    assert refused.value.code == "BATCH-BOOKS-DIFFER"


# -- after a death ----------------------------------------------------------------------------------------------------


def killed_while_sending(installation: Installation, batch: str) -> None:
    """What a worker leaves that dies between its intents and their results: all rows `sending`, of a dead epoch."""
    from assets.payments.planning import plan_payments

    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
        with hold.begin() as tx:
            effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 100)


def test_what_a_dead_worker_was_sending_is_looked_up_before_it_is_sent(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(4)
    ids = installation.order_ids(batch)
    killed_while_sending(installation, batch)
    charged = ids[:2]
    for order_id in charged:
        amount = installation.execute("select amount from orders where order_id = %s", order_id)[0][0]
        assert charging.pay(order_id, float(amount)).status_code == 201

    _, books = work_through(installation, batch, between(charging, notifications, payments={"settle_seconds": 0.5}))

    assert books.everything_succeeded
    assert charges(charging, ids) == once(ids)
    query = "SELECT order_id, route FROM requests WHERE order_id BETWEEN ? AND ? ORDER BY request_id"
    asked: dict[int, list[str]] = {order_id: [] for order_id in ids}
    for order_id, route in charging.rows(query, ids[0], ids[-1]):
        asked[order_id].append(route)
    assert [asked[i] for i in charged] == [["single", "lookup_order"]] * 2
    assert all(set(asked[i][:-1]) == {"lookup_order"} and asked[i][-1] == "single" for i in ids[2:])
    assert all(len(asked[i]) >= 3 for i in ids[2:]), "absent is believed at the second look only"


def test_a_call_of_a_dead_worker_that_arrives_late_is_waited_for(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    """Its last request may still be on the way: an absence means nothing before the settle time."""
    batch = installation.ordered(1)
    [order_id] = installation.order_ids(batch)
    killed_while_sending(installation, batch)
    amount = installation.execute("select amount from orders where order_id = %s", order_id)[0][0]

    of = between(charging, notifications, payments={"settle_seconds": 1.0})
    with working(installation, batch, of) as work:
        for report in work.reports():
            if not charges(charging, [order_id]) and not isinstance(report, LaneEnded):
                charging.pay(order_id, float(amount))
        books = work.books()

    assert charges(charging, [order_id]) == once([order_id])
    assert books.everything_succeeded


@pytest.mark.parametrize("grace_is_enough", [True, False], ids=["calls come back in time", "calls are cut off"])
def test_an_interrupted_worker_leaves_no_call_without_its_knowledge(
    installation: Installation,
    charging: Any,
    notifications: Any,
    grace_is_enough: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C, Terminate in the UI: what was in flight is settled or in doubt, what was not sent is given back."""
    from assets.effects import loop_thread

    charging.behave(latency_seconds=0.4 if grace_is_enough else 2.0, effect_at=0.0)
    if not grace_is_enough:
        monkeypatch.setattr(loop_thread.LoopThread.__init__, "__defaults__", (0.3,))
    batch = installation.ordered(30)
    ids = installation.order_ids(batch)
    of = between(charging, notifications)

    with working(installation, batch, of, limits(concurrency=6, chunk=12)) as work:
        reports = work.reports()
        next(reports)
        reports.close()

    states = Counter(state for state, _ in installation.states("payments", batch).values())
    assert states["sending"] == 0
    assert states["planned"] + states["retry_wait"] > 0
    assert states["unknown"] > 0 or grace_is_enough
    charging.behave(latency_seconds=0.0)
    _, books = work_through(installation, batch, of)
    assert books.everything_succeeded
    assert charges(charging, ids) == once(ids)
    assert mails(notifications, ids) == once(ids)


# -- a service that is out of order as a whole ------------------------------------------------------------------------


@pytest.mark.parametrize("down", ["payments", "notifications"])
def test_a_batch_pauses_while_a_service_is_down_and_goes_on_when_it_is_back(
    installation: Installation, sandbox_services: Any, down: str
) -> None:
    sandbox = sandbox_services(payments=["--set", "unique_orders=false"], notifications=["--notification-rate", "0"])
    batch = installation.ordered(20)
    of = services(sandbox.payments.url, sandbox.notifications.url)
    service = getattr(sandbox, down)
    code = {"payments": "BATCH-PAUSED-PAYMENTS", "notifications": "BATCH-PAUSED-NOTIFICATIONS"}[down]
    service.stop()

    with pytest.raises(BatchPaused) as paused:
        work_through(installation, batch, of)
    at_rest = installation.batch(batch)
    states = Counter(state for state, _ in installation.states(down, batch).values())
    service.start(ends_with_us=True)
    time.sleep(0.35)
    _, books = work_through(installation, batch, of)

    assert (paused.value.code, at_rest) == (code, ("paused", code))
    assert set(states) <= {"planned", "retry_wait"}
    assert installation.batch(batch) == ("ordered", None)
    assert books.everything_succeeded


def test_a_batch_of_one_row_pauses_too_when_the_service_answers_nothing_but_errors(
    installation: Installation, charging: Any, notifications: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage never turns a row into a failure, however few rows there are."""
    from assets.effects import calls, lane

    monkeypatch.setattr(calls, "_LONGEST_BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(lane, "_IDLE_SECONDS", 0.05)
    charging.behave(faults={"error_500_after": 1.0}, lookup_faults={"error_500": 1.0})
    batch = installation.ordered(1)
    [order_id] = installation.order_ids(batch)
    of = between(charging, notifications)

    with pytest.raises(BatchPaused):
        work_through(installation, batch, of)
    state = installation.states("payments", batch)[order_id][0]
    charging.behave(faults={}, lookup_faults={})
    time.sleep(0.35)
    _, books = work_through(installation, batch, of)

    assert state == "unknown"
    assert books.everything_succeeded
    assert charges(charging, [order_id]) == once([order_id])
