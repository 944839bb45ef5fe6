"""A payment and a notification service that say back, in every part of an answer, what nobody should have told them.

They keep the contract; but what they answer to some orders holds names and addresses: the request as it came, or data
of their own. What they were asked, addresses and headers, and of payments the body, is kept to be searched.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal

from aiohttp import web

from evidence.leaks.canaries import Flock, letters
from evidence.leaks.sinks import Piece

Kind = Literal["payments", "notifications"]
_WAYS = 40  # of so many orders, the first dozen are answered oddly
_ORDERS = {"payments": "/api/v1/payments/order/{order}", "notifications": "/api/v1/notifications/order/{order}"}
_SENDS = {"payments": "/api/v1/payments", "notifications": "/api/v1/notifications/email"}
_ID = {"payments": "payment_id", "notifications": "notification_id"}


class Echo:
    """One service on a thread of its own; ``url`` while it is entered."""

    def __init__(self, kind: Kind, flock: Flock) -> None:
        self.kind = kind
        self.url = ""
        self.odd_answers = 0
        self._flock = flock
        self._asked: list[bytes] = []
        self._done: dict[int, dict[str, Any]] = {}
        self._tries: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"echo {kind}", daemon=True)

    def __enter__(self) -> Echo:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def pieces(self) -> Iterator[Piece]:
        """What it was asked."""
        yield Piece("calls of services", self.kind, b"\n".join(self._asked))

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_post(_SENDS[self.kind], self._send)
        application.router.add_get(_ORDERS[self.kind], self._look_up)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _remember(self, request: web.Request, body: bytes = b"") -> None:
        self._asked.append(f"{request.method} {request.path_qs} {list(request.headers.items())}".encode() + body)

    async def _look_up(self, request: web.Request) -> web.Response:
        self._remember(request)
        order = int(request.match_info["order"])
        if order in self._done:
            return web.json_response(self._done[order])
        return web.json_response({"error": f"no mail to {self._own('note')}"}, status=404)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self._remember(request, body if self.kind == "payments" else b"")
        document = json.loads(body)
        order = int(document["order_id"])
        self._tries[order] = self._tries.get(order, 0) + 1
        made = {_ID[self.kind]: f"{self.kind}-{order}", "order_id": order, "amount": document.get("amount")}
        odd = await self._odd(request, order, document, made)
        if odd is not None:
            self.odd_answers += 1
            return odd
        self._done[order] = made
        return web.json_response(made)

    def _own(self, column: str) -> str:
        """Somebody's data that we never had."""
        return self._flock.value(column, f"answers of {self.kind}")

    async def _odd(
        self, request: web.Request, order: int, document: dict[str, Any], made: dict[str, Any]
    ) -> web.StreamResponse | None:
        way, first = order % _WAYS, self._tries[order] == 1
        said = json.dumps(document, ensure_ascii=False) + self._own("customer_name")
        if way == 0:
            return web.json_response({"error": {"message": said, "customer": self._own("email")}}, status=402)
        if way == 1:
            return web.Response(status=422, text=said, reason=f"Refused {letters(self._flock.fresh('note', 'reason'))}")
        if way in (2, 3) and first:
            return web.Response(status=500 + way, text=f"Traceback\n  ValueError: {said}")
        if way == 4:  # a name of the effect that is somebody's address
            made[_ID[self.kind]] = document.get("to") or self._own("email")
        if way == 5:
            made[_ID[self.kind]] = f"{self._own('customer_name')}"
        if way == 6 and first:
            return web.Response(text=f"<html>{said}</html>", content_type="text/html")
        if way == 7 and first:
            return web.Response(
                status=429, text=said, headers={"Retry-After": self._address(), "X-Request-Id": self._address()}
            )
        if way == 8:
            self._done[order] = made
            return web.json_response(
                made | {"status": "completed", "to": said},
                headers={
                    "X-Request-Id": self._address(),
                    "Location": f"/{self._address()}",
                    "Set-Cookie": self._address(),
                },
            )
        if way == 9 and first:
            return await self._cut(request, order, made, said)
        if way == 10 and first:
            return web.json_response(made | {"status": said})
        if way == 11:
            return web.json_response(made | {"status": "declined", "reason": said})
        return None

    def _address(self) -> str:
        """Fit for a header."""
        return f"{letters(self._flock.fresh('email', f'headers of {self.kind}'))}@leak.example"

    async def _cut(self, request: web.Request, order: int, made: dict[str, Any], said: str) -> web.StreamResponse:
        """Done, and half of the answer."""
        self._done[order] = made
        response = web.StreamResponse(headers={"Content-Length": "100000", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(said.encode())
        if request.transport is not None:
            request.transport.close()
        return response
