"""What a call that went wrong tells. "Certainly not done" needs proof; everything else is doubt, never failure.

The servers here are real sockets: what the transport makes of a broken connection is exactly what is to be known.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import struct
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import httpx
import pytest
from httpx_aiohttp.transport import map_aiohttp_exceptions

from domain.outcomes import LookUp, Outcome, OutcomeClass
from domain.profiles import ServiceProfile
from resources.services import classify, http
from resources.services.http import MAX_ANSWER_BYTES, AnswerTooLarge, ServiceConnection
from resources.services.notifications import NotificationService, mail_body
from resources.services.payments import PaymentService, payment_body
from tests.unit.servers import answer, request_of, says, server

ORDER, YEN = 42, 1_500
GOOD = {"payment_id": "pay_1", "order_id": ORDER, "amount": 1500.0, "currency": "JPY", "status": "completed"}


# -- exceptions, each through the real mapping of the transport -------------------------------------------------------

# The only proofs that no byte of the request left this machine.
NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)


def all_classes(module: Any) -> list[type[Exception]]:
    found = {cls for _, cls in inspect.getmembers(module, inspect.isclass) if issubclass(cls, Exception)}
    found = {cls for cls in found if not issubclass(cls, Warning)}
    return sorted(found, key=lambda cls: cls.__name__)


def made(cls: type[Exception]) -> Exception:
    """An instance, whatever its constructor asks for: only its class is looked at."""
    error = cls.__new__(cls)
    error.__dict__.update(host="h", port=1, ssl=None, _conn_key=None, _os_error=OSError(), os_error=OSError())
    return error


def through_the_transport(error: Exception) -> Exception:
    class Named(type(error)):  # type: ignore[misc]  # its text would need the arguments it was not given
        def __str__(self) -> str:
            return "text"

    try:
        with map_aiohttp_exceptions():
            raise made(Named)
    except Exception as mapped:
        return mapped
    raise AssertionError("swallowed")


@pytest.mark.parametrize("cls", all_classes(aiohttp), ids=lambda cls: cls.__name__)
def test_every_exception_of_the_transport_is_doubt_unless_nothing_can_have_been_sent(cls: type[Exception]):
    outcome = classify.of_exception(through_the_transport(made(cls)), "PAY")
    # Doubt is always allowed, certainty is not: the transport does not map a plain InvalidURL.
    allowed = {OutcomeClass.AMBIGUOUS, *([OutcomeClass.NOT_DONE] if issubclass(cls, NEVER_SENT) else [])}

    assert outcome.systemic
    assert outcome.cls in allowed


@pytest.mark.parametrize("cls", all_classes(httpx), ids=lambda cls: cls.__name__)
def test_every_exception_of_httpx_itself_is_doubt_unless_nothing_can_have_been_sent(cls: type[Exception]):
    outcome = classify.of_exception(made(cls), "MAIL")
    never_sent = cls in (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.PoolTimeout)

    assert outcome.cls is (OutcomeClass.NOT_DONE if never_sent else OutcomeClass.AMBIGUOUS)
    assert outcome.systemic


def subclasses(*roots: type[BaseException]) -> list[type[Exception]]:
    found, todo = set[type[Any]](), list[type[Any]](roots)
    while todo:
        cls = todo.pop()
        if cls not in found and issubclass(cls, Exception):
            found.add(cls)
            todo.extend(cls.__subclasses__())
    return sorted(found, key=lambda cls: (cls.__module__, cls.__name__))


@pytest.mark.parametrize(
    "cls",
    subclasses(
        httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict, aiohttp.ClientError, OSError
    ),
    ids=lambda cls: f"{cls.__module__}.{cls.__name__}",
)
def test_no_class_of_error_that_a_call_may_end_in_is_taken_for_certainty_by_itself(cls: type[Exception]):
    """Also those that a library keeps to itself or adds one day; the proof is in the cause, or in three names."""
    outcome = classify.of_exception(made(cls), "PAY")
    never_sent = issubclass(cls, (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.PoolTimeout))

    assert outcome.cls is (OutcomeClass.NOT_DONE if never_sent else OutcomeClass.AMBIGUOUS)


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), OSError(), ValueError(), RuntimeError(), AnswerTooLarge(), UnicodeDecodeError("x", b"", 0, 1, "")],
)
def test_any_other_exception_is_doubt(error: Exception):
    assert classify.of_exception(error, "PAY").cls is OutcomeClass.AMBIGUOUS


def test_a_lost_connection_is_doubt_although_the_transport_calls_it_a_connect_timeout():
    """httpx-aiohttp maps ServerDisconnectedError onto httpx.ConnectTimeout, which elsewhere means: never sent."""
    mapped = through_the_transport(aiohttp.ServerDisconnectedError())

    assert isinstance(mapped, httpx.ConnectTimeout)
    assert classify.of_exception(mapped, "PAY").cls is OutcomeClass.AMBIGUOUS


# -- statuses ---------------------------------------------------------------------------------------------------------


def refusal(status: int, profile: ServiceProfile | None = None, **headers: str) -> Outcome:
    raw = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    response = httpx.Response(status, headers=raw)
    return classify.of_refusal(response, profile or ServiceProfile(), "PAY")


REFUSED = {400, 402, 404, 405, 410, 411, 413, 414, 415, 422}
NOT_DONE = {401, 403, 407, 429}


def test_every_status_means_one_thing():
    statuses = [status for status in range(100, 600) if not 200 <= status < 300]
    outcomes = {status: refusal(status) for status in statuses}

    assert {s for s, outcome in outcomes.items() if outcome.cls is OutcomeClass.REFUSED} == REFUSED
    assert {s for s, outcome in outcomes.items() if outcome.cls is OutcomeClass.NOT_DONE} == NOT_DONE
    in_doubt = {s for s, outcome in outcomes.items() if outcome.cls is OutcomeClass.AMBIGUOUS}
    assert in_doubt == set(statuses) - REFUSED - NOT_DONE
    assert {s for s, outcome in outcomes.items() if outcome.systemic} == {
        *range(300, 400),
        401,
        403,
        407,
        *range(500, 600),
    }
    assert all(outcome.http_status == s for s, outcome in outcomes.items())


@pytest.mark.parametrize("status", [408, 409, 425, 499, 500, 502, 503, 504, 520, 524])
def test_a_status_behind_which_there_may_be_a_charge_is_doubt(status: int):
    assert refusal(status).cls is OutcomeClass.AMBIGUOUS


def test_a_503_is_a_promise_only_where_the_profile_says_so():
    promising = ServiceProfile(unavailable_means_not_done=True)

    assert refusal(503, promising).cls is OutcomeClass.NOT_DONE
    assert refusal(502, promising).cls is OutcomeClass.AMBIGUOUS


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "key_reused"}},
        {"error": {"type": "idempotency_error", "message": "Keys for idempotent requests ..."}},
        {"errors": [{"title": "Idempotency-Key mismatch"}]},
        {"detail": "key was used before", "code": "KEY CONFLICT"},
    ],
)
def test_a_key_that_was_used_with_other_content_is_no_refusal(status: int, body: object):
    """3.12: our mistake; and behind that key there may be a charge."""
    response = httpx.Response(status, json=body)
    keys = ServiceProfile(honours_keys=True)

    outcome = classify.of_refusal(response, keys, "PAY")

    assert outcome.cls in (OutcomeClass.MISMATCH, OutcomeClass.AMBIGUOUS)
    assert status == 409 or outcome.reason == "PAY-KEY-REUSED"
    assert status == 409 or classify.of_refusal(response, ServiceProfile(), "PAY").cls is OutcomeClass.REFUSED


@pytest.mark.parametrize("status", sorted(REFUSED))
@pytest.mark.parametrize(
    "page",
    [{"text": "no such path", "headers": {"content-type": "text/html"}}, {"content": b"\n<!DOCTYPE html><h1>"},
     {"content": b"<HTML><h1>400 The plain HTTP request was sent to HTTPS port"}],
)  # fmt: skip
def test_a_page_of_a_gateway_refuses_no_payment(status: int, page: dict[str, Any]):
    """It is put in front of the service, or in its place: rejecting a whole batch for it could not be taken back."""
    outcome = classify.of_refusal(httpx.Response(status, **page), ServiceProfile(), "PAY")

    assert (outcome.cls, outcome.systemic, outcome.reason) == (OutcomeClass.AMBIGUOUS, True, "PAY-OUTCOME-UNKNOWN")
    other = classify.of_refusal(httpx.Response(status, text="no such order"), ServiceProfile(), "PAY")
    assert other.cls is OutcomeClass.REFUSED  # a service that answers errors as text is taken at its word


def test_a_503_that_says_when_to_ask_again_is_obeyed():
    """3.10."""
    assert refusal(503, retry_after="7").retry_after_seconds == 7.0
    assert refusal(503).retry_after_seconds is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0", 0.0), ("99999", 120.0), ("", 1.0), ("soon", 1.0), ("-5", 1.0), ("1.5", 1.0), ("٣", 1.0)],
)
def test_the_wait_asked_for_is_taken_within_bounds(text: str, seconds: float):
    assert refusal(429, retry_after=text).retry_after_seconds == seconds


def test_the_wait_may_be_a_date():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    earlier = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)

    assert 27 < (refusal(429, retry_after=later).retry_after_seconds or 0) <= 30
    assert refusal(429, retry_after=earlier).retry_after_seconds == 0.0


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("req-1_A", "req-1_A"),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("taro@example.jp", None),
        ("a b", None),
        ("", None),
    ],
)
def test_a_request_id_of_the_service_is_kept_when_it_can_be_nothing_else(header: str, kept: str | None):
    """An answer's header is foreign text: it may hold anything."""
    assert refusal(500, x_request_id=header).service_request_id == kept


# -- calls over real sockets ------------------------------------------------------------------------------------------


def pay(url: str, timeout_seconds: float = 2.0, profile: ServiceProfile | None = None) -> Outcome:
    async def call() -> Outcome:
        service = PaymentService(url, profile or ServiceProfile(), timeout_seconds)
        try:
            return await service.send(ORDER, YEN, payment_body(ORDER, YEN), "key")
        finally:
            await service.aclose()

    return asyncio.run(call())


def look(url: str, profile: ServiceProfile | None = None, age_seconds: float = 1.0) -> Outcome:
    async def call() -> Outcome:
        service = PaymentService(url, profile or ServiceProfile(), 2.0)
        try:
            return await service.look_up(ORDER, YEN, "key", age_seconds)
        finally:
            await service.aclose()

    return asyncio.run(call())


def pay_answered(document: object, status: str = "201 Created", *headers: str) -> Outcome:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with server(says(answer(body, status, *headers))) as url:
        return pay(url)


def test_a_good_answer_is_done():
    assert pay_answered(GOOD) == Outcome(OutcomeClass.DONE, None, 201, "pay_1")


def test_a_refused_port_is_certainly_not_done():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it, and it refuses
        outcome = pay(f"http://127.0.0.1:{taken.getsockname()[1]}")

    assert (outcome.cls, outcome.reason) == (OutcomeClass.NOT_DONE, "PAY-SERVICE-UNAVAILABLE")
    assert outcome.systemic


def test_a_name_that_nobody_knows_is_certainly_not_done():
    assert pay("http://no-such-host.invalid", timeout_seconds=5.0).cls is OutcomeClass.NOT_DONE


def test_no_tls_where_tls_was_asked_for_is_certainly_not_done():
    """The handshake comes before the request."""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"this is no handshake at all\r\n\r\n")
        await writer.drain()
        writer.close()

    with server(no_tls) as url:
        assert pay(url.replace("http:", "https:")).cls is OutcomeClass.NOT_DONE


@pytest.mark.parametrize("reads", ["nothing", "half", "all"])
def test_a_connection_closed_without_an_answer_is_doubt(reads: str):
    """The server may have read enough."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reads == "all":
            await request_of(reader)
        if reads == "half":
            await reader.read(20)
        writer.close()

    with server(hang_up) as url:
        outcome = pay(url)

    assert (outcome.cls, outcome.reason) == (OutcomeClass.AMBIGUOUS, "PAY-OUTCOME-UNKNOWN")


def test_a_connection_reset_is_doubt():
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    with server(reset) as url:
        assert pay(url).cls is OutcomeClass.AMBIGUOUS


def test_a_kept_connection_that_the_server_has_closed_is_not_used_twice_without_us_knowing():
    """The stale keep-alive: a transport that repeats a POST by itself would charge twice."""
    posts: list[bytes] = []

    async def once_then_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                posts.append(await request_of(reader))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if len(posts) > 1:
                writer.close()
                return
            writer.write(answer(json.dumps(GOOD).encode()))
            await writer.drain()

    async def twice(url: str) -> list[Outcome]:
        service = PaymentService(url, ServiceProfile(), 2.0)
        outcomes = [await service.send(ORDER, YEN, payment_body(ORDER, YEN), "key") for _ in range(2)]
        await service.aclose()
        return outcomes

    with server(once_then_hang_up) as url:
        first, second = asyncio.run(twice(url))

    assert (first.cls, second.cls) == (OutcomeClass.DONE, OutcomeClass.AMBIGUOUS)
    assert len(posts) == 2


def test_a_connection_that_was_idle_for_longer_than_servers_keep_it_is_not_used_again(monkeypatch: pytest.MonkeyPatch):
    """A POST into a connection that is just being closed is in doubt and costs a look-up."""
    monkeypatch.setattr(http, "_KEEP_ALIVE_SECONDS", 0.05)
    connections: list[int] = []

    async def keep_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        while True:
            await request_of(reader)
            connections[-1] += 1
            writer.write(answer(json.dumps(GOOD).encode()))
            await writer.drain()

    async def three_calls(url: str) -> None:
        service = PaymentService(url, ServiceProfile(), 2.0)
        for pause in (0.0, 0.0, 0.2):
            await asyncio.sleep(pause)
            assert (await service.send(ORDER, YEN, payment_body(ORDER, YEN), "key")).cls is OutcomeClass.DONE
        await service.aclose()

    with server(keep_open) as url:
        asyncio.run(three_calls(url))

    assert sum(connections) == 3
    assert connections[-1] == 1


def test_an_answer_that_dribbles_is_cut_by_the_deadline_of_the_whole_call():
    """httpx's timeouts are per read: a server that sends a byte now and then holds a call for ever."""

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        for byte in answer(b"x" * 10_000):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    begun = time.monotonic()
    with server(dribble) as url:
        outcome = pay(url, timeout_seconds=0.4)

    assert outcome.cls is OutcomeClass.AMBIGUOUS
    assert time.monotonic() - begun < 5  # 200 s without a deadline


def test_no_answer_in_time_is_doubt():
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        await asyncio.sleep(30)

    with server(silent) as url:
        assert pay(url, timeout_seconds=0.3).cls is OutcomeClass.AMBIGUOUS


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"true", b"{}", b"<html>OK</html>", b"\xff\xfe\x00", b"[" * 100_000),
        *(
            b'{"order_id": 42',
            b'{"order_id": null}',
            b'{"order_id": true}',
            b'{"order_id": 42.0}',
            b'{"order_id": "4 2"}',
        ),
        b'{"order_id": "' + b"4" * 30 + b'"}',
    ],
    ids=range(14),
)
def test_a_good_status_with_anything_but_our_effect_is_doubt(body: bytes):
    assert pay_answered(body, "200 OK").cls is OutcomeClass.AMBIGUOUS


def test_an_answer_beyond_any_sense_is_doubt():
    document = {**GOOD, "padding": "x" * MAX_ANSWER_BYTES}

    assert pay_answered(document).cls is OutcomeClass.AMBIGUOUS


def test_a_cut_answer_is_doubt():
    whole = answer(json.dumps(GOOD).encode())
    with server(says(whole[:-20])) as url:
        assert pay(url).cls is OutcomeClass.AMBIGUOUS


def test_what_a_service_puts_into_a_cookie_goes_out_with_no_later_call():
    """It may be anything, somebody's address too, and the next call may be about somebody else."""
    requests: list[bytes] = []

    async def sets_cookies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await request_of(reader))
        writer.write(answer(b"{}", "200 OK", "Set-Cookie: last=taro@example.jp; Path=/", "Connection: close"))
        await writer.drain()

    async def twice(url: str) -> None:
        connection = ServiceConnection(url, 5.0)
        for _ in range(2):
            await connection.call("GET", "/")
        await connection.aclose()

    with server(sets_cookies) as url:
        asyncio.run(twice(url))

    assert len(requests) == 2
    assert b"cookie" not in requests[1].lower()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_never_followed(status: str):
    """307 and 308 would mean: POST it again, elsewhere."""
    visits: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await request_of(reader))
        writer.write(answer(json.dumps(GOOD).encode()))
        await writer.drain()
        writer.close()

    with server(elsewhere) as there, server(says(answer(b"", status, f"Location: {there}/"))) as url:
        outcome = pay(url)

    assert outcome.cls is OutcomeClass.AMBIGUOUS
    assert visits == []


@pytest.mark.parametrize(
    "change",
    [{"order_id": 43}, {"order_id": "43"}, {"amount": 1501}, {"amount": 1500.5}, {"amount": "1501"}, {"amount": "x"},
     {"amount": None}, {"amount": [1500]}, {"amount": True}, {"currency": "USD"}, {"currency": None}, {"count": 2}],
)  # fmt: skip
def test_an_answer_about_something_else_is_never_done(change: dict[str, Any]):
    outcome = pay_answered({**GOOD, **change})

    assert (outcome.cls, outcome.reason) == (OutcomeClass.MISMATCH, "PAY-ANSWER-MISMATCH")


@pytest.mark.parametrize(
    "change", [{"amount": 1500}, {"amount": "1500"}, {"amount": "1500.0"}, {"order_id": "42"}, {"count": 1}]
)
def test_the_same_thing_in_another_spelling_is_done(change: dict[str, Any]):
    assert pay_answered({**GOOD, **change}).cls is OutcomeClass.DONE


@pytest.mark.parametrize("status", ["declined", "failed", "FAILED", "rejected", "cancelled"])
def test_a_good_status_that_says_no_in_its_body_is_a_no(status: str):
    outcome = pay_answered({**GOOD, "status": status})

    assert (outcome.cls, outcome.reason) == (OutcomeClass.REFUSED, "PAY-DECLINED")


@pytest.mark.parametrize("status", ["pending", "processing", "", None, 7, "unheard of"])
def test_a_status_in_the_body_that_is_no_yes_and_no_no_is_doubt(status: object):
    assert pay_answered({**GOOD, "status": status}).cls is OutcomeClass.AMBIGUOUS


@pytest.mark.parametrize("missing", ["payment_id", "status", "amount", "currency"])
def test_what_the_legacy_answer_may_leave_out_is_no_doubt(missing: str):
    outcome = pay_answered({name: value for name, value in GOOD.items() if name != missing})

    assert outcome.cls is OutcomeClass.DONE
    assert outcome.remote_id == ("order-42" if missing == "payment_id" else "pay_1")


@pytest.mark.parametrize(
    "denial",
    [{"success": False}, {"ok": False}, {"exists": False}, {"error": "declined"}, {"errors": [{"code": "x"}]},
     {"count": 0}, {"status": "queued"}, {"status": "accepted"}, {"status": "processing"}],
)  # fmt: skip
def test_a_good_status_beside_a_denial_is_doubt(denial: dict[str, object]):
    """Neither paid nor refused: it is looked up."""
    assert pay_answered({**GOOD, **denial}).cls is OutcomeClass.AMBIGUOUS
    assert looked_up({**GOOD, **denial}).cls is OutcomeClass.AMBIGUOUS
    harmless = {"error": None, "errors": [], "success": True, "count": 1}
    assert pay_answered({**GOOD, **harmless}).cls is OutcomeClass.DONE


def test_a_look_up_that_only_repeats_the_question_has_found_nothing():
    echo = {name: value for name, value in GOOD.items() if name not in ("payment_id", "status")}

    assert looked_up(echo).cls is OutcomeClass.AMBIGUOUS
    assert looked_up({**echo, "payment": None, "payment_id": None}).cls is OutcomeClass.AMBIGUOUS
    assert looked_up({**echo, "status": "completed"}).cls is OutcomeClass.DONE
    assert looked_up({**echo, "payment_id": "pay_1"}).cls is OutcomeClass.DONE


def test_no_answer_is_asked_for_compressed():
    """We read the octets as they come: behind a gateway that compresses, every answer would be doubt."""
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer(json.dumps(GOOD).encode(), "200 OK"))
        await writer.drain()

    with server(talk) as url:
        assert look(url).cls is OutcomeClass.DONE
    assert b"accept-encoding: identity\r\n" in asked[0].lower()


def test_a_compressed_answer_that_nobody_asked_for_is_doubt():
    import gzip

    body = gzip.compress(json.dumps(GOOD).encode())

    assert pay_answered(body, "201 Created", "Content-Encoding: gzip").cls is OutcomeClass.AMBIGUOUS


def looked_up(body: object, status: str = "200 OK") -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with server(says(answer(raw, status))) as url:
        return look(url)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        ("200 OK", GOOD, OutcomeClass.DONE),
        ("404 Not Found", {}, OutcomeClass.ABSENT),
        ("404 Not Found", b"<html>", OutcomeClass.AMBIGUOUS),
        ("404 Not Found", b"", OutcomeClass.AMBIGUOUS),
        ("200 OK", {**GOOD, "order_id": 43}, OutcomeClass.MISMATCH),
        ("200 OK", {**GOOD, "count": 2}, OutcomeClass.MISMATCH),
        ("200 OK", b"<html>", OutcomeClass.AMBIGUOUS),
        ("200 OK", [], OutcomeClass.AMBIGUOUS),
        ("429 Too Many Requests", {}, OutcomeClass.NOT_DONE),
        *((status, {}, OutcomeClass.AMBIGUOUS) for status in ("302 Found", "400 Bad", "401 No", "405 No", "410 Gone",
                                                              "500 Oh", "503 Later")),
    ],
)  # fmt: skip
def test_a_look_up_tells_what_it_tells_and_no_more(status: str, body: object, expected: OutcomeClass):
    """Above all: nothing but a 404 of the service itself says that there is no effect; a gateway says it in HTML."""
    assert looked_up(body, status).cls is expected


def test_without_a_look_up_nobody_is_asked():
    nowhere = "http://127.0.0.1:9"

    keys = ServiceProfile(look_up=LookUp.NONE, honours_keys=True, key_ttl_seconds=60.0)

    assert look(nowhere, ServiceProfile(look_up=LookUp.NONE)).cls is OutcomeClass.MISMATCH
    assert look(nowhere, keys, age_seconds=59.0).cls is OutcomeClass.SEND_AGAIN
    assert look(nowhere, keys, age_seconds=60.0).cls is OutcomeClass.MISMATCH  # the key is forgotten by now


def test_a_plain_404_says_absent_only_where_the_profile_says_so():
    with server(says(answer(b"gone", "404 Not Found"))) as url:
        assert look(url, ServiceProfile(plain_not_found_means_absent=True)).cls is OutcomeClass.ABSENT


@pytest.mark.parametrize(
    ("status", "works"),
    [("404 Not Found", True), ("405 Not Allowed", True), ("200 OK", True), ("500 Oh", False), ("401 No", False),
     ("302 Found", False)],
)  # fmt: skip
def test_a_service_that_answers_a_probe_at_all_works(status: str, works: bool):
    async def probe(url: str) -> Outcome:
        service = PaymentService(url, ServiceProfile(look_up=LookUp.NONE), 2.0)
        outcome = await service.probe()
        await service.aclose()
        return outcome

    with server(says(answer(b"", status))) as url:
        assert asyncio.run(probe(url)).systemic is not works


@pytest.mark.parametrize(
    ("body", "systemic"),
    [
        (b"<html>We are back soon</html>", True),
        (b"\x1f\x8b\x08", True),
        *((b"", False), (b"{}", False), (b"[]", False), (b"null", False)),
        *((json.dumps(GOOD).encode(), False), (json.dumps({**GOOD, "order_id": 7}).encode(), False)),
    ],
)
def test_what_is_no_json_counts_against_the_service_as_a_whole(body: bytes, systemic: bool):
    """A maintenance page with a good status must pause the batch; a service that answers nothing is looked up."""
    assert pay_answered(body, "200 OK").systemic is systemic


@pytest.mark.parametrize(
    ("given", "kept"), [("pay_1", "pay_1"), (7, "7"), ("x" * 128, "x" * 128), ("", "order-42"), (None, "order-42")]
)
def test_the_id_of_the_service_is_kept(given: object, kept: str):
    assert pay_answered({**GOOD, "payment_id": given}).remote_id == kept


@pytest.mark.parametrize("given", ["x" * 129, "支払い", "a\u0000b", "a\ud800b", "a\nb"])
def test_an_id_that_cannot_be_kept_is_kept_as_its_digest(given: str):
    """Cut off, two charges could look like one; as it is, the database could refuse it after the charge."""
    outcome = pay_answered({**GOOD, "payment_id": given})

    assert outcome.cls is OutcomeClass.DONE
    assert outcome.remote_id is not None
    assert len(outcome.remote_id) == len("sha256-") + 64


@pytest.mark.parametrize(
    "given", ["taro@example.jp", "Taro Yamada", "<1.taro@example.jp>", "O'Neil", "taro%40example.jp"]
)
def test_an_id_that_looks_like_somebody_is_kept_as_its_digest(given: str):
    """R-43: some services call a mail by its recipient, and ids stand in clear in the database and in reports."""
    outcome = pay_answered({**GOOD, "payment_id": given})

    assert outcome.cls is OutcomeClass.DONE
    assert outcome.remote_id is not None
    assert outcome.remote_id.startswith("sha256-")


DIALECTS: dict[str, tuple[dict[str, Any], object]] = {
    "as a number in text": ({}, {**GOOD, "order_id": "42", "payment_id": 7, "amount": "1500.00"}),
    "with more fields": ({}, {**GOOD, "links": {"self": "/x"}, "fees": [1, 2], "customer": None}),
    "inside another field": ({"answer_field": "data"}, {"data": GOOD, "meta": {"order_id": 9}}),
    "other names": (
        {"order_field": "orderRef", "id_field": "txn"},
        {"orderRef": 42, "txn": "t-1", "amount": 1500, "currency": "JPY", "payment_id": "other"},
    ),
    "another word": ({"done_words": ("Settled",)}, {**GOOD, "status": "SETTLED"}),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_in_the_service_s_own_way_is_read_as_its_profile_says(dialect: str):
    settings, document = DIALECTS[dialect]
    with server(says(answer(json.dumps(document).encode(), "200 OK"))) as url:
        outcome = pay(url, profile=ServiceProfile(**settings))

    assert outcome.cls is OutcomeClass.DONE
    assert outcome.remote_id == {"as a number in text": "7", "other names": "t-1"}.get(dialect, "pay_1")


@pytest.mark.parametrize("dialect", ["inside another field", "other names", "another word"])
def test_without_its_profile_such_an_answer_is_doubt_and_never_more(dialect: str):
    _, document = DIALECTS[dialect]

    assert pay_answered(document).cls is OutcomeClass.AMBIGUOUS


@pytest.mark.parametrize(
    ("found", "cls"),
    [([], OutcomeClass.ABSENT), ([GOOD], OutcomeClass.DONE), ([GOOD, GOOD], OutcomeClass.MISMATCH),
     ([{**GOOD, "order_id": 7}], OutcomeClass.MISMATCH), ([None], OutcomeClass.AMBIGUOUS)],
)  # fmt: skip
def test_a_look_up_that_lists_is_believed_where_the_profile_says_that_it_lists(found: list[Any], cls: OutcomeClass):
    with server(says(answer(json.dumps(found).encode(), "200 OK"))) as url:
        listing, single = look(url, ServiceProfile(look_up_lists=True)), look(url)

    assert listing.cls is cls
    assert single.cls is OutcomeClass.AMBIGUOUS


@pytest.mark.parametrize("honours_keys", [True, False])
def test_a_key_is_sent_only_to_a_service_that_honours_it(honours_keys: bool):
    requests: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await request_of(reader))
        writer.write(answer(json.dumps(GOOD).encode()))
        await writer.drain()
        writer.close()

    with server(note) as url:
        pay(url, profile=ServiceProfile(honours_keys=honours_keys))

    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert (b"idempotency-key: key" in head.lower()) == honours_keys
    assert body == payment_body(ORDER, YEN) == b'{"amount":1500.0,"currency":"JPY","order_id":42}'


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch):
    """A proxy would see every customer's mail; and loopback does not go through one."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert pay_answered(GOOD).cls is OutcomeClass.DONE


def test_a_mail_is_checked_by_its_order_only():
    async def send(url: str) -> Outcome:
        service = NotificationService(url, ServiceProfile(), 2.0)
        body = mail_body(order_id=ORDER, to="a@example.jp", subject="s", text="t")
        outcome = await service.send(ORDER, YEN, body, "key")
        await service.aclose()
        return outcome

    document = {"notification_id": "ntf_1", "order_id": ORDER, "status": "sent"}
    with server(says(answer(json.dumps(document).encode()))) as url:
        done = asyncio.run(send(url))
    with server(says(answer(json.dumps({**document, "order_id": 7}).encode()))) as url:
        other = asyncio.run(send(url))
    with server(says(answer(b"{}", "402 Payment Required"))) as url:
        refused = asyncio.run(send(url))

    assert (done.cls, done.remote_id) == (OutcomeClass.DONE, "ntf_1")
    assert (other.cls, other.reason) == (OutcomeClass.MISMATCH, "MAIL-ANSWER-MISMATCH")
    assert (refused.cls, refused.reason) == (OutcomeClass.REFUSED, "MAIL-REFUSED")
