"""Every fault of the sandbox: what the caller sees, and whether the effect truly happened."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest

from sandbox.arrivals import most_in_one_second
from sandbox.faults import EFFECT_FAULTS, LOOKUP_FAULTS, Reach

SINGLE_KINDS = [kind for kind, fault in EFFECT_FAULTS.items() if fault.reach is not Reach.BATCH_ITEM]
SEEN = {
    "decline": "402",
    "error_500": "500",
    "error_500_before": "500",
    "error_500_after": "500",
    "error_503": "503",
    "error_503_after": "503",
    "error_429": "429",
    "timeout": "ReadTimeout",
    "timeout_before": "ReadTimeout",
    "timeout_after": "ReadTimeout",
    "late_effect": "ReadTimeout",
    "reset": "ReadError",
    "reset_before": "ReadError",
    "reset_after": "ReadError",
    "garbled": "no json",
    "truncated": "RemoteProtocolError",
    "html": "no json",
    "redirect": "302",
    "wrong_amount": "other amount",
    "wrong_order": "other order",
    "slow": "ReadTimeout",
    "absent": "404",
}


def observed(send: Any, order: int, good_status: int) -> str:
    """What a careful caller sees, in one word."""
    try:
        answer = send()
        if answer.status_code != good_status:
            return str(answer.status_code)
        document = answer.json()
    except httpx.TransportError as error:
        return type(error).__name__
    except ValueError:
        return "no json"
    if document["order_id"] != order:
        return "other order"
    return "other amount" if document["amount"] != 1500.0 else "good"


@pytest.mark.parametrize("kind", SINGLE_KINDS)
def test_a_fault_is_seen_and_the_ledger_knows_whether_the_effect_happened(payments: Any, kind: str) -> None:
    """The effect of 'after' faults is there although the caller was told nothing or something else."""
    order = payments.new_order()
    # "slow" sends in 20 pieces: each must be later than the client's patience with one read.
    payments.behave(fault_orders={kind: [order]}, hang_seconds=6 if kind == "slow" else 0.4)
    document = {"order_id": order, "amount": 1500.0, "currency": "JPY"}
    seen = observed(lambda: payments.http.post("/api/v1/payments", json=document, timeout=0.2), order, 201)
    charged_at_once = payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order)[0][0]
    if kind == "late_effect":
        wait_for_charge(payments, order)
    charged = payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order)[0][0]
    fired = payments.rows("SELECT fault, effects FROM requests WHERE order_id = ? AND route = 'single'", order)

    assert seen == {**SEEN, "html": "200"}[kind]
    assert charged == int(EFFECT_FAULTS[kind].effect)
    assert fired == [(kind, charged)]
    assert charged_at_once == (0 if kind == "late_effect" else charged)


def wait_for_charge(payments: Any, order: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not payments.rows("SELECT 1 FROM charges WHERE order_id = ?", order):
        time.sleep(0.02)


def test_a_slow_answer_can_keep_each_read_alive_and_still_take_long(payments: Any) -> None:
    """Only a deadline for the whole call helps against a server that dribbles."""
    order = payments.new_order()
    payments.behave(fault_orders={"slow": [order]}, hang_seconds=0.6)
    begun = time.monotonic()
    answer = payments.http.post(
        "/api/v1/payments", json={"order_id": order, "amount": 1500.0, "currency": "JPY"}, timeout=0.4
    )

    assert answer.status_code == 201
    assert time.monotonic() - begun > 0.4


@pytest.mark.parametrize("kind", LOOKUP_FAULTS)
def test_a_look_up_can_fail_in_every_way(payments: Any, kind: str) -> None:
    order = payments.new_order()
    payments.pay(order)
    payments.behave(lookup_faults={kind: 1.0}, hang_seconds=6 if kind == "slow" else 0.4)
    seen = observed(lambda: payments.http.get(f"/api/v1/payments/order/{order}", timeout=0.2), order, 200)

    assert seen == SEEN[kind]


def test_after_a_fault_with_an_effect_a_repeat_is_a_conflict_not_a_second_charge(payments: Any) -> None:
    order = payments.new_order()
    payments.behave(faults={"error_500_after": 1.0})

    assert [payments.pay(order).status_code for _ in range(2)] == [500, 409]


def test_a_caller_that_is_gone_changes_nothing_about_the_effect(payments: Any) -> None:
    """A worker killed in mid call leaves a charge behind that nobody was told of."""
    payments.behave(latency_seconds=0.3, effect_at=1.0)
    order = payments.new_order()
    with pytest.raises(httpx.ReadTimeout):
        payments.http.post(
            "/api/v1/payments", json={"order_id": order, "amount": 1500.0, "currency": "JPY"}, timeout=0.05
        )
    wait_for_charge(payments, order)

    assert payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order) == [(1,)]


def test_a_fault_may_strike_a_whole_batch_call_after_all_its_effects(payments: Any) -> None:
    orders = [payments.new_order() for _ in range(3)]
    payments.behave(profile="batch", fault_orders={"reset_after": [orders[1]]})
    items = [{"idempotency_key": f"b-{o}", "order_id": o, "amount": 500, "currency": "JPY"} for o in orders]
    with pytest.raises(httpx.ReadError):
        payments.http.post("/api/v1/payments/batch", json={"items": items})

    assert payments.rows("SELECT count(*) FROM charges WHERE order_id IN (?, ?, ?)", *orders) == [(3,)]


def test_the_service_never_sends_an_eleventh_mail_in_any_second(notifications: Any) -> None:
    """Ten a second for the whole service, in a sliding second, however many callers push (R-23)."""
    notifications.behave(rate_limit_per_second=10)
    order, stop, waits = notifications.new_order(), time.monotonic() + 2.3, []

    def push() -> None:
        while time.monotonic() < stop:
            answer = notifications.mail(order)
            if answer.status_code == 429:
                waits.append(int(answer.headers["Retry-After"]))
                time.sleep(0.01)

    threads = [threading.Thread(target=push) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    query = "SELECT arrived_us FROM requests WHERE order_id = ? AND outcome = 'done' ORDER BY 1"
    sent = [row[0] for row in notifications.rows(query, order)]

    assert most_in_one_second(sent) == 10
    assert len(sent) >= 20
    assert min(waits) >= 1
    assert notifications.rows("SELECT count(*) FROM mails WHERE order_id = ?", order) == [(len(sent),)]


def test_a_change_of_behaviour_with_a_wrong_name_changes_nothing(payments: Any) -> None:
    before = payments.http.get("/_sandbox/behaviour").json()
    answer = payments.http.post("/_sandbox/behaviour", json={"latency_seconds": 1, "typo": 1})

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "setting_refused")
    assert payments.http.get("/_sandbox/behaviour").json() == before
