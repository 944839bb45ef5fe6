"""What both services have in common: send once, look up, say what the answer means. Legacy contract, R-12 and R-21."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import httpx

from domain.outcomes import LookUp, Outcome, OutcomeClass
from domain.profiles import ServiceProfile
from domain.states import EffectKind
from resources.services import classify
from resources.services.http import ServiceConnection, json_object


class EffectService(ABC):
    """One foreign service that makes effects of one kind."""

    kind: EffectKind
    word: str  # PAY or MAIL: the family of codes
    send_path: str
    order_path: str
    key_path: str
    id_fields: tuple[str, ...]

    def __init__(self, base_url: str, profile: ServiceProfile, timeout_seconds: float) -> None:
        self.base_url = base_url
        self.profile = profile
        self.timeout_seconds = timeout_seconds
        self._connection: ServiceConnection | None = None

    async def send(self, order_id: int, amount_jpy: int, body: bytes, key: str) -> Outcome:
        """Ask for the effect, once. Every way this can end is an outcome; nothing is raised but cancellation."""
        headers = {"idempotency-key": key} if self.profile.honours_keys else {}
        try:
            response = await self._connected().call("POST", self.send_path, body, headers)
            if not response.is_success:
                return classify.of_refusal(response, self.profile, self.word)
            return self._read_effect(response, json_object(response), order_id, amount_jpy)
        except Exception as error:
            return classify.of_exception(error, self.word)

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

    async def probe(self) -> Outcome:
        """Ask for an order that cannot be: whatever a working service answers, it works."""
        try:
            response = await self._connected().call("GET", f"{self.order_path}/0")
        except Exception as error:
            return classify.of_exception(error, self.word)
        out_of_order = classify.is_systemic(response.status_code)
        return Outcome(OutcomeClass.ABSENT, f"{self.word}-OUTCOME-UNKNOWN", response.status_code, systemic=out_of_order)

    def open(self) -> None:
        """Make ready to call. It takes 50 ms, which must not pass between a permit of the rate limit and its call."""
        self._connected()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None

    @abstractmethod
    def _matches(self, effect: dict[str, Any], amount_jpy: int) -> bool:
        """Whether the rest of the answer is about what was asked for."""

    def _connected(self) -> ServiceConnection:
        if self._connection is None:
            self._connection = ServiceConnection(self.base_url, self.timeout_seconds)
        return self._connection

    def _without_look_up(self, age_seconds: float) -> Outcome:
        # While a key is remembered, the same key with the same body is the look-up; otherwise only a person can know.
        remembered = self.profile.honours_keys and age_seconds < self.profile.key_ttl_seconds
        cls = OutcomeClass.SEND_AGAIN if remembered else OutcomeClass.MISMATCH
        return Outcome(cls, f"{self.word}-OUTCOME-UNKNOWN")

    def _read_look_up(self, response: httpx.Response, order_id: int, amount_jpy: int) -> Outcome:
        status, answer = response.status_code, json_object(response)
        if status == 404 and (answer is not None or self.profile.plain_not_found_means_absent):
            return Outcome(OutcomeClass.ABSENT, f"{self.word}-OUTCOME-UNKNOWN", status)
        if status == 429:
            return classify.of_refusal(response, self.profile, self.word)
        if not response.is_success:
            systemic = classify.is_systemic(status)
            return Outcome(OutcomeClass.AMBIGUOUS, f"{self.word}-OUTCOME-UNKNOWN", status, systemic=systemic)
        return self._read_effect(response, answer, order_id, amount_jpy)

    def _read_effect(
        self, response: httpx.Response, effect: dict[str, Any] | None, order_id: int, amount_jpy: int
    ) -> Outcome:
        """A 2xx answer: done when it is about this order and this amount, and says so."""
        outcome = Outcome(
            OutcomeClass.AMBIGUOUS,
            f"{self.word}-OUTCOME-UNKNOWN",
            response.status_code,
            service_request_id=classify.request_id(response),
        )
        if effect is None or _number(effect.get("order_id")) is None:
            return outcome
        if _number(effect["order_id"]) != order_id or not self._matches(effect, amount_jpy) or _several(effect):
            return replace(outcome, cls=OutcomeClass.MISMATCH, reason=f"{self.word}-ANSWER-MISMATCH")
        status = str(effect.get("status", "completed")).casefold()
        if status in _FAILED:
            return replace(outcome, cls=OutcomeClass.REFUSED, reason=classify.declined(self.word))
        if status not in _SUCCEEDED:
            return outcome
        return replace(outcome, cls=OutcomeClass.DONE, reason=None, remote_id=self._remote_id(effect, order_id))

    def _remote_id(self, effect: dict[str, Any], order_id: int) -> str:
        found = next((str(effect[name]) for name in self.id_fields if effect.get(name) not in (None, "")), None)
        if found is None:
            return f"order-{order_id}"
        if found.isascii() and found.isprintable() and len(found) <= _LONGEST_ID:
            return found
        return f"sha256-{hashlib.sha256(found.encode(errors='replace')).hexdigest()}"


_LONGEST_ID = 128
_SUCCEEDED = frozenset(
    {"completed", "paid", "succeeded", "success", "captured", "sent", "accepted", "queued", "delivered", "ok"}
)
_FAILED = frozenset({"declined", "failed", "rejected", "canceled", "cancelled"})


def _number(value: object) -> int | None:
    """An order id, given as a number or as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return None


def _several(effect: dict[str, Any]) -> bool:
    count = _number(effect.get("count"))
    return count is not None and count > 1
