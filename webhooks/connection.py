"""Connections that cannot be used against us: bounded in number, in bytes and in seconds, and silent about the inside.

One request per connection; a proxy in front keeps its own connections to the world. A request that is not complete
after five seconds is cut off, and any connection after fifteen. What is no HTTP is answered with a plain 400: aiohttp
would quote it, and log it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from webhooks.answers import RAW_OVERLOADED, answer

MAX_BODY_BYTES = 64 * 1024
_MAX_LINE_BYTES = 4096
_MAX_HEADERS = 64

_SILENT = logging.getLogger("webhooks.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """``connections`` at the same time; seconds until a request must be complete, and until everything is over."""

    connections: int = 512
    read_seconds: float = 5.0
    total_seconds: float = 15.0


class BoundedConnection(RequestHandler):
    """One connection of one request."""

    __slots__ = ("_limits", "_read_timer", "_total_timer")

    def __init__(self, manager: BoundedServer, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(manager, **options)
        self._limits = limits
        self._read_timer: asyncio.TimerHandle | None = None
        self._total_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clocks; or send it away when there are too many."""
        super().connection_made(transport)
        assert isinstance(self._manager, BoundedServer)
        assert isinstance(transport, asyncio.Transport)
        if len(self._manager.connections) > self._limits.connections:
            transport.write(RAW_OVERLOADED)
            self.force_close()
            return
        self._read_timer = self._loop.call_later(self._limits.read_seconds, transport.abort)
        self._total_timer = self._loop.call_later(self._limits.total_seconds, transport.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clocks."""
        for timer in (self._read_timer, self._total_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def headers_were_read(self) -> None:
        """From here the reading of the body has its own deadline, which ends in an answer."""
        if self._read_timer is not None:
            self._read_timer.cancel()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP, in our words and not in the parser's."""
        return answer(400, "request_malformed") if status == 400 else answer(500, "internal_error")


class BoundedServer(web.Server):
    """Makes such connections."""

    def __init__(self, handler: Any, limits: ConnectionLimits) -> None:
        super().__init__(handler)
        self._limits = limits

    def __call__(self) -> RequestHandler:
        """The protocol of a new connection."""
        return BoundedConnection(
            self,
            self._limits,
            loop=self._loop,
            logger=_SILENT,
            access_log=None,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
            lingering_time=1.0,
            auto_decompress=False,  # the signature is over the bytes that travel
        )
