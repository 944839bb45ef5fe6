"""A doubt in which only the same key keeps one effect from being two outlives everything but an answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from assets.payments.planning import plan_payments
from domain.outcomes import Outcome, OutcomeClass
from domain.states import EffectKind, EffectState
from resources.database import effects
from resources.database.database import BatchHold
from resources.database.effects import Attempt, ClaimedEffect, Settlement
from tests.integration.batches import Installation

PAYMENT = EffectKind.PAYMENT
SENDING, UNKNOWN, RETRY_WAIT = EffectState.SENDING, EffectState.UNKNOWN, EffectState.RETRY_WAIT


def claim(hold: BatchHold) -> ClaimedEffect:
    [one] = hold.run(lambda tx: effects.claim(tx, PAYMENT, hold.batch_id, hold.epoch, 1))
    return one


def settle(
    hold: BatchHold, claimed: ClaimedEffect, outcome: OutcomeClass, begin: EffectState, end: EffectState
) -> None:
    purpose, now = "send" if begin is SENDING else "look_up", datetime.now(UTC)
    attempt = Attempt(claimed.order.order_id, claimed.attempt, purpose, now, now, Outcome(outcome))
    hold.run(lambda tx: effects.settle(tx, PAYMENT, hold.epoch, [Settlement(attempt, begin, end)], 0.0))


def wait_to_send_again(hold: BatchHold) -> ClaimedEffect:
    """A payment whose call was in doubt, at a service that knows keys and has no look-up."""
    claimed = claim(hold)
    settle(hold, claimed, OutcomeClass.AMBIGUOUS, SENDING, UNKNOWN)
    settle(hold, claimed, OutcomeClass.SEND_AGAIN, UNKNOWN, RETRY_WAIT)
    return claimed


def test_what_was_in_doubt_is_so_still_after_claims_that_came_to_no_answer(installation: Installation) -> None:
    """Else the key would be sent again when the service has long forgotten it: a second charge."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
        wait_to_send_again(hold)

        not_sent = claim(hold)
        hold.run(lambda tx: effects.release_unsent(tx, PAYMENT, hold.epoch, [not_sent.order.order_id]))
        throttled = claim(hold)
        settle(hold, throttled, OutcomeClass.NOT_DONE, SENDING, RETRY_WAIT)
        third = claim(hold)
        settle(hold, third, OutcomeClass.AMBIGUOUS, SENDING, UNKNOWN)
        [unknown] = hold.run(lambda tx: effects.due_unknown(tx, PAYMENT, batch, 1))

    assert [one.was_in_doubt for one in (not_sent, throttled, third)] == [True, True, True]
    assert unknown.doubt.looks == 0  # its look-ups begin anew


def test_what_was_never_in_doubt_is_not_after_a_refusal(installation: Installation) -> None:
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
        settle(hold, claim(hold), OutcomeClass.NOT_DONE, SENDING, RETRY_WAIT)

        assert not claim(hold).was_in_doubt


@pytest.mark.parametrize("change", ["status = 'PAID'", "status = 'CANCELLED'", "amount = amount + 1"])
def test_a_payment_that_may_exist_is_not_called_off_when_its_order_changes(
    installation: Installation, change: str
) -> None:
    """Perhaps it is why the order says PAID: whoever reads "not charged" would charge again."""
    batch = installation.ordered(2)
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
        in_doubt = wait_to_send_again(hold).order.order_id
        installation.execute(f"update orders set {change}")
        hold.run(lambda tx: effects.claim(tx, PAYMENT, batch, hold.epoch, 10))

    states = installation.states("payments", batch)
    assert states.pop(in_doubt) == ("review", "PAY-OUTCOME-UNKNOWN")
    assert list(states.values()) == [("cancelled", "PAY-ORDER-CHANGED")]


def test_the_contradiction_of_an_answer_is_remembered_until_its_look_up(installation: Installation) -> None:
    """Absent would otherwise mean "send it again", and the payment may lie under another order."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)
        claimed = claim(hold)
        now = datetime.now(UTC)
        outcome = Outcome(OutcomeClass.MISMATCH, "PAY-ANSWER-MISMATCH")
        attempt = Attempt(claimed.order.order_id, 1, "send", now, now, outcome)
        hold.run(lambda tx: effects.settle(tx, PAYMENT, hold.epoch, [Settlement(attempt, SENDING, UNKNOWN)], 0.0))
        [unknown] = hold.run(lambda tx: effects.due_unknown(tx, PAYMENT, batch, 1))

    assert unknown.doubt.contradiction == "PAY-ANSWER-MISMATCH"
