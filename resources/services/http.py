"""One HTTP call to a service.

One deadline for all of it, no redirects, no cookies, no proxies of the environment, a small answer or none. It never
tries twice: the state machine is the only one that retries.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

MAX_ANSWER_BYTES = 256 * 1024
_CONNECT_SECONDS = 3.0


class AnswerTooLarge(Exception):
    """The service's answer is beyond any sense."""


class ServiceConnection:
    """A pool of connections to one base address. Used from one event loop; closed by ``aclose``."""

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            base_url=base_url,
            # httpx's own pool collapses under many calls in flight (docs/decisions/0003): its API, aiohttp's transport.
            # The session brings its own connector, which verifies certificates; the transport would load all of the
            # system's certificates once more (50 ms) for a context that nobody uses.
            transport=AiohttpTransport(client=_session, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)),
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

    async def call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One call, its whole answer read.

        Raises:
            httpx.HTTPError, aiohttp.ClientError, TimeoutError, AnswerTooLarge: see ``classify.of_exception``.
        """
        sent = {"content-type": "application/json"} if body is not None else {}
        request = self._client.build_request(method, path, content=body, headers={**sent, **(headers or {})})
        async with asyncio.timeout(self._timeout_seconds):
            response = await self._client.send(request, stream=True)
            try:
                await _read(response)
            finally:
                await response.aclose()
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def json_object(response: httpx.Response) -> dict[str, Any] | None:
    """The answer as a JSON object; None when it is anything else."""
    try:
        value = json.loads(response.content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def _read(response: httpx.Response) -> None:
    received = bytearray()
    async for piece in response.aiter_raw():
        received += piece
        if len(received) > MAX_ANSWER_BYTES:
            raise AnswerTooLarge
    # Compressed answers were not asked for; one that comes all the same is no JSON and reads as garbled.
    response._content = bytes(received)


def _session() -> aiohttp.ClientSession:
    # No limit of its own: how many calls are in flight is the lane's business.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())
