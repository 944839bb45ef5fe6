"""The same answers in other words: services keep the contract and differ in all that it leaves open.

``contract`` is the sandbox's own. ``terse``: 200 for 201, ids and amounts as text, errors as one message. ``wrapped``:
everything inside ``data``, errors as a list. ``renamed``: other names for order, id and success, look-ups answer with a
list, errors as problem documents (RFC 9457). Only the wording changes: what was decided and written down stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

Document = dict[str, Any]

_ID_NAMES = ("payment_id", "notification_id")


def spoken(dialect: str, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The response in this dialect; what is no JSON object stays as it is."""
    speak = _DIALECTS.get(dialect)
    if speak is None or not isinstance(response, web.Response) or not request.path.startswith("/api/"):
        return response
    try:
        document = json.loads(response.body) if isinstance(response.body, bytes) else None
    except ValueError:
        return response
    if not isinstance(document, dict):
        return response
    status, said = speak(response.status, document, request.method == "GET")
    headers = {
        name: value for name, value in response.headers.items() if name not in ("Content-Length", "Content-Type")
    }
    return web.Response(body=json.dumps(said).encode(), status=status, headers=headers, content_type="application/json")


def _terse(status: int, document: Document, is_look_up: bool) -> tuple[int, object]:
    status = 200 if status == 201 else status
    if "error" in document:
        return status, {"message": document["error"]["code"], "code": 4000 + status}
    if "results" in document:
        return status, {"results": [_terse_effect(result) for result in document["results"]], "took_ms": 3}
    return status, _terse_effect(document)


def _terse_effect(effect: Document) -> Document:
    said = {name: value for name, value in effect.items() if name not in _ID_NAMES}
    name = next((name for name in _ID_NAMES if name in effect), None)
    if name is not None:
        said["id"] = int(str(effect[name])[4:], 16)
    said |= {name: str(effect[name]) for name in ("order_id", "amount") if name in effect}
    if effect.get("http_status") == 201:
        said["http_status"] = 200
    return {**said, "links": {"self": "/somewhere", "order_id": 0}, "tags": []}


def _wrapped(status: int, document: Document, is_look_up: bool) -> tuple[int, object]:
    if "error" in document:
        return status, {"errors": [{"status": str(status), "detail": document["error"]}], "data": None}
    if "results" in document:
        return 207, {"data": [_wrapped_result(result) for result in document["results"]]}
    return status, {"data": document, "meta": {"order_id": 0, "version": 2}}


def _wrapped_result(result: Document) -> Document:
    known = {"idempotency_key": result["idempotency_key"], "status": result["http_status"]}
    if "error" in result:
        return {**known, "errors": [result["error"]]}
    return {**known, "data": {name: value for name, value in result.items() if name not in known}}


def _renamed(status: int, document: Document, is_look_up: bool) -> tuple[int, object]:
    if is_look_up and status == 404:
        return 200, []
    if "error" in document:
        return status, {"type": "about:blank", "title": document["error"]["code"], "status": status}
    if "results" in document:
        return status, {"results": [_renamed_effect(result) for result in document["results"]]}
    return status, [_renamed_effect(document)] * int(document.get("count", 1)) if is_look_up else _renamed_effect(
        document
    )


def _renamed_effect(effect: Document) -> Document:
    names = {"order_id": "orderRef", "payment_id": "txn", "notification_id": "txn"}
    said = {names.get(name, name): value for name, value in effect.items() if name != "count"}
    if said.get("status") in ("completed", "sent"):
        said["status"] = "SETTLED"
    return said


_DIALECTS: Mapping[str, Callable[[int, Document, bool], tuple[int, object]]] = {
    "terse": _terse,
    "wrapped": _wrapped,
    "renamed": _renamed,
}
DIALECTS = ("contract", *_DIALECTS)
