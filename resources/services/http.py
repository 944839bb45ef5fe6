"""One HTTP call to a service.

One deadline for all of it, no redirects, no cookies, no proxies of the environment, a small answer or none. It never
tries twice: the state machine is the only one that retries.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from yarl import URL

MAX_ANSWER_BYTES = 256 * 1024
_CONNECT_SECONDS = 3.0
_CONNECT_TIMEOUT = aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS)
# Less than any usual server's (gunicorn 2 s, Node and uvicorn 5 s): a POST into a connection that the server is just
# closing is in doubt, and has to be looked up.
_KEEP_ALIVE_SECONDS = 1.5


class AnswerTooLarge(Exception):
    """The service's answer is beyond any sense."""


class ServiceConnection:
    """A pool of connections to one base address. Used from one event loop; closed by ``aclose``."""

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        # httpx's own pool collapses under many calls in flight (docs/decisions/0003): its API, aiohttp's transport.
        # The session brings its own connector, which verifies certificates; the transport would load all of the
        # system's certificates once more (50 ms) for a context that nobody uses.
        self._session = _session()
        transport = AiohttpTransport(client=self._session, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            headers={"accept-encoding": "identity"},  # httpx would ask for gzip, and we read the octets as they come
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            # aiohttp keeps none, and httpx would: whatever a service puts into one would go out again with every call.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
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
                await _read(response, max_answer_bytes)
            finally:
                await response.aclose()
        return response

    async def warm(self, calls: int) -> None:
        """Have so many idle connections; why one cannot be opened, the call itself will tell."""
        connector = self._session.connector
        assert connector is not None
        request = aiohttp.ClientRequest("GET", URL(str(self._client.base_url)))
        ready: list[aiohttp.connector.Connection] = []
        try:
            for _ in range(calls):
                ready.append(await connector.connect(request, [], _CONNECT_TIMEOUT))
        except (aiohttp.ClientError, OSError):  # TimeoutError is one of the latter
            pass
        finally:
            for connection in ready:
                connection.release()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class NoJson(Exception):
    """The answer is not empty, and it is no JSON: a page of some gateway, or rubbish."""


def json_of(response: httpx.Response) -> object:
    """The answer as JSON; None when it is empty.

    Raises:
        NoJson: what answered does not speak as the service does.
    """
    if not response.content.strip():
        return None
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        raise NoJson from None


async def _read(response: httpx.Response, max_bytes: int) -> None:
    received = bytearray()
    async for piece in response.aiter_raw():
        received += piece
        if len(received) > max_bytes:
            raise AnswerTooLarge
    # Compressed answers were not asked for; one that comes all the same is no JSON and reads as garbled.
    response._content = bytes(received)


def _session() -> aiohttp.ClientSession:
    # No limit of its own: how many calls are in flight is the lane's business.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
