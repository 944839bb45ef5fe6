"""What both services have in common: send once or many at once, look up, probe. Legacy contract, R-12 and R-21."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from domain.identity import service_name
from domain.outcomes import LookUp, Outcome, OutcomeClass
from domain.profiles import ServiceProfile
from domain.states import EffectKind
from resources.services import batch_calls, classify
from resources.services.answers import AnswerReader
from resources.services.batch_calls import BatchAnswer, BatchItem
from resources.services.http import MAX_ANSWER_BYTES, NoJson, ServiceConnection, json_of

_ITEM_ANSWER_BYTES = 4 * 1024


class EffectService(ABC):
    """One foreign service that makes effects of one kind."""

    kind: EffectKind
    word: str  # PAY or MAIL: the family of codes
    send_path: str
    order_path: str
    key_path: str
    id_fields: tuple[str, ...]
    done_words: frozenset[str]

    def __init__(self, base_url: str, profile: ServiceProfile, timeout_seconds: float, name: str | None = None) -> None:
        """``name``: what it is known by, also when its address changes; without one its address is its name."""
        self.base_url = base_url
        self.name = name or service_name(base_url)
        self.profile = profile
        self.timeout_seconds = timeout_seconds
        self._reader = AnswerReader(self.word, profile, self.id_fields, self.done_words, self._matches)
        self._connection: ServiceConnection | None = None

    async def send(self, order_id: int, amount_jpy: int, body: bytes, key: str) -> Outcome:
        """Ask for the effect, once. Every way this can end is an outcome; nothing is raised but cancellation."""
        headers = {"idempotency-key": key} if self.profile.honours_keys else {}
        try:
            response = await self._connected().call("POST", self.send_path, body, headers)
            if not response.is_success:
                return classify.of_refusal(response, self.profile, self.word)
            answer, doubt = self._read(response)
            return self._reader.effect(self._reader.inside(answer), order_id, amount_jpy, doubt)
        except Exception as error:
            return classify.of_exception(error, self.word)

    async def send_batch(self, items: Sequence[BatchItem]) -> BatchAnswer:
        """Ask for many effects in one call, once. A call in doubt leaves all of them in doubt; nothing is raised."""
        try:
            response = await self._post_batch(items)
            if response.is_success:
                answer, doubt = self._read(response)
                return batch_calls.read_answer(self._reader, items, answer, doubt)
            call = classify.of_refusal(response, self.profile, self.word)
        except Exception as error:
            return batch_calls.all_alike(items, classify.of_exception(error, self.word))
        if classify.was_refused_unread(call, self.profile):
            return BatchAnswer(replace(call, systemic=False))
        if call.cls is OutcomeClass.REFUSED:  # some of its items, or all: nobody knows
            call = replace(call, cls=OutcomeClass.AMBIGUOUS, reason=f"{self.word}-OUTCOME-UNKNOWN")
        return batch_calls.all_alike(items, call)

    async def look_up(self, order_id: int, amount_jpy: int, key: str, age_seconds: float) -> Outcome:
        """Ask whether the effect exists; ``age_seconds`` since it was first asked for."""
        if self.profile.look_up is LookUp.NONE:
            return self._without_look_up(age_seconds)
        by_key = self.profile.look_up is LookUp.BY_KEY
        path = f"{self.key_path}/{key}" if by_key else f"{self.order_path}/{order_id}"
        try:
            response = await self._connected().call("GET", path)
            return self._read_look_up(response, order_id, amount_jpy)
        except Exception as error:
            return classify.of_exception(error, self.word)

    def may_repeat(self, age_seconds: float) -> bool:
        """Whether a call that was in doubt may be made again, so long after the effect was first asked for.

        Where it was looked up and not found, always. Otherwise the key is all that keeps it from happening twice.
        """
        return self.profile.look_up is not LookUp.NONE or self._remembers_key(age_seconds)

    async def probe(self) -> Outcome:
        """Ask for an order that cannot be: whatever a working service answers, it works."""
        try:
            response = await self._connected().call("GET", f"{self.order_path}/0")
        except Exception as error:
            return classify.of_exception(error, self.word)
        _, outcome = self._read(response)
        out_of_order = outcome.systemic if response.is_success else classify.is_out_of_order(response)
        return replace(outcome, cls=OutcomeClass.ABSENT, systemic=out_of_order)

    def open(self) -> None:
        """Make ready to call. It takes 50 ms, which must not pass between a permit of the rate limit and its call."""
        self._connected()

    async def warm(self, calls: int) -> None:
        """Have open connections for so many calls: a handshake must not pass between a permit and its call either."""
        await self._connected().warm(calls)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None

    @abstractmethod
    def _matches(self, effect: Mapping[str, Any], amount_jpy: int) -> bool:
        """Whether the rest of the answer is about what was asked for."""

    def _connected(self) -> ServiceConnection:
        if self._connection is None:
            self._connection = ServiceConnection(self.base_url, self.timeout_seconds)
        return self._connection

    async def _post_batch(self, items: Sequence[BatchItem]) -> httpx.Response:
        body = batch_calls.batch_body(items, with_keys=self.profile.batch_item_keys)
        path = self.profile.batch_path or f"{self.send_path}/batch"
        most = max(MAX_ANSWER_BYTES, len(items) * _ITEM_ANSWER_BYTES)
        return await self._connected().call("POST", path, body, max_answer_bytes=most)

    def _remembers_key(self, age_seconds: float) -> bool:
        return self.profile.sends_keys and age_seconds < self.profile.key_ttl_seconds

    def _without_look_up(self, age_seconds: float) -> Outcome:
        # While a key is remembered, the same key with the same body is the look-up; otherwise only a person can know.
        cls = OutcomeClass.SEND_AGAIN if self._remembers_key(age_seconds) else OutcomeClass.MISMATCH
        return Outcome(cls, f"{self.word}-OUTCOME-UNKNOWN")

    def _read(self, response: httpx.Response) -> tuple[object, Outcome]:
        """The answer, and the doubt that it is before anything is read from it.

        No JSON where JSON is due counts against the service as a whole: when nothing else comes, it is out of order.
        """
        request_id, status = classify.request_id(response), response.status_code
        doubt = Outcome(OutcomeClass.AMBIGUOUS, f"{self.word}-OUTCOME-UNKNOWN", status, service_request_id=request_id)
        try:
            return json_of(response), doubt
        except NoJson:
            return None, replace(doubt, systemic=True)

    def _read_look_up(self, response: httpx.Response, order_id: int, amount_jpy: int) -> Outcome:
        status = response.status_code
        if status == 429:
            return classify.of_refusal(response, self.profile, self.word)
        answer, doubt = self._read(response)
        if status == 404 and (isinstance(answer, dict) or self.profile.plain_not_found_means_absent):
            return replace(doubt, cls=OutcomeClass.ABSENT, systemic=False)
        if not response.is_success:
            return replace(doubt, systemic=classify.is_out_of_order(response))
        return self._reader.found(self._reader.inside(answer), order_id, amount_jpy, doubt)
