"""Deciding one wanted effect, and making it: keys, uniqueness, decline, effect, saved answer. No HTTP, no waiting.

``Desk.decide`` runs without a pause, and its writes are committed together, so two requests of one order can never
both pass. ``PaymentDesk`` and ``NotificationDesk`` say what is particular to each service.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sandbox.answers import Answer, error
from sandbox.arrivals import SECOND_US, Clock
from sandbox.behaviour import Behaviour
from sandbox.ledger import Ledger, SavedAnswer

MAX_ID = 2**63 - 1
MAX_KEY_CHARACTERS = 255


class Refusal(Exception):
    """The request is not acceptable as it is: HTTP status and error code of the contract."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.answer = error(status, code)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One acceptable effect: the order, the columns of the charge or mail, the key and the body's digest."""

    order_id: int
    columns: Mapping[str, object]
    key: str | None
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of it: the true answer, the outcome for the ledger, and how many effects it made."""

    answer: Answer
    outcome: str
    effects: int = 0


class Desk(ABC):
    """Decides for one service. ``behaviour`` may be exchanged at any time."""

    success_status = 201

    def __init__(self, ledger: Ledger, behaviour: Behaviour, clock: Clock) -> None:
        self.ledger, self.behaviour, self.clock = ledger, behaviour, clock

    @abstractmethod
    def columns(self, document: Mapping[str, object]) -> dict[str, object]:
        """The columns of the charge or mail that this document asks for; raises Refusal."""

    @abstractmethod
    def made(self, row: Mapping[str, object]) -> dict[str, object]:
        """What is shown of a charge or mail, given its columns."""

    @abstractmethod
    def identified(self) -> dict[str, object]:
        """A fresh public id, by column."""

    @abstractmethod
    def declined(self) -> Answer:
        """The certain no of this service."""

    @property
    @abstractmethod
    def unique(self) -> bool:
        """Whether a second effect of one order is refused."""

    def wanted(self, document: object, key: str | None, digest: str) -> Wanted:
        """Read one request or item whose body has this digest; raises Refusal."""
        if not isinstance(document, dict):
            raise Refusal(400, "malformed")
        if key is not None and not 0 < len(key) <= MAX_KEY_CHARACTERS:
            raise Refusal(400, "malformed_key")
        order_id = order_id_of(document)
        if order_id is None:
            raise Refusal(400, "malformed")
        return Wanted(order_id, self.columns(document), key if self.behaviour.honours_keys else None, digest)

    def decide(self, wanted: Wanted, request_id: int, declines: bool) -> Decision:
        """Make the effect, or say why not. The caller commits."""
        before = self._replay(wanted)
        if before is not None:
            return before
        if self.unique and self.ledger.effects_of_order(wanted.order_id):
            return Decision(error(409, "already_exists"), "already_exists")
        if declines:
            decision = Decision(self.declined(), "declined")
        else:
            decision = Decision(self._make(wanted, request_id), "done", effects=1)
        if decision.effects or self.behaviour.saved_answers != "success":
            self.save(wanted, decision.answer)
        return decision

    def save(self, wanted: Wanted, answer: Answer) -> None:
        """Keep this answer for the key, if there is one."""
        if wanted.key is not None:
            body = json.dumps(answer.document, ensure_ascii=False)
            saved = SavedAnswer(wanted.body_sha256, answer.status, body, self.clock.now_us())
            self.ledger.save_answer(wanted.key, saved)

    def shown(self, rows: list[sqlite3.Row]) -> dict[str, object] | None:
        """What a look-up answers: the first effect old enough to be seen, with ``count`` when there are more."""
        horizon = self.clock.now_us() - int(self.behaviour.lookup_delay_seconds * SECOND_US)
        visible = [row for row in rows if row["created_us"] <= horizon]
        if not visible:
            return None
        return self.made(dict(visible[0])) | ({"count": len(visible)} if len(visible) > 1 else {})

    def _replay(self, wanted: Wanted) -> Decision | None:
        saved = self.ledger.saved_answer(wanted.key) if wanted.key is not None else None
        age_limit_us = self.behaviour.key_ttl_seconds * SECOND_US
        if saved is None or self.clock.now_us() - saved.created_us > age_limit_us:
            return None
        if saved.body_sha256 != wanted.body_sha256:
            return Decision(error(422, "key_reused"), "key_reused")
        return Decision(replace(Answer(saved.http_status, json.loads(saved.answer)), replayed=True), "replayed")

    def _make(self, wanted: Wanted, request_id: int) -> Answer:
        row = {
            **self.identified(),
            "order_id": wanted.order_id,
            **wanted.columns,
            "idempotency_key": wanted.key,
            "request_id": request_id,
            "created_us": self.clock.now_us(),
        }
        self.ledger.add_effect(row)
        return Answer(self.success_status, self.made(row))


def order_id_of(document: object) -> int | None:
    """The order id of a request or item, or None when there is no sound one."""
    value = document.get("order_id") if isinstance(document, dict) else None
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ID
    return value if sound else None


def body_sha256(document: object) -> str:
    """Digest of a body whatever the order of its keys; an item's ``idempotency_key`` does not count."""
    if isinstance(document, dict) and "idempotency_key" in document:
        document = {name: value for name, value in document.items() if name != "idempotency_key"}
    return hashlib.sha256(_canonical(document).encode()).hexdigest()


_canonical = json.JSONEncoder(sort_keys=True).encode
