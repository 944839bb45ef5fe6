"""One call for many effects: each item's outcome comes from its own result, found by its key and never by its place."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import Any

import pytest

from domain.outcomes import LookUp, Outcome, OutcomeClass
from domain.profiles import ServiceProfile
from resources.services.batch_calls import BatchAnswer, BatchItem
from resources.services.payments import PaymentService, payment_body
from tests.unit.servers import Talk, answer, request_of, says, server

DONE, REFUSED, NOT_DONE = OutcomeClass.DONE, OutcomeClass.REFUSED, OutcomeClass.NOT_DONE
AMBIGUOUS, MISMATCH = OutcomeClass.AMBIGUOUS, OutcomeClass.MISMATCH

WITH_KEYS = ServiceProfile(batch_size=10, honours_keys=True)
BY_ORDER = ServiceProfile(batch_size=10, batch_item_keys=False)


def item(order_id: int, yen: int = 1_500) -> BatchItem:
    return BatchItem(order_id, yen, payment_body(order_id, yen), f"key-{order_id}")


ITEMS = [item(41), item(42), item(43)]


def result(order_id: int, /, **changes: Any) -> dict[str, Any]:
    """What the service says of one item that went well."""
    good = {
        "idempotency_key": f"key-{order_id}",
        "order_id": order_id,
        "payment_id": f"pay_{order_id}",
        "amount": 1500.0,
        "currency": "JPY",
        "status": "completed",
        "http_status": 201,
    }
    return {**good, **changes}


GOOD = [result(i.order_id) for i in ITEMS]


def send(url: str, profile: ServiceProfile = WITH_KEYS, items: list[BatchItem] | None = None) -> BatchAnswer:
    async def call() -> BatchAnswer:
        service = PaymentService(url, profile, 1.0)
        try:
            return await service.send_batch(items or ITEMS)
        finally:
            await service.aclose()

    return asyncio.run(call())


def answered(document: object, status: str = "200 OK", profile: ServiceProfile = WITH_KEYS) -> BatchAnswer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with server(says(answer(body, status))) as url:
        return send(url, profile)


def classes(came: BatchAnswer) -> list[OutcomeClass]:
    return [came.items[i.order_id].cls for i in ITEMS]


# -- the request ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [WITH_KEYS, BY_ORDER])
def test_each_item_travels_as_it_was_digested_and_its_key_beside_it(profile: ServiceProfile):
    requests: list[bytes] = []

    async def note(reader: Any, writer: Any) -> None:
        requests.append(await request_of(reader))
        writer.write(answer(json.dumps({"results": GOOD}).encode()))
        await writer.drain()

    with server(note) as url:
        send(url, profile)

    head, _, body = requests[0].partition(b"\r\n\r\n")
    keys = {"idempotency_key"} if profile.batch_item_keys else set()
    assert head.startswith(b"POST /api/v1/payments/batch HTTP/1.1\r\n")
    assert b"idempotency-key" not in head.lower()
    assert [set(sent) for sent in json.loads(body)["items"]] == [{"order_id", "amount", "currency"} | keys] * 3
    for sent in ITEMS:
        assert sent.body[1:] in body


def test_the_profile_may_name_another_path():
    visited: list[bytes] = []

    async def note(reader: Any, writer: Any) -> None:
        visited.append((await request_of(reader)).split()[1])
        writer.write(answer(b"{}"))
        await writer.drain()

    with server(note) as url:
        send(url, ServiceProfile(batch_size=10, batch_path="/v2/bulk-payments"))

    assert visited == [b"/v2/bulk-payments"]


# -- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [WITH_KEYS, BY_ORDER], ids=["by key", "by order"])
@pytest.mark.parametrize("status", ["200 OK", "201 Created", "207 Multi-Status"])
@pytest.mark.parametrize("order", list(itertools.permutations(GOOD)), ids=range(6))
def test_results_in_any_order_belong_to_their_items(profile: ServiceProfile, status: str, order: Any):
    came = answered({"results": order}, status, profile)

    assert {i: o.remote_id for i, o in came.items.items()} == {41: "pay_41", 42: "pay_42", 43: "pay_43"}
    assert classes(came) == [DONE, DONE, DONE]
    assert (came.foreign, came.call.systemic) == (0, False)


@pytest.mark.parametrize("document", [GOOD, {"items": GOOD}, {"data": GOOD, "count": 3}, {"results": GOOD, "items": 3}])
def test_the_list_of_results_is_found_where_it_stands(document: object):
    assert classes(answered(document)) == [DONE, DONE, DONE]


ONE_ITEM = {
    "declined": ({"http_status": 402, "status": "declined"}, REFUSED, "PAY-DECLINED"),
    "refused": ({"http_status": 422, "status": "rejected"}, REFUSED, "PAY-REFUSED"),
    "throttled": ({"http_status": 429}, NOT_DONE, "PAY-THROTTLED"),
    "conflict": ({"http_status": 409, "status": "conflict"}, AMBIGUOUS, "PAY-OUTCOME-UNKNOWN"),
    "failed with a 500": ({"http_status": 500, "status": "failed"}, AMBIGUOUS, "PAY-OUTCOME-UNKNOWN"),
    "a 503 that promises nothing": ({"http_status": 503}, AMBIGUOUS, "PAY-OUTCOME-UNKNOWN"),
    "a redirect": ({"http_status": 302}, AMBIGUOUS, "PAY-OUTCOME-UNKNOWN"),
    "still at work": ({"http_status": 202, "status": "pending"}, AMBIGUOUS, "PAY-OUTCOME-UNKNOWN"),
    "status as a number": ({"http_status": None, "status": 402}, REFUSED, "PAY-DECLINED"),
    "another amount": ({"amount": 1501.0}, MISMATCH, "PAY-ANSWER-MISMATCH"),
    "another currency": ({"currency": "USD"}, MISMATCH, "PAY-ANSWER-MISMATCH"),
    "another order": ({"order_id": 999}, MISMATCH, "PAY-ANSWER-MISMATCH"),
    "a refusal of another order": ({"order_id": 999, "http_status": 402}, MISMATCH, "PAY-ANSWER-MISMATCH"),
    "no order": ({"order_id": None}, AMBIGUOUS, "PAY-OUTCOME-UNKNOWN"),
    "key used before": ({"http_status": 422, "error": {"code": "key_reused"}}, MISMATCH, "PAY-KEY-REUSED"),
}


@pytest.mark.parametrize("case", ONE_ITEM)
def test_what_becomes_of_one_item_touches_no_other(case: str):
    """Error isolation per item (R-19)."""
    changes, cls, reason = ONE_ITEM[case]

    came = answered({"results": [GOOD[2], result(42, **changes), GOOD[0]]})

    assert classes(came) == [DONE, cls, DONE]
    assert came.items[42].reason == reason
    assert not came.call.systemic


def test_a_number_as_the_status_of_an_item_that_went_well_is_no_doubt():
    came = answered({"results": [result(i.order_id, http_status=None, status=201) for i in ITEMS]})

    assert classes(came) == [DONE, DONE, DONE]


def test_an_item_without_a_result_is_in_doubt():
    assert classes(answered({"results": [GOOD[2], GOOD[0]]})) == [DONE, AMBIGUOUS, DONE]


@pytest.mark.parametrize("second", [GOOD[1], {**GOOD[1], "http_status": 402}], ids=["the same", "another"])
def test_two_results_for_one_item_are_a_mismatch_whatever_they_say(second: dict[str, Any]):
    assert classes(answered({"results": [*GOOD, second]})) == [DONE, MISMATCH, DONE]


@pytest.mark.parametrize(
    "extra",
    [result(99), {"order_id": 42, "status": "completed"}, {}, 7, None, [GOOD[0]], {**GOOD[0], "idempotency_key": 1}],
)
def test_a_result_that_nobody_asked_for_is_counted_and_believed_in_nothing(extra: object):
    came = answered({"results": [extra, *GOOD[:2]]})

    assert classes(came) == [DONE, DONE, AMBIGUOUS]
    assert came.foreign == 1


def test_the_key_decides_and_not_the_order_where_there_are_keys():
    """Two answers that swapped their orders: both are wrong, and neither is done."""
    swapped = [result(41, order_id=42), result(42, order_id=41), GOOD[2]]

    assert classes(answered({"results": swapped})) == [MISMATCH, MISMATCH, DONE]


def test_no_answer_at_all_can_make_an_effect_done_that_its_own_result_does_not_claim():
    """Whatever is mixed, repeated, left out or renamed: done means exactly one result, with this key, order and yen."""
    dice = random.Random(11)
    pool = [*GOOD, result(99), result(41, amount=7), result(42, order_id=43), result(43, http_status=500), {}, None]
    with_answers: list[tuple[list[Any], BatchAnswer]] = []
    bodies = [[dice.choice(pool) for _ in range(dice.randint(0, 6))] for _ in range(60)]
    pending = iter(bodies)

    async def talk(reader: Any, writer: Any) -> None:
        await request_of(reader)
        writer.write(answer(json.dumps({"results": next(pending)}).encode()))
        await writer.drain()
        writer.close()

    with server(talk) as url:
        with_answers = [(body, send(url)) for body in bodies]

    for body, came in with_answers:
        assert set(came.items) == {41, 42, 43}
        for i in ITEMS:
            own = [r for r in body if isinstance(r, dict) and r.get("idempotency_key") == i.key]
            assert (came.items[i.order_id].cls is DONE) == (own == [result(i.order_id)])


# -- the call as such -------------------------------------------------------------------------------------------------


async def hang_up(reader: Any, writer: Any) -> None:
    await request_of(reader)
    writer.close()


async def silent(reader: Any, writer: Any) -> None:
    await request_of(reader)
    await asyncio.sleep(30)


TALKS: dict[str, Talk] = {
    "hangs up": hang_up,
    "says nothing": silent,
    "is cut": says(answer(json.dumps({"results": GOOD}).encode())[:-30]),
    "500": says(answer(b"", "500 Oh")),
    "502": says(answer(b"<html>", "502 Bad Gateway")),
    "503": says(answer(b"", "503 Busy")),
    "302": says(answer(b"", "302 Found", "Location: /elsewhere")),
    "409": says(answer(b"{}", "409 Conflict")),
    "402": says(answer(b"{}", "402 Payment Required")),
    "422": says(answer(b"{}", "422 Unprocessable")),
    "HTML": says(answer(b"<html>maintenance</html>", "200 OK")),
    "no results": says(answer(b'{"accepted": true}', "202 Accepted")),
    "nothing": says(answer(b"", "200 OK")),
}


@pytest.mark.parametrize("case", TALKS)
def test_a_call_that_did_not_come_back_clearly_leaves_every_item_in_doubt(case: str):
    """Refused by 402 or 422 as a whole: perhaps one item was, and others were done before it."""
    with server(TALKS[case]) as url:
        came = send(url)

    assert classes(came) == [AMBIGUOUS, AMBIGUOUS, AMBIGUOUS]
    assert not any(outcome.systemic for outcome in came.items.values()), "one lost call is one failure, not three"


def test_a_port_that_refuses_is_certainly_not_done_for_every_item():
    came = send("http://127.0.0.1:9")

    assert classes(came) == [NOT_DONE, NOT_DONE, NOT_DONE]
    assert came.call.systemic


def test_too_often_holds_for_every_item_and_says_how_long():
    with server(says(answer(b"{}", "429 Slow Down", "Retry-After: 7"))) as url:
        came = send(url)

    assert classes(came) == [NOT_DONE, NOT_DONE, NOT_DONE]
    assert came.call.throttled
    assert {outcome.retry_after_seconds for outcome in came.items.values()} == {7.0}


@pytest.mark.parametrize("status", [400, 404, 405, 411, 413, 414, 415])
def test_a_call_that_was_refused_unread_says_nothing_about_its_items(status: int):
    """Too many items, no such path: each can go alone, for certain."""
    came = answered(b"{}", f"{status} No")

    assert came.items == {}
    assert came.call == Outcome(REFUSED, "PAY-REFUSED", status)
    of_a_gateway = answered(b"<html>", f"{status} No")
    assert (of_a_gateway.items, of_a_gateway.call.systemic) == ({}, False)


def test_a_400_may_come_after_some_items_were_done_and_without_keys_all_are_looked_up():
    with server(says(answer(b"{}", "400 Bad Request"))) as url:
        came = send(url, BY_ORDER)

    assert classes(came) == [AMBIGUOUS, AMBIGUOUS, AMBIGUOUS]


def test_items_that_all_fail_with_5xx_count_against_the_service_once():
    came = answered({"results": [result(i.order_id, http_status=500) for i in ITEMS]})

    assert classes(came) == [AMBIGUOUS, AMBIGUOUS, AMBIGUOUS]
    assert came.call.systemic


def test_a_throttled_item_throttles_the_lane():
    assert answered({"results": [GOOD[0], result(42, http_status=429), GOOD[2]]}).call.throttled


def test_a_large_answer_to_a_large_call_is_read():
    """The bound on answers grows with the items: a cut answer would put all of them in doubt."""
    items = [item(n) for n in range(1, 401)]
    results = [result(i.order_id, note="x" * 1_000) for i in items]
    with server(says(answer(json.dumps({"results": results}).encode()))) as url:
        came = send(url, items=items)

    assert {outcome.cls for outcome in came.items.values()} == {DONE}


def test_without_keys_on_the_items_no_repeat_is_safe():
    """A profile that honours keys of single calls only: a batch call carries none."""
    keys_of_singles = ServiceProfile(honours_keys=True, look_up=LookUp.NONE, batch_size=10, batch_item_keys=False)
    with_items = ServiceProfile(honours_keys=True, look_up=LookUp.NONE, batch_size=10)

    repeats = [PaymentService("http://127.0.0.1:9", p, 1.0).may_repeat(5.0) for p in (keys_of_singles, with_items)]

    assert repeats == [False, True]
