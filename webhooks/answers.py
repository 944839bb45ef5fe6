"""Answers: small JSON documents with a word or a code, and no header that tells what answers."""

from __future__ import annotations

from aiohttp import web

from webhooks.refusal import Refused

_NAME = "webhooks"  # where aiohttp would give its own and Python's version

RAW_OVERLOADED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 33\r\n"
    b"Retry-After: 2\r\nConnection: close\r\n\r\n" + b'{"error":{"code":"overloaded"}}\r\n'
)
"""For a connection too many, before anything is read."""


def taken(status: int, result: str) -> web.Response:
    """An event was taken in."""
    return _closing(web.json_response({"result": result}, status=status))


def refusal(refused: Refused) -> web.Response:
    """A request was not taken."""
    response = answer(refused.status, refused.code)
    if refused.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(refused.retry_after_seconds)
    return response


def answer(status: int, code: str) -> web.Response:
    """An error by its code."""
    return _closing(web.json_response({"error": {"code": code}}, status=status))


def _closing(response: web.Response) -> web.Response:
    response.headers["Server"] = _NAME
    response.force_close()
    return response
