"""Judging an event and doing what follows from it, in one transaction: all of it or nothing.

Killed before the commit, nothing happened and the sender comes again. Killed after it and before the answer, the sender
comes again too, and its event is known by its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from sqlalchemy import Connection

from assets.effects.following import payments_done
from assets.notifications.mail import MailWriter
from domain.errors import InvariantBroken
from domain.payment_events import EventOutcome, PaymentEvent, Verdict, judge
from domain.states import BatchState, EffectState
from resources.database import batches, effects, webhooks
from resources.database.database import Database
from resources.encryption import Vault
from webhooks.refusal import Refused

_PARKED_AT_ONCE = 200


class Taken(Enum):
    """What the sender is told of its event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    PARKED = "parked"


class Inbox:
    """Takes events in. Safe to share between threads."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def take(self, event: PaymentEvent, wait_seconds: float) -> Taken:
        """Judge an event once, for ever.

        Raises:
            Refused: 409 when another event was taken in under the same id.
            DatabaseUnavailable: it could not be judged in time; nothing happened.
        """
        try:
            return self._take(event, wait_seconds)
        except InvariantBroken:
            # Our own answer about another order brought in the same payment id in the same moment: now it can be seen.
            return self._take(event, wait_seconds)

    def retry_parked(self, wait_seconds: float) -> int:
        """Judge parked events again; the number of those that are parked no longer."""
        with self._database.begin() as tx:
            waiting = webhooks.parked(tx, _PARKED_AT_ONCE)
        return sum(self._retry(event, is_over, wait_seconds) for event, is_over in waiting)

    def record_refusals(self, code: str, count: int) -> None:
        """Put into the trail that requests were not genuine."""
        with self._database.begin() as tx:
            webhooks.refused(tx, code, count)

    def record_answers(self, by_step: Mapping[int, int]) -> None:
        """Count answers by the milliseconds that they took at most; what cannot be counted is forgotten."""
        with self._database.begin() as tx:
            webhooks.count_answers(tx, by_step)

    def _take(self, event: PaymentEvent, wait_seconds: float) -> Taken:
        with self._database.begin() as tx:
            webhooks.take_turn(tx, event, wait_seconds)
            before = webhooks.received(tx, event)
            if before is not None:
                return _told_before(before)
            return Taken.PARKED if self._judge(tx, event) is EventOutcome.PARKED else Taken.ACCEPTED

    def _retry(self, event: PaymentEvent, is_over: bool, wait_seconds: float) -> bool:
        with self._database.begin() as tx:
            webhooks.take_turn(tx, event, wait_seconds)
            before = webhooks.received(tx, event)
            if before is None or before.outcome is not EventOutcome.PARKED:
                return False  # another process was faster
            return self._judge(tx, event, is_over) is not EventOutcome.PARKED

    def _judge(self, tx: Connection, event: PaymentEvent, is_over: bool = False) -> EventOutcome:
        place = webhooks.place_of(tx, event.order_id)
        if place is not None and place.batch_id is None:
            return _write(tx, event, Verdict(EventOutcome.IGNORED), None)
        known = webhooks.known_payment(tx, event) if place is not None else None
        if place is None or place.batch_id is None or known is None:
            waiting = Verdict(EventOutcome.EXPIRED, reason="PAY-EVENT-ORDER-UNKNOWN")
            return _write(tx, event, waiting if is_over else Verdict(EventOutcome.PARKED), None)
        verdict = judge(event, known)
        webhooks.move_payment(tx, event, known, verdict)
        if verdict.look_up_now:
            webhooks.look_up_now(tx, event.order_id)
        if verdict.to_state is EffectState.DONE:
            self._follow(tx, place.batch_id, event.order_id)
        return _write(tx, event, verdict, place.batch_id)

    def _follow(self, tx: Connection, batch_id: str, order_id: int) -> None:
        """The order is paid and its mail planned; a batch that was finished without them is open again."""
        batch = batches.get(tx, batch_id)
        payments_done(tx, batch_id, [effects.order_facts(tx, order_id)], MailWriter(batch, self._vault))
        if batch.state in (BatchState.PARTIAL, BatchState.CANCELLED):
            batches.go_on(tx, batch_id)


def _told_before(before: webhooks.Received) -> Taken:
    if not before.same_content:
        raise Refused(409, "event_id_reused", suspicious=True)
    return Taken.PARKED if before.outcome is EventOutcome.PARKED else Taken.DUPLICATE


def _write(tx: Connection, event: PaymentEvent, verdict: Verdict, batch_id: str | None) -> EventOutcome:
    webhooks.write(tx, event, verdict, batch_id)
    return verdict.outcome
