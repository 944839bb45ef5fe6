"""The endpoint ``POST /api/v1/webhooks/payments`` (R-17) and ``GET /health``, on one address until told to stop.

Read so far as is allowed, prove that it is genuine, read it as JSON, judge it: in this order, and the first no is the
answer. docs/webhook.md says the same for those who send.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import ClientPayloadError, web
from aiohttp.web_request import BaseRequest

from domain.errors import PortTaken
from webhooks import answers
from webhooks.address import HEALTH_PATH, PATH, PORT_SETTING, Address
from webhooks.connection import MAX_BODY_BYTES, BoundedConnection, BoundedServer, ConnectionLimits
from webhooks.desk import Desk, DeskLimits, log_line, place_of
from webhooks.inbox import Inbox, Taken
from webhooks.reading import event_of
from webhooks.refusal import Refused
from webhooks.signature import HEADER, Secrets

_METHOD = {PATH: "POST", HEALTH_PATH: "GET"}
_STATUS = {Taken.ACCEPTED: 200, Taken.DUPLICATE: 200, Taken.PARKED: 202}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of the connections and of the work."""

    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    desk: DeskLimits = field(default_factory=DeskLimits)


class Endpoint:
    """Answers requests. Never raises for one."""

    def __init__(self, secrets: Secrets, desk: Desk, read_seconds: float) -> None:
        self._secrets = secrets
        self._desk = desk
        self._read_seconds = read_seconds

    async def handle(self, request: BaseRequest) -> web.StreamResponse:
        """One request."""
        try:
            if isinstance(request.protocol, BoundedConnection):
                request.protocol.headers_were_read()
            return await self._answer(request)
        except Refused as refused:
            if refused.suspicious:
                self._desk.count_refusal(refused)
            return answers.refusal(refused)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as bug:
            log_line(f"SYS-INTERNAL {place_of(bug)}")
            return answers.answer(500, "internal_error")

    async def _answer(self, request: BaseRequest) -> web.Response:
        if request.path not in _METHOD:
            raise Refused(404, "path_unknown")
        if request.method != _METHOD[request.path]:
            raise Refused(405, "method_not_allowed")
        if request.path == HEALTH_PATH:
            return answers.taken(200, "ok")
        body = await self._body(request)
        read = time.monotonic()
        self._secrets.verify(_only(request, HEADER), body, time.time())
        if request.content_type != "application/json" or request.headers.get("Content-Encoding"):
            raise Refused(415, "content_type_unsupported")
        try:
            result = await self._desk.take(event_of(body))
        finally:  # of those that are genuine, whatever they are answered
            self._desk.count_answer(time.monotonic() - read)
        return answers.taken(_STATUS[result], result.value)

    async def _body(self, request: BaseRequest) -> bytes:
        if (request.content_length or 0) > MAX_BODY_BYTES:
            raise Refused(413, "body_too_large")
        body = bytearray()
        try:
            async with asyncio.timeout(self._read_seconds):
                async for piece in request.content.iter_any():
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        raise Refused(413, "body_too_large")
        except TimeoutError:
            raise Refused(408, "body_too_slow") from None
        except (web.RequestPayloadError, ClientPayloadError):
            raise Refused(400, "request_malformed") from None
        return bytes(body)


def _only(request: BaseRequest, name: str) -> str | None:
    """A header that may stand there once: of two, one may be somebody else's."""
    values = request.headers.getall(name, [])
    if len(values) > 1:
        raise Refused(401, "signature_malformed", suspicious=True)
    return values[0] if values else None


async def serve(
    address: Address, secrets: Secrets, inbox: Inbox, limits: Limits, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Answer until ``stop``; ``ready`` is told the URL once it listens.

    Raises:
        PortTaken: the port cannot be listened on.
    """
    desk = Desk(inbox, limits.desk, log_line)
    endpoint = Endpoint(secrets, desk, limits.connections.read_seconds)
    runner = web.ServerRunner(BoundedServer(endpoint.handle, limits.connections), shutdown_timeout=5.0)
    await runner.setup()
    try:
        port = await _listening(runner, address)
        desk.open()
        ready(Address(address.host, port).url)
        await stop.wait()
    finally:
        with suppress(asyncio.CancelledError):
            await runner.cleanup()
        await desk.aclose()


async def _listening(runner: web.ServerRunner, address: Address) -> int:
    site = web.TCPSite(runner, address.host, address.port, backlog=1024)
    try:
        await site.start()
    except OSError as refused:
        if refused.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortTaken("SYS-PORT-TAKEN", port=address.port, setting=PORT_SETTING) from None
        raise
    return int(runner.addresses[0][1])
