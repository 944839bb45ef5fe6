"""The payment service tells its merchant what became of each payment, on its own account: a signed POST per event.

It is as reliable as such things are: events may come late, twice, in the wrong order, or not at all, as the behaviour
says. An event that is not taken in is sent again a few times, signed anew. Events live in memory: those of a service
that is killed are lost. Every try stands in the ledger (``event_tries``).

The format is written down in docs/webhook.md; this is written from there and shares no code with who reads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp

from sandbox.behaviour import Behaviour
from sandbox.effects import Decision, Desk
from sandbox.faults import uniform

SECRET_VARIABLE = "PAYMENT_WEBHOOK_SECRET"
_TYPES = {"done": "payment.completed", "declined": "payment.failed", "failed": "payment.failed"}
_TRIES = 6
_TIMEOUT_SECONDS = 10.0
_AT_ONCE = 50


class EventSender:
    """Sends the events of one service. Used from one event loop."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._secret = os.environ.get(SECRET_VARIABLE, "").encode()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._sending: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def tell(self, order_id: int, columns: Mapping[str, object], decision: Decision) -> None:
        """What became of a payment will be told; returns at once. A repeated answer is no event."""
        behaviour = self._desk.behaviour
        type_ = _TYPES.get(decision.outcome)
        if not behaviour.webhook_url or not self._secret or type_ is None:
            return
        event = {
            "event_id": f"evt_{secrets.token_hex(12)}",
            "type": type_,
            "occurred_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "order_id": order_id,
            "payment_id": decision.answer.document.get("payment_id") or f"pay_{secrets.token_hex(8)}",
            "amount": float(str(columns["amount_jpy"])),
            "currency": columns["currency"],
        }
        for copy in range(_copies(behaviour, order_id)):
            task = asyncio.get_running_loop().create_task(self._deliver(event, _delay(behaviour, order_id, copy)))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def aclose(self) -> None:
        """Give up what is still on its way."""
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, event: Mapping[str, object], delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        for attempt in range(_TRIES):
            async with self._places:
                status = await self._post(json.dumps(event).encode())
            self._record(event, status)
            if status is not None and (200 <= status < 300 or (400 <= status < 500 and status not in (408, 429))):
                return
            await asyncio.sleep(0.25 * 2**attempt)

    async def _post(self, body: bytes) -> int | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS))
        at = str(int(time.time()))
        signed = hmac.digest(self._secret, at.encode() + b"." + body, hashlib.sha256).hex()
        headers = {"Content-Type": "application/json", "Payment-Signature": f"t={at},v1={signed}"}
        try:
            url = self._desk.behaviour.webhook_url
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    def _record(self, event: Mapping[str, object], status: int | None) -> None:
        with self._desk.ledger.recorded():
            self._desk.ledger.connection.execute(
                "INSERT INTO event_tries (event_id, type, order_id, sent_us, http_status) VALUES (?, ?, ?, ?, ?)",
                (event["event_id"], event["type"], event["order_id"], self._desk.clock.now_us(), status),
            )


def _copies(behaviour: Behaviour, order_id: int) -> int:
    """How often an event is sent: usually once."""
    if uniform(behaviour.seed, "event lost", order_id) < behaviour.webhook_drop:
        return 0
    return 2 if uniform(behaviour.seed, "event twice", order_id) < behaviour.webhook_duplicates else 1


def _delay(behaviour: Behaviour, order_id: int, copy: int) -> float:
    """Seconds until it leaves; one that is overtaken leaves much later than those after it."""
    delay = behaviour.webhook_delay_seconds * (1 + copy)
    if uniform(behaviour.seed, "event overtaken", order_id, copy) < behaviour.webhook_out_of_order:
        delay += behaviour.webhook_hold_seconds * uniform(behaviour.seed, "event held", order_id, copy)
    return delay
