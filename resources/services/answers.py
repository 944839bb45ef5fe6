"""What the body of an answer says about an effect. Done only when it is about this order and this amount, and says so.

Services differ in what the contract leaves open: ids as numbers or text, further fields, other words for success, the
effect inside another field. What is spelt differently is read; what is named differently stands in the profile.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from domain.outcomes import Outcome, OutcomeClass
from domain.profiles import ServiceProfile
from resources.services import classify

# What looks like a name or an address of somebody is kept as its digest: some services call a mail by its recipient.
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}")
_SUCCEEDED = frozenset({"completed", "succeeded", "success", "ok"})
_FAILED = frozenset({"declined", "failed", "rejected", "canceled", "cancelled"})


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads the answers of one service.

    ``word`` is PAY or MAIL; ``id_fields`` may name the effect; ``done_words`` are what its status may also be when it
    is done; ``matches`` says whether the rest of an effect is about so many yen.
    """

    word: str
    profile: ServiceProfile
    id_fields: tuple[str, ...]
    done_words: frozenset[str]
    matches: Callable[[Mapping[str, Any], int], bool]

    def inside(self, answer: object) -> object:
        """What the profile says the answer is wrapped around; the answer itself where it says nothing."""
        if self.profile.answer_field and isinstance(answer, dict):
            return answer.get(self.profile.answer_field)
        return answer

    def order_of(self, effect: Mapping[str, Any]) -> int | None:
        """The order that an effect is about."""
        return number(effect.get(self.profile.order_field))

    def effect(self, effect: object, order_id: int, amount_jpy: int, outcome: Outcome) -> Outcome:
        """What an effect shown with a good status means; ``outcome`` is the doubt that it otherwise stays."""
        if not isinstance(effect, dict) or self.order_of(effect) is None:
            return outcome
        if self.order_of(effect) != order_id or not self.matches(effect, amount_jpy) or _several(effect):
            return self.mismatch(outcome)
        status = str(effect.get("status", "completed")).casefold()
        if status in _FAILED:
            return replace(outcome, cls=OutcomeClass.REFUSED, reason=classify.declined(self.word))
        if _denies(effect) or status not in {*_SUCCEEDED, *self.done_words, *self.profile.done_words}:
            return outcome
        return replace(outcome, cls=OutcomeClass.DONE, reason=None, remote_id=self._remote_id(effect, order_id))

    def found(self, answer: object, order_id: int, amount_jpy: int, outcome: Outcome) -> Outcome:
        """What a look-up that was answered well means. A list, where it is one, holds none, the one, or too many."""
        if not self.profile.look_up_lists or not isinstance(answer, list):
            return self._shown(answer, order_id, amount_jpy, outcome)
        if not answer:
            return replace(outcome, cls=OutcomeClass.ABSENT)
        return self._shown(answer[0], order_id, amount_jpy, outcome) if len(answer) == 1 else self.mismatch(outcome)

    def _shown(self, effect: object, order_id: int, amount_jpy: int, outcome: Outcome) -> Outcome:
        """As `effect`; but what only repeats our question, without id or status, may speak of nothing at all."""
        found = self.effect(effect, order_id, amount_jpy, outcome)
        shows = isinstance(effect, dict) and ("status" in effect or self._named_id(effect) is not None)
        return outcome if found.cls is OutcomeClass.DONE and not shows else found

    def mismatch(self, outcome: Outcome) -> Outcome:
        """An answer about something else: never done, whatever it says."""
        return replace(outcome, cls=OutcomeClass.MISMATCH, reason=f"{self.word}-ANSWER-MISMATCH")

    def _remote_id(self, effect: Mapping[str, Any], order_id: int) -> str:
        found = self._named_id(effect)
        if found is None:
            return f"order-{order_id}"
        if _PLAIN_ID.fullmatch(found):
            return found
        return f"sha256-{hashlib.sha256(found.encode(errors='replace')).hexdigest()}"

    def _named_id(self, effect: Mapping[str, Any]) -> str | None:
        names = (self.profile.id_field,) if self.profile.id_field else self.id_fields
        return next((str(effect[name]) for name in names if effect.get(name) not in (None, "")), None)


def number(value: object) -> int | None:
    """An order id, given as a number or as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return None


def _denies(effect: Mapping[str, Any]) -> bool:
    """Whether it says beside a good status that nothing was done: then neither is believed."""
    failed = effect.get("success") is False or effect.get("ok") is False or effect.get("exists") is False
    return failed or bool(effect.get("error") or effect.get("errors")) or number(effect.get("count")) == 0


def _several(effect: Mapping[str, Any]) -> bool:
    count = number(effect.get("count"))
    return count is not None and count > 1
