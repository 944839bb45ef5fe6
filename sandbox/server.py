"""One service as a running HTTP server: its paths, its errors, its health, its control endpoint.

``payments`` and ``notifications`` have the same shape: POST one, POST many, look up by order or by key, ``/health``,
HTML pages for people, ``/_sandbox/*`` for tests and demos. Every error is JSON and says nothing about the inside.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sandbox.answers import Answer, error, respond
from sandbox.arrivals import SECOND_US, Clock, SlidingWindow
from sandbox.batches import BatchCalls
from sandbox.behaviour import Behaviour, BehaviourRefused
from sandbox.calls import Calls, read_json
from sandbox.dialects import spoken
from sandbox.effects import Desk
from sandbox.events import EventSender
from sandbox.faults import Dice
from sandbox.ledger import Ledger
from sandbox.notifications import NotificationDesk
from sandbox.pages import Pages
from sandbox.payments import PaymentDesk
from sandbox.witness import summary

MAX_BODY_BYTES = 1_048_576
_GRACE_SECONDS = 0.5
_DESKS: dict[str, type[Desk]] = {"payments": PaymentDesk, "notifications": NotificationDesk}
_BASE = {"payments": "/api/v1/payments", "notifications": "/api/v1/notifications"}
_SINGLE = {"payments": "/api/v1/payments", "notifications": "/api/v1/notifications/email"}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PortRefused(Exception):
    """The port cannot be listened on; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One service to run: which, where, with which ledger, behaving how."""

    service: str
    host: str
    port: int
    ledger: Path
    behaviour: Behaviour


async def serve(plan: Plan, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    """Run one service until ``stop``; calls ``ready`` with its URL once it listens.

    Raises:
        LedgerRefused, PortRefused: before anything is served.
    """
    ledger = Ledger(plan.ledger, plan.service)
    try:
        runner = web.AppRunner(application(ledger, plan.behaviour), access_log=None, shutdown_timeout=_GRACE_SECONDS)
        await runner.setup()
        try:
            port = await _listening(runner, plan)
            ready(f"http://{plan.host}:{port}")
            await stop.wait()
        finally:
            await runner.cleanup()
    finally:
        ledger.close()


async def _listening(runner: web.AppRunner, plan: Plan) -> int:
    site = web.TCPSite(runner, plan.host, plan.port, backlog=1024)
    try:
        await site.start()
    except OSError as refused:
        reason = "is in use" if refused.errno == errno.EADDRINUSE else "cannot be listened on"
        raise PortRefused(f"port {plan.port} for {plan.service} {reason}; choose another one") from None
    return int(runner.addresses[0][1])


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and Ctrl-C end the service cleanly."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def application(ledger: Ledger, behaviour: Behaviour) -> web.Application:
    """The web application of one service over its ledger."""
    clock = Clock()
    desk = _DESKS[ledger.service](ledger, behaviour, clock)
    events = EventSender(desk) if ledger.service == "payments" else None
    calls = Calls(desk, clock, _remembered_dice(ledger), _remembered_window(ledger, clock), events)
    base, single = _BASE[ledger.service], _SINGLE[ledger.service]
    control, pages = Control(desk), Pages(ledger)

    @web.middleware
    async def dialect(request: web.Request, handler: Handler) -> web.StreamResponse:
        return spoken(desk.behaviour.dialect, request, await handler(request))

    app = web.Application(middlewares=[dialect, json_errors], client_max_size=MAX_BODY_BYTES)
    if events is not None:
        app.on_cleanup.append(lambda _: events.aclose())
    app.add_routes(
        [
            web.post(single, calls.single),
            web.post(f"{single}/batch", BatchCalls(calls).post),
            web.get(f"{base}/order/{{order_id}}", calls.lookup_order),
            web.get(f"{base}/key/{{key}}", calls.lookup_key),
            web.get("/health", control.health),
            web.get("/_sandbox/summary", control.summary),
            web.get("/_sandbox/behaviour", control.behaviour),
            web.post("/_sandbox/behaviour", control.change),
            *pages.routes(),
        ]
    )
    return app


def _remembered_dice(ledger: Ledger) -> Dice:
    """After a restart no order meets again the fault it has already had."""
    attempts = ledger.connection.execute(
        "SELECT order_id, count(*) FROM requests WHERE route IN ('single', 'item') AND order_id IS NOT NULL GROUP BY 1"
    )
    struck = ledger.connection.execute("SELECT order_id, fault FROM requests WHERE fault IS NOT NULL AND order_id > 0")
    return Dice(ledger.service, {row[0]: row[1] for row in attempts}, [(row[0], row[1]) for row in struck])


def _remembered_window(ledger: Ledger, clock: Clock) -> SlidingWindow:
    """After a restart the limit still counts who came in the second before."""
    rows = ledger.connection.execute(
        "SELECT arrived_us FROM requests WHERE route IN ('single', 'batch') AND outcome <> 'too_many_requests'"
        " AND request_id > (SELECT coalesce(max(request_id), 0) - 1000 FROM requests) AND arrived_us > ? ORDER BY 1",
        (clock.now_us() - SECOND_US,),
    )
    return SlidingWindow(int(row[0]) for row in rows)


class Control:
    """Health for everybody; summary and behaviour for this machine only."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def health(self, request: web.Request) -> web.Response:
        """Readiness: the ledger is open and the server answers."""
        ledger = self._desk.ledger
        return respond(Answer(200, {"status": "ok", "service": ledger.service, "ledger": ledger.ledger_id}))

    async def summary(self, request: web.Request) -> web.Response:
        """What the ledger testifies to."""
        _only_this_machine(request)
        return respond(Answer(200, summary(self._desk.ledger.connection)))

    async def behaviour(self, request: web.Request) -> web.Response:
        """All settings as they are."""
        _only_this_machine(request)
        return respond(Answer(200, self._desk.behaviour.document()))

    async def change(self, request: web.Request) -> web.Response:
        """Change settings from the next request on; answers with all of them."""
        _only_this_machine(request)
        patch = read_json(await request.read())
        if request.content_type != "application/json" or not isinstance(patch, dict):
            return respond(error(400, "malformed"))
        try:
            self._desk.behaviour = self._desk.behaviour.patched(patch)
        except BehaviourRefused as refused:
            return respond(Answer(422, {"error": {"code": "setting_refused", "message": str(refused)}}))
        return respond(Answer(200, self._desk.behaviour.document()))


def _only_this_machine(request: web.Request) -> None:
    if not request.remote or not ipaddress.ip_address(request.remote).is_loopback:
        raise web.HTTPNotFound


_CODES = {404: "no_such_path", 405: "method_not_allowed", 413: "body_too_large"}


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors of the framework and our own bugs, in the contract's shape."""
    try:
        return await handler(request)
    except web.HTTPException as raised:
        if raised.status < 400:
            raise
        return respond(error(raised.status, _CODES.get(raised.status, "malformed")))
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as bug:
        sys.stderr.write(f"sandbox: {type(bug).__name__} while answering {request.method}\n")
        return respond(error(500, "internal_error"))
