"""The webhook for tests: the real server on a real socket, and a sender that signs as docs/webhook.md says."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx

from assets.payments.planning import plan_payments
from resources.database.connection import Actor
from resources.database.database import Database
from tests.integration.batches import Installation
from webhooks.address import Address
from webhooks.inbox import Inbox
from webhooks.server import Limits, serve
from webhooks.signature import Secrets

SECRET = "test-secret-0123456789abcdef-0123456789"
ACTOR = "service:payments-webhook"
_event_ids = itertools.count(1)


def event(order_id: int, type_: str = "payment.completed", amount: object = 1500, **more: object) -> dict[str, Any]:
    """A sound event with an id of its own; ``more`` replaces fields."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "event_id": f"evt_{next(_event_ids)}",
        "type": type_,
        "occurred_at": now,
        "order_id": order_id,
        "payment_id": f"pay_{order_id}",
        "amount": amount,
        "currency": "JPY",
    } | more


def signed(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    """The header for this body."""
    t = str(int(time.time() if at is None else at))
    return f"t={t},v1={hmac.new(secret.encode(), t.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


class Hook:
    """A running webhook and its sender."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.split(":")[2].split("/")[0])
        self.http = httpx.Client(timeout=20, trust_env=False, limits=httpx.Limits(max_connections=None))

    def post(self, told: object, **headers: str) -> httpx.Response:
        """Send an event, or any bytes, properly signed unless ``headers`` say otherwise."""
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        sent = {"Content-Type": "application/json", "Payment-Signature": signed(body)}
        for name, value in headers.items():
            sent[name.replace("_", "-")] = value
        return self.http.post(self.url, content=body, headers={name: value for name, value in sent.items() if value})

    def tell(self, order_id: int, type_: str = "payment.completed", amount: object = 1500, **more: object) -> str:
        """Send a sound event; the result or the error code of the answer."""
        return said(self.post(event(order_id, type_, amount, **more)))


def said(response: httpx.Response) -> str:
    """The word of an answer, after its status."""
    document = response.json()
    word = document["error"]["code"] if "error" in document else document["result"]
    return f"{response.status_code} {word}"


@contextmanager
def listening(installation: Installation, limits: Limits | None = None, *secrets: str) -> Iterator[Hook]:
    """The webhook over this installation, in a thread of its own."""
    database = Database(installation.url, Actor(ACTOR, "", "0.0"))
    accepted = Secrets(tuple(secret.encode() for secret in secrets or (SECRET,)))
    listens, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        listens.set()

    async def run() -> None:
        await serve(
            Address("127.0.0.1", 0),
            accepted,
            Inbox(database, installation.vault),
            limits or Limits(),
            ready,
            stop,
        )

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert listens.wait(10)
    hook = Hook(urls[0])
    try:
        yield hook
    finally:
        hook.http.close()
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
        database.dispose()


def planned(installation: Installation, rows: int = 1) -> tuple[str, list[int]]:
    """A batch with its payments planned, 1,500 yen each: its id and its orders."""
    from tests.integration.batches import order_row

    batch = installation.ordered([order_row(amount="1500") for _ in range(rows)])
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
    return batch, installation.order_ids(batch)


def put(installation: Installation, order_id: int, *states: str, reason: str | None = None) -> None:
    """Take a payment through these states, as its worker would."""
    for state in states:
        installation.execute(
            """update payments set state = %s, reason = %s,
                      remote_id = case when %s = 'done' then 'pay_' || order_id end,
                      first_sent_at = case when %s = 'sending' then clock_timestamp() else first_sent_at end,
                      settles_at = clock_timestamp(), not_before = clock_timestamp() + interval '1 hour'
               where order_id = %s""",
            state,
            reason,
            state,
            state,
            order_id,
        )


def inbox(installation: Installation, order_id: int) -> list[tuple[str, str | None]]:
    """Outcome and reason of all events of an order, as they came."""
    query = "select outcome, reason from webhook_inbox where order_id = %s order by received_at"
    return [(outcome, reason) for outcome, reason in installation.execute(query, order_id)]


def payment(installation: Installation, order_id: int) -> tuple[str, str | None]:
    """State and reason of a payment."""
    [row] = installation.execute("select state, reason from payments where order_id = %s", order_id)
    return row[0], row[1]


def trail(installation: Installation, chain: str, by: str = ACTOR) -> list[str]:
    """The events that somebody left in a chain."""
    query = "select event from audit_events where chain = %s and actor = %s order by seq"
    return [row[0] for row in installation.execute(query, chain, by)]
