"""Many effects in one call: how it is written, and what its answer says about each of them (LIM-003, R-19, R-26).

``{"items": [{"idempotency_key", "order_id", ...}]}`` is answered by ``{"results": [...]}`` in any order. A result is
matched by its key, or by its order where items carry no keys, and never by its place. An item without a result is in
doubt. One with two results, or with a result about something else, is a mismatch. Results that nobody asked for are
counted and believed in nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from domain.outcomes import Outcome, OutcomeClass
from resources.services import classify
from resources.services.answers import AnswerReader

_LIST_FIELDS = ("results", "items", "data")
_KEY = "idempotency_key"


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One effect on its way in a batch call; ``body`` is that of its single call, a JSON object."""

    order_id: int
    amount_jpy: int
    body: bytes
    key: str


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What one batch call came to.

    ``call`` is about the call as such. ``items``: the outcome of every item, by order id; empty when the call was
    refused before any of them was looked at. ``foreign``: results about nothing that was asked for.
    """

    call: Outcome
    items: Mapping[int, Outcome] = field(default_factory=dict)
    foreign: int = 0


def batch_body(items: Iterable[BatchItem], *, with_keys: bool) -> bytes:
    """The request: the bytes of each single request as they were digested, with the item's key put in front."""
    parts = [(b'{"%s":"%s",%s' % (_KEY.encode(), i.key.encode(), i.body[1:])) if with_keys else i.body for i in items]
    return b'{"items":[%s]}' % b",".join(parts)


def all_alike(items: Iterable[BatchItem], call: Outcome) -> BatchAnswer:
    """The call ended in a way that says the same about every item."""
    # The call counts for the breaker once; a hundred items of one lost call are not a hundred failures.
    return BatchAnswer(call, {item.order_id: replace(call, systemic=False) for item in items})


def read_answer(reader: AnswerReader, items: Sequence[BatchItem], answer: object, call: Outcome) -> BatchAnswer:
    """The outcome of every item of a call that was answered well; ``call`` is the doubt that each otherwise stays."""
    doubt = replace(call, systemic=False)
    results = _results(reader.inside(answer)) or _results(answer)
    if results is None:
        return all_alike(items, call)
    by_name: dict[object, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_name[_name_of(reader, result)].append(result)
    outcomes = {item.order_id: _of_item(reader, item, by_name.pop(_name(reader, item), []), doubt) for item in items}
    out_of_order = all(classify.is_systemic(o.http_status or 0) for o in outcomes.values())
    throttled = next((outcome for outcome in outcomes.values() if outcome.throttled), None)
    whole = throttled or replace(call, systemic=out_of_order)
    return BatchAnswer(whole, outcomes, sum(len(others) for others in by_name.values()))


def _results(answer: object) -> list[dict[str, Any]] | None:
    if isinstance(answer, dict):
        answer = next((answer[name] for name in _LIST_FIELDS if isinstance(answer.get(name), list)), None)
    return [result if isinstance(result, dict) else {} for result in answer] if isinstance(answer, list) else None


def _name(reader: AnswerReader, item: BatchItem) -> object:
    return item.key if reader.profile.batch_item_keys else item.order_id


def _name_of(reader: AnswerReader, result: Mapping[str, Any]) -> object:
    if not reader.profile.batch_item_keys:
        return _order_of(reader, result)
    key = result.get(_KEY)
    return key if isinstance(key, str) else None


def _order_of(reader: AnswerReader, result: Mapping[str, Any]) -> int | None:
    inner = reader.inside(result)
    inside = reader.order_of(inner) if isinstance(inner, dict) else None
    return reader.order_of(result) if inside is None else inside


def _of_item(reader: AnswerReader, item: BatchItem, results: Sequence[dict[str, Any]], doubt: Outcome) -> Outcome:
    if not results:
        return doubt
    result = results[0]
    order_id = _order_of(reader, result)
    if len(results) > 1 or (order_id is not None and order_id != item.order_id):
        return reader.mismatch(doubt)
    status = _status(result)
    if status is not None and not 200 <= status < 300:
        return _refused(reader, result, status)
    effect = {name: value for name, value in result.items() if name != "status" or type(value) is not int}
    doubt = replace(doubt, http_status=status or doubt.http_status)
    return reader.effect(reader.inside(effect), item.order_id, item.amount_jpy, doubt)


def _refused(reader: AnswerReader, result: Mapping[str, Any], status: int) -> Outcome:
    profile, word = reader.profile, reader.word
    outcome = replace(classify.of_status(status, profile, word), systemic=False)
    if outcome.cls is OutcomeClass.REFUSED and profile.sends_keys and classify.speaks_of_the_key(_error_text(result)):
        return classify.key_reused(outcome, word)
    return outcome


def _error_text(result: Mapping[str, Any]) -> str:
    """All that an item says beside its own key, which would speak of keys in every item."""
    return " ".join(str(value) for name, value in result.items() if name != _KEY)


def _status(result: Mapping[str, Any]) -> int | None:
    """The status of one item, where it has one: ``http_status``, or a ``status`` that is a number."""
    values = (result.get("http_status"), result.get("status"))
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and 100 <= v < 600), None)
