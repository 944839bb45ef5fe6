"""What the sandbox services answer, against the legacy contract and the capabilities of each profile."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest

NEVER_AN_ORDER = 9_000_000


def test_a_payment_is_taken_once_and_can_be_read_back(payments: Any) -> None:
    """UNIQUE(order_id) is what makes a repeat recognisable (R-15)."""
    order = payments.new_order()
    first, again = payments.pay(order, 1500.0), payments.pay(order, 1500.0)
    found = payments.http.get(f"/api/v1/payments/order/{order}")

    assert (first.status_code, again.status_code, found.status_code) == (201, 409, 200)
    wanted = {"order_id": order, "amount": 1500.0, "currency": "JPY", "status": "completed"}
    assert first.json() == found.json() == {"payment_id": first.json()["payment_id"], **wanted}
    assert again.json() == {"error": {"code": "already_exists"}}
    assert first.headers["Cache-Control"] == "no-store"
    charges = payments.rows("SELECT amount_jpy, currency FROM charges WHERE order_id = ?", order)
    outcomes = payments.rows("SELECT outcome, http_status, effects FROM requests WHERE order_id = ?", order)
    assert (charges, outcomes) == ([(1500, "JPY")], [("done", 201, 1), ("already_exists", 409, 0), ("found", 200, 0)])


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"amount": 99}, 422, "amount_out_of_range"),
        ({"amount": 1_000_001}, 422, "amount_out_of_range"),
        ({"amount": 1e400}, 400, "malformed"),
        ({"amount": 100.5}, 422, "amount_not_whole"),
        ({"amount": "1000"}, 400, "malformed"),
        ({"amount": True}, 400, "malformed"),
        ({"currency": "USD"}, 422, "currency_not_supported"),
        ({"currency": None}, 400, "malformed"),
        ({"order_id": "1"}, 400, "malformed"),
        ({"order_id": 0}, 400, "malformed"),
        ({"order_id": 2**63}, 400, "malformed"),
        ({"order_id": True}, 400, "malformed"),
    ],
)
def test_a_payment_outside_the_contract_is_refused(
    payments: Any, change: dict[str, Any], status: int, code: str
) -> None:
    order = payments.new_order()
    document = {"order_id": order, "amount": 1000.0, "currency": "JPY", **change}
    answer = payments.http.post("/api/v1/payments", content=json.dumps(document))

    assert (answer.status_code, answer.json()) == (status, {"error": {"code": code}})
    assert payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order) == [(0,)]


@pytest.mark.parametrize("amount", [100, 1_000_000])
def test_the_smallest_and_the_largest_amount_are_charged(payments: Any, amount: int) -> None:
    assert payments.pay(payments.new_order(), amount).status_code == 201


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"text"'])
def test_a_body_that_is_no_json_object_is_refused(payments: Any, body: bytes) -> None:
    assert payments.http.post("/api/v1/payments", content=body).status_code == 400


def test_paths_methods_and_sizes_that_do_not_exist_get_json_errors(payments: Any) -> None:
    http = payments.http
    answers = [
        http.get("/nowhere"),
        http.delete("/api/v1/payments"),
        http.post("/api/v1/payments", content=b" " * 1_100_000),
        http.get(f"/api/v1/payments/order/{NEVER_AN_ORDER}"),
        http.get("/api/v1/payments/order/1%20OR%201=1"),
        http.post("/api/v1/payments/batch", json={"items": [{}]}),
    ]

    assert [answer.status_code for answer in answers] == [404, 405, 413, 404, 404, 404]
    assert all(set(answer.json()) == {"error"} for answer in answers)


def test_simultaneous_requests_for_one_order_charge_once(payments: Any) -> None:
    payments.behave(latency_seconds=0.05)
    order, statuses = payments.new_order(), []
    threads = [threading.Thread(target=lambda: statuses.append(payments.pay(order).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [201] + [409] * 7


def test_a_mail_is_sent_each_time_it_is_asked_for(notifications: Any) -> None:
    """The legacy service does not look for repeats; that is how our own bugs show."""
    order = notifications.new_order()
    first = notifications.mail(order)
    found_one = notifications.http.get(f"/api/v1/notifications/order/{order}").json()
    second = notifications.mail(order)
    found_two = notifications.http.get(f"/api/v1/notifications/order/{order}").json()

    assert (first.status_code, second.status_code) == (201, 201)
    assert found_one == first.json() == {**found_one, "order_id": order, "status": "sent"}
    assert found_two == {**first.json(), "count": 2}


def test_with_unique_mails_a_repeat_is_a_conflict(notifications: Any) -> None:
    notifications.behave(unique_mails=True)
    order = notifications.new_order()

    assert [notifications.mail(order).status_code for _ in range(2)] == [201, 409]


@pytest.mark.parametrize(
    "address", ["", "taro", "a@b", "a b@example.jp", "a@example.jp,b@example.jp", "a@example.jp\n"]
)
def test_a_mail_to_what_is_no_address_is_refused(notifications: Any, address: str) -> None:
    answer = notifications.mail(notifications.new_order(), to=address)

    assert (answer.status_code, answer.json()) == (422, {"error": {"code": "invalid_address"}})


def test_a_mail_with_a_line_break_in_its_subject_is_refused(notifications: Any) -> None:
    assert notifications.mail(notifications.new_order(), subject="a\r\nBcc: b@example.jp").status_code == 400


def test_health_says_which_service_and_which_ledger(payments: Any, notifications: Any) -> None:
    found = [service.http.get("/health").json() for service in (payments, notifications)]

    assert [document["service"] for document in found] == ["payments", "notifications"]
    assert [document["ledger"] for document in found] == [
        service.rows("SELECT ledger_id FROM ledger")[0][0] for service in (payments, notifications)
    ]


def test_a_key_can_be_looked_up_and_refuses_another_body(payments: Any) -> None:
    payments.behave(profile="keys")
    order, key = payments.new_order(), f"key-{payments.new_order()}"
    first = payments.pay(order, 500, **{"Idempotency-Key": key})
    other = payments.pay(order, 600, **{"Idempotency-Key": key})
    found = payments.http.get(f"/api/v1/payments/key/{key}")

    assert [first.status_code, other.status_code, found.status_code] == [201, 422, 200]
    assert other.json()["error"]["code"] == "key_reused"
    assert first.json() == found.json()


def test_the_same_key_and_body_replays_and_charges_once(payments: Any) -> None:
    payments.behave(profile="keys", unique_orders=False)
    order, key = payments.new_order(), {"Idempotency-Key": f"key-{payments.new_order()}"}
    first, again = payments.pay(order, **key), payments.pay(order, **key)

    assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (201, first.json(), "true")
    assert payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order) == [(1,)]


def test_an_expired_key_protects_no_longer(payments: Any) -> None:
    payments.behave(profile="keys", unique_orders=False, key_ttl_seconds=0)
    order, key = payments.new_order(), {"Idempotency-Key": f"key-{payments.new_order()}"}

    assert [payments.pay(order, **key).status_code for _ in range(2)] == [201, 201]
    assert payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order) == [(2,)]


def test_a_key_that_is_in_flight_is_a_conflict(payments: Any) -> None:
    payments.behave(profile="keys", latency_seconds=0.4, effect_at=1.0)
    order, key = payments.new_order(), {"Idempotency-Key": f"key-{payments.new_order()}"}
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(payments.pay(order, **key)))
    thread.start()
    while not payments.rows("SELECT 1 FROM requests WHERE order_id = ?", order):
        time.sleep(0.01)
    second = payments.pay(order, **key)
    thread.join()

    assert (answers[0].status_code, second.status_code, second.json()["error"]["code"]) == (201, 409, "in_flight")


def test_a_declined_answer_is_kept_for_its_key_but_a_500_only_when_told(payments: Any) -> None:
    """A key that keeps a 500 is poisoned: the same key never succeeds, though the charge is there."""
    payments.behave(
        profile="keys", saved_answers="all", fault_orders={"error_500_after": [order := payments.new_order()]}
    )
    key = {"Idempotency-Key": f"key-{payments.new_order()}"}

    assert [payments.pay(order, **key).status_code for _ in range(3)] == [500, 500, 500]
    assert payments.http.get(f"/api/v1/payments/order/{order}").status_code == 200


def test_the_profile_neither_charges_twice_and_tells_nothing(payments: Any) -> None:
    payments.behave(profile="neither")
    order = payments.new_order()

    assert [payments.pay(order, **{"Idempotency-Key": "same"}).status_code for _ in range(2)] == [201, 201]
    assert payments.http.get(f"/api/v1/payments/order/{order}").status_code == 405
    assert payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order) == [(2,)]


def test_the_profile_key_only_has_no_look_up(payments: Any) -> None:
    payments.behave(profile="key_only")
    paths = ("/api/v1/payments/order/1", "/api/v1/payments/key/k")

    assert [payments.http.get(path).status_code for path in paths] == [405, 405]


def test_a_look_up_may_lag_behind_the_charge(payments: Any) -> None:
    payments.behave(lookup_delay_seconds=60)
    order = payments.new_order()
    payments.pay(order)
    before = payments.http.get(f"/api/v1/payments/order/{order}").status_code
    payments.behave(lookup_delay_seconds=0)

    assert (before, payments.http.get(f"/api/v1/payments/order/{order}").status_code) == (404, 200)


def batch_item(service: Any, order: int, **change: object) -> dict[str, object]:
    item = {"idempotency_key": f"batch-{order}", "order_id": order, "amount": 700, "currency": "JPY"}
    return {**item, **change}


def test_each_item_of_a_batch_has_its_own_result_in_no_given_order(payments: Any) -> None:
    orders = [payments.new_order() for _ in range(20)]
    payments.behave(profile="batch", fault_orders={"decline": [orders[0]], "error_500_after": [orders[1]]})
    items = [batch_item(payments, order) for order in orders] + [batch_item(payments, payments.new_order(), amount=1)]
    answer = payments.http.post("/api/v1/payments/batch", json={"items": items})
    results = answer.json()["results"]
    by_key = {result["idempotency_key"]: result for result in results}

    assert answer.status_code == 200
    assert sorted(by_key) == sorted(str(item["idempotency_key"]) for item in items)
    assert [result["order_id"] for result in results] != [item["order_id"] for item in items]
    words = {key: (result["status"], result["http_status"]) for key, result in by_key.items()}
    assert words.pop(f"batch-{orders[0]}") == ("declined", 402)
    assert words.pop(f"batch-{orders[1]}") == ("failed", 500)
    assert words.pop(str(items[-1]["idempotency_key"])) == ("rejected", 422)
    assert set(words.values()) == {("completed", 201)}
    marks = ",".join("?" * len(orders))
    assert payments.rows(f"SELECT count(*) FROM charges WHERE order_id IN ({marks})", *orders) == [(19,)]


def test_a_repeated_batch_replays_and_charges_nothing_twice(payments: Any) -> None:
    payments.behave(profile="batch", unique_orders=False, shuffle_results=False)
    items = {"items": [batch_item(payments, payments.new_order()) for _ in range(3)]}
    first, again = (payments.http.post("/api/v1/payments/batch", json=items).json() for _ in range(2))
    order = items["items"][0]["order_id"]

    assert first == again
    assert payments.rows("SELECT count(*) FROM charges WHERE order_id = ?", order) == [(1,)]


def test_results_of_a_batch_can_be_missing_repeated_or_foreign(payments: Any) -> None:
    lost, twice, odd = (payments.new_order() for _ in range(3))
    named = {"missing_item": [lost], "repeated_item": [twice], "extra_item": [odd]}
    payments.behave(profile="batch", fault_orders=named, shuffle_results=False)
    items = [batch_item(payments, order) for order in (lost, twice, odd)]
    results = payments.http.post("/api/v1/payments/batch", json={"items": items}).json()["results"]

    assert [result["order_id"] for result in results] == [twice, twice, odd, 999_999_999]
    assert payments.rows("SELECT count(*) FROM charges WHERE order_id IN (?, ?, ?)", lost, twice, odd) == [(3,)]


@pytest.mark.parametrize(("items", "status"), [([], 400), ("x", 400), ([{}] * 5, 413), ([1, {}, {"order_id": 5}], 200)])
def test_a_batch_that_is_none_is_refused_and_a_bad_item_only_by_itself(
    payments: Any, items: object, status: int
) -> None:
    payments.behave(profile="batch", batch_max_items=4)
    answer = payments.http.post("/api/v1/payments/batch", json={"items": items})

    assert answer.status_code == status
    if status == 200:
        assert [result["http_status"] for result in answer.json()["results"]] == [400, 400, 400]


def test_mails_have_a_batch_endpoint_too(notifications: Any) -> None:
    notifications.behave(profile="batch")
    order = notifications.new_order()
    item = {"idempotency_key": "m-1", "order_id": order, "to": "a@example.jp", "subject": "s", "body": "b"}
    answer = notifications.http.post("/api/v1/notifications/email/batch", json={"items": [item]})

    assert [result["status"] for result in answer.json()["results"]] == ["sent"]


def test_the_mailbox_shows_mails_as_text_and_never_as_markup(notifications: Any) -> None:
    order = notifications.new_order()
    notifications.mail(order, subject='<b>ご注文</b> & "more"', body="<script>alert(1)</script>\n二行目")
    listed = notifications.http.get("/mailbox", params={"order": order, "lang": "ja"})
    number = notifications.rows("SELECT mail_id FROM mails WHERE order_id = ?", order)[0][0]
    shown = notifications.http.get(f"/mailbox/{number}")

    assert "&lt;b&gt;ご注文&lt;/b&gt; &amp; &quot;more&quot;" in listed.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\n二行目" in shown.text
    assert "<script" not in shown.text
    assert (listed.headers["Cache-Control"], "<html lang=ja" in listed.text) == ("no-store", True)
    assert shown.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("query", [{"order": '"><script>'}, {"page": "-1"}, {"page": "9" * 30}, {"lang": "<x>"}])
def test_odd_queries_to_the_pages_are_answered_with_a_page(
    notifications: Any, payments: Any, query: dict[str, str]
) -> None:
    for page in (notifications.http.get("/mailbox", params=query), payments.http.get("/charges", params=query)):
        assert page.status_code == 200
        assert "<script" not in page.text


def test_the_mailbox_is_paged(notifications: Any) -> None:
    order = notifications.new_order()
    for _ in range(51):
        notifications.mail(order)
    pages = [notifications.http.get("/mailbox", params={"order": order, "page": page}).text for page in (1, 2)]

    assert [page.count("taro@example.jp") for page in pages] == [50, 1]
    assert ("rel=next" in pages[0], "rel=next" in pages[1]) == (True, False)
