"""What can be thrown at the webhook over the network (ASVS; fault list 4.4, 4.10, 4.11): a clean no, and it goes on."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from shutil import which
from typing import Any

import psycopg
import pytest

from tests.integration.batches import Installation
from tests.integration.webhook import (
    SECRET,
    Hook,
    event,
    inbox,
    listening,
    payment,
    planned,
    put,
    said,
    signed,
    trail,
)
from webhooks.connection import ConnectionLimits
from webhooks.desk import DeskLimits
from webhooks.server import Limits

QUICK = Limits(ConnectionLimits(connections=40, read_seconds=1.0, total_seconds=3.0), DeskLimits(answer_seconds=2.0))
INSIDE = ("python", "aiohttp", "traceback", "postgres", "psycopg", "sqlalchemy", "error:", "file ", ".py")


@pytest.fixture
def hook(installation: Installation) -> Iterator[Hook]:
    with listening(installation, QUICK) as running:
        yield running


@pytest.fixture
def order_id(installation: Installation) -> int:
    _, [only] = planned(installation)
    put(installation, only, "sending", "unknown")
    return only


def raw(hook: Hook, *pieces: bytes, wait_seconds: float = 5.0) -> bytes:
    """Everything that comes back over a plain socket, until the other side closes."""
    with closing(socket.create_connection(("127.0.0.1", hook.port), timeout=wait_seconds)) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            while received := connection.recv(65_536):
                answer += received
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer


def head(body: bytes, *lines: str, length: int | None = None) -> bytes:
    """The head of a signed request for this body."""
    words = ["POST /api/v1/webhooks/payments HTTP/1.1", "Host: x", "Content-Type: application/json"]
    words += [f"Payment-Signature: {signed(body)}", *lines]
    if length is not None:
        words.append(f"Content-Length: {length}")
    return ("\r\n".join(words) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"Payment_Signature": ""}, "401 signature_missing"),
        ({"Payment_Signature": "t=1,v1=" + "0" * 64}, "401 signature_expired"),
        ({"Payment_Signature": lambda: f"t={int(time.time())},v1=" + "0" * 64}, "401 signature_wrong"),
        ({"Payment_Signature": "Bearer abc"}, "401 signature_malformed"),
        ({"Content_Type": "text/plain"}, "415 content_type_unsupported"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, "415 content_type_unsupported"),
        ({"Content_Encoding": "gzip"}, "415 content_type_unsupported"),
    ],
)
def test_a_request_that_is_not_right_changes_nothing(
    installation: Installation, hook: Hook, order_id: int, headers: dict[str, Any], answer: str
) -> None:
    # What hangs on the time is made now: the parameters are as old as the session.
    made = {name: value() if callable(value) else value for name, value in headers.items()}
    response = hook.post(event(order_id), **made)

    assert said(response) == answer
    assert payment(installation, order_id)[0] == "unknown"
    assert inbox(installation, order_id) == []


def test_a_body_that_was_changed_on_the_way_is_forged(installation: Installation, hook: Hook, order_id: int) -> None:
    body = json.dumps(event(order_id)).encode()
    response = hook.post(body.replace(b"1500", b"1501"), Payment_Signature=signed(body))

    assert said(response) == "401 signature_wrong"
    assert payment(installation, order_id)[0] == "unknown"


def test_an_old_request_rightly_signed_is_a_replay(installation: Installation, hook: Hook, order_id: int) -> None:
    body = json.dumps(event(order_id)).encode()

    assert said(hook.post(body, Payment_Signature=signed(body, at=time.time() - 400))) == "401 signature_expired"
    assert payment(installation, order_id)[0] == "unknown"


def test_forgeries_stand_in_the_trail_as_codes_and_counts(installation: Installation, hook: Hook) -> None:
    """A flood of them is an entry a second, not one each."""
    with ThreadPoolExecutor(8) as many:
        list(many.map(lambda _: hook.post(b"canary", Payment_Signature="t=1,v1=" + "0" * 64), range(60)))
    time.sleep(1.5)
    query = "select event, reason from audit_events where chain = 'system:webhooks'"
    entries = installation.execute(query)

    assert {event_ for event_, _ in entries} == {"webhook:refused:signature_expired"}
    assert sum(int(reason.split()[0]) for _, reason in entries) == 60
    assert len(entries) < 10
    assert installation.execute("select fault from audit_verify('system:webhooks')") == []


def test_what_was_refused_is_written_down_before_the_end(installation: Installation) -> None:
    with listening(installation, QUICK) as hook:
        hook.post(b"{}", Payment_Signature="")

    assert trail(installation, "system:webhooks") == ["webhook:refused:signature_missing"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"{", "400 body_malformed"),
        (b"[" * 60_000, "400 body_malformed"),
        (b'{"event_id": "a", "event_id": "b"}', "400 body_malformed"),
        (json.dumps(event(1, "payment.exploded")).encode(), "422 type_unknown"),
        (json.dumps(event(2**31)).encode(), "422 field_invalid"),
        (json.dumps(event(1, amount=10**40)).encode(), "422 field_invalid"),
        (b" " * 65_537, "413 body_too_large"),
    ],
)
def test_a_genuine_request_without_sense_is_a_clean_no(hook: Hook, body: bytes, answer: str) -> None:
    assert said(hook.post(body)) == answer


def test_ten_megabytes_are_not_read(hook: Hook) -> None:
    started = time.monotonic()
    answer = raw(hook, head(b"", length=10_000_000), *([b"x" * 65_536] * 150))

    assert b" 413 " in answer or answer == b""
    assert time.monotonic() - started < 4.5  # total_seconds and some
    assert said(hook.post(b"{}")) == "422 field_invalid"


def test_a_body_in_pieces_without_end_is_cut_off(hook: Hook) -> None:
    piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = raw(hook, head(b"", "Transfer-Encoding: chunked"), *([piece] * 50))

    assert b" 413 " in answer or answer == b""


@pytest.mark.parametrize(
    "lines",
    [
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: -1",),
        ("Content-Length: +5",),
        ("Transfer-Encoding: chunked, identity",),
        (" folded: x",),
        ("X" * 5_000 + ": x",),
        ("X: " + "x" * 5_000,),
        *([tuple(f"X-{n}: x" for n in range(100))]),
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(
    installation: Installation, hook: Hook, lines: tuple[str, ...]
) -> None:
    """Request smuggling: what a proxy in front and we read differently."""
    answer = raw(hook, head(b"hello", *lines), b"0\r\n\r\nhello")

    assert re.match(rb"HTTP/1\.[01] 400 ", answer)
    assert answer.count(b"HTTP/1.") == 1
    assert installation.execute("select count(*) from webhook_inbox") == [(0,)]


def test_only_one_request_is_read_from_a_connection(installation: Installation, hook: Hook, order_id: int) -> None:
    first, second = (json.dumps(event(order_id)).encode() for _ in range(2))
    answer = raw(hook, head(first, length=len(first)) + first + head(second, length=len(second)) + second)

    assert answer.count(b"HTTP/1.1") == 1
    assert inbox(installation, order_id) == [("applied", None)]


def test_a_second_signature_header_is_refused(hook: Hook) -> None:
    assert b"signature_malformed" in raw(hook, head(b"", "Payment-Signature: t=1", length=0))


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 100, b"<xml/>\r\n\r\n"])
def test_what_is_no_http_is_answered_or_cut_off(hook: Hook, garbage: bytes) -> None:
    answer = raw(hook, garbage)

    assert answer == b"" or re.match(rb"HTTP/1\.[01] 400 ", answer)


@pytest.mark.parametrize("first", [b"", b"POST /api/v1/webhooks/payments HTTP/1.1\r\nHost: x\r\nX-"])
def test_a_head_that_never_ends_is_cut_off(hook: Hook, first: bytes) -> None:
    """Slow-loris."""
    started = time.monotonic()

    assert raw(hook, first, wait_seconds=10) == b""
    assert time.monotonic() - started < 9


def test_a_body_that_never_ends_is_told_so(hook: Hook) -> None:
    body = json.dumps(event(1)).encode()
    answer = raw(hook, head(body, length=len(body)) + body[:10], wait_seconds=10)

    assert b" 408 " in answer
    assert b"body_too_slow" in answer


def test_connections_beyond_the_bound_are_sent_away_and_the_others_served(hook: Hook) -> None:
    idle = [socket.create_connection(("127.0.0.1", hook.port)) for _ in range(60)]
    try:
        time.sleep(0.3)
        assert raw(hook).startswith(b"HTTP/1.1 503 ")
    finally:
        for connection in idle:
            connection.close()
    time.sleep(0.3)
    assert said(hook.post(b"{}")) == "422 field_invalid"


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/api/v1/webhooks/payments", "405 method_not_allowed"),
        ("DELETE", "/api/v1/webhooks/payments", "405 method_not_allowed"),
        ("POST", "/api/v1/webhooks/payments/", "404 path_unknown"),
        ("GET", "/", "404 path_unknown"),
        ("GET", "/../../etc/passwd", "404 path_unknown"),
        ("GET", "/health", "200 ok"),
    ],
)
def test_nothing_else_is_offered(hook: Hook, method: str, path: str, answer: str) -> None:
    response = hook.http.request(method, f"http://127.0.0.1:{hook.port}{path}")

    assert said(response) == answer


def test_no_answer_tells_about_the_inside(hook: Hook) -> None:
    told = [hook.post(b"{").headers, hook.post(b"{", Payment_Signature="").headers]
    texts = [str(headers) for headers in told]
    texts += [raw(hook, request).decode() for request in (b"\0\r\n\r\n", head(b"x", "Content-Length: x"), b"A" * 9_000)]
    texts += [hook.http.get(f"http://127.0.0.1:{hook.port}/x").text]

    for text in texts:
        assert not [word for word in INSIDE if word in text.lower()]


def test_the_database_away_is_a_503_to_come_again(installation: Installation) -> None:
    """4.7: no 200 before it is durable."""
    _, [order_id] = planned(installation)
    put(installation, order_id, "sending")
    told = event(order_id)
    with listening(installation, QUICK) as hook, psycopg.connect(installation.url) as blocker:
        blocker.execute("lock table bulk_orders.webhook_inbox in access exclusive mode")
        response = hook.post(told)
        assert said(response) in ("503 unavailable", "503 overloaded")
        assert int(response.headers["Retry-After"]) > 0
        blocker.rollback()
        assert said(hook.post(told)) in ("200 accepted", "200 duplicate")
        assert payment(installation, order_id) == ("done", None)


def test_a_burst_over_a_slow_database_is_answered_in_time(installation: Installation) -> None:
    """R-17: ten seconds. What cannot be judged in time is sent away to come again, and nothing is lost."""
    _, orders = planned(installation, 200)
    for order_id in orders:
        put(installation, order_id, "sending")
    installation.execute(
        """create function pg_temp_slow() returns trigger language plpgsql as
           'begin perform pg_sleep(0.2); return null; end'"""
    )
    installation.execute(
        "create trigger slow after insert on webhook_inbox for each row execute function pg_temp_slow()"
    )
    events = {order_id: event(order_id) for order_id in orders}
    with listening(installation, Limits(desk=DeskLimits(answer_seconds=4.0))) as hook, ThreadPoolExecutor(200) as many:

        def tell(order_id: int) -> tuple[str, float]:
            started = time.monotonic()
            return said(hook.post(events[order_id])), time.monotonic() - started

        answers = dict(zip(orders, many.map(tell, orders), strict=True))
        assert {word for word, _ in answers.values()} <= {"200 accepted", "503 overloaded", "503 unavailable"}
        assert max(seconds for _, seconds in answers.values()) < 10.0
        accepted = [order_id for order_id, (word, _) in answers.items() if word == "200 accepted"]
        assert accepted
        assert {payment(installation, order_id) for order_id in accepted} == {("done", None)}
        installation.execute("drop trigger slow on webhook_inbox")
        for order_id in orders:
            assert said(hook.post(events[order_id])) in ("200 accepted", "200 duplicate")

    assert installation.execute("select state, count(*) from payments group by 1") == [("done", 200)]
    assert installation.execute("select count(*) from notifications") == [(200,)]


@pytest.mark.skipif(not (which("openssl") and which("curl")), reason="the example needs both")
def test_the_example_of_the_documentation_works(installation: Installation) -> None:
    """docs/webhook.md is what the other side builds from."""
    text = (Path(__file__).parents[2] / "docs" / "webhook.md").read_text(encoding="utf-8")
    example = text.partition("```sh\n")[2].partition("```")[0]
    with listening(installation) as hook:
        script = example.replace("127.0.0.1:3001", f"127.0.0.1:{hook.port}")
        environment = {"PATH": os.environ["PATH"], "PAYMENT_WEBHOOK_SECRET": SECRET}
        done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == {"result": "parked"}
    assert inbox(installation, 17) == [("parked", None)]


def test_two_secrets_are_accepted_while_one_is_exchanged(installation: Installation) -> None:
    body = b"{}"
    with listening(installation, QUICK, SECRET, "before-0123456789-0123456789-0123456789") as hook:
        for secret in (SECRET, "before-0123456789-0123456789-0123456789"):
            assert said(hook.post(body, Payment_Signature=signed(body, secret))) == "422 field_invalid"
        assert said(hook.post(body, Payment_Signature=signed(body, "z" * 40))) == "401 signature_wrong"
