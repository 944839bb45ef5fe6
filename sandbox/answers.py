"""What goes back over the wire: true answers as JSON, and every way of spoiling one. Nothing is decided here."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from sandbox.behaviour import Behaviour
from sandbox.faults import Fault

NO_STORE: Mapping[str, str] = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_PIECES = 20
_HTML = b"<!doctype html><html><head><title>Maintenance</title></head><body><h1>Please try again</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer before it is sent."""

    status: int
    document: Mapping[str, object]
    retry_after: int | None = None
    replayed: bool = False

    @property
    def body(self) -> bytes:
        """The document as JSON."""
        return json.dumps(self.document, ensure_ascii=False).encode()


def error(status: int, code: str, retry_after: int | None = None) -> Answer:
    """An error in the contract's one shape: ``{"error": {"code": ...}}``."""
    return Answer(status, {"error": {"code": code}}, retry_after)


def respond(answer: Answer) -> web.Response:
    """The true answer."""
    headers = dict(NO_STORE)
    if answer.retry_after is not None:
        headers["Retry-After"] = str(answer.retry_after)
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    return web.Response(body=answer.body, status=answer.status, headers=headers, content_type="application/json")


def seen(answer: Answer, fault: Fault | None, behaviour: Behaviour) -> Answer | None:
    """The answer that the caller gets to see with this fault; None when it gets none, or none in time or in full."""
    match fault.kind if fault else "":
        case "error_500" | "error_500_before" | "error_500_after":
            return error(500, "internal_error")
        case "error_503" | "error_503_after":
            return error(503, "unavailable", behaviour.retry_after_seconds)
        case "error_429":
            return error(429, "too_many_requests", behaviour.retry_after_seconds)
        case "absent":
            return error(404, "not_found")
        case "redirect":
            return Answer(302, {})
        case "html":
            return Answer(200, {})
        case "wrong_amount":
            return _changed(answer, "amount")
        case "wrong_order":
            return _changed(answer, "order_id")
        case "timeout" | "timeout_before" | "timeout_after" | "late_effect" | "reset" | "reset_before" | "reset_after":
            return None
        case "truncated" | "slow":
            return None
        case _:
            return answer


async def send(request: web.Request, answer: Answer, fault: Fault | None, behaviour: Behaviour) -> web.StreamResponse:
    """Answer the request, spoilt as the fault says."""
    visible = seen(answer, fault, behaviour)
    match fault.kind if fault else "":
        case "reset" | "reset_before" | "reset_after":
            return cut(request)
        case "timeout_before":
            await asyncio.sleep(behaviour.hang_seconds)
            return respond(error(504, "timed_out"))
        case "timeout" | "timeout_after":
            await asyncio.sleep(behaviour.hang_seconds)
            return respond(answer)
        case "garbled":
            garbage = b"\x00\xff" + answer.body[: len(answer.body) // 2][::-1]
            return web.Response(body=garbage, status=answer.status, headers=NO_STORE, content_type="application/json")
        case "html":
            return web.Response(body=_HTML, status=200, headers=NO_STORE, content_type="text/html")
        case "redirect":
            return web.Response(status=302, headers={**NO_STORE, "Location": "/elsewhere"})
        case "truncated":
            return await _truncated(request, answer)
        case "slow":
            return await _dribbled(request, answer, behaviour.hang_seconds)
        case _:
            return respond(visible or answer)


def cut(request: web.Request) -> web.Response:
    """Reset the connection (RST, not FIN); the caller gets no byte."""
    transport = request.transport
    if transport is not None:
        linger_nothing = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_nothing)
        transport.abort()
    return web.Response(status=500)  # aiohttp wants one; the connection it would go to is gone


async def _truncated(request: web.Request, answer: Answer) -> web.StreamResponse:
    stream = await _begun(request, answer)
    await stream.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return stream


async def _dribbled(request: web.Request, answer: Answer, seconds: float) -> web.StreamResponse:
    stream = await _begun(request, answer)
    size = max(1, len(answer.body) // _PIECES)
    for start in range(0, len(answer.body), size):
        await asyncio.sleep(seconds / _PIECES)
        await stream.write(answer.body[start : start + size])
    await stream.write_eof()
    return stream


async def _begun(request: web.Request, answer: Answer) -> web.StreamResponse:
    stream = web.StreamResponse(status=answer.status, headers=NO_STORE)
    stream.content_type = "application/json"
    stream.content_length = len(answer.body)
    await stream.prepare(request)
    return stream


def _changed(answer: Answer, name: str) -> Answer:
    value = answer.document.get(name)
    if not isinstance(value, int | float):
        return answer
    return replace(answer, document={**answer.document, name: value + 1})
