"""Guards on money: when payments stop before the rest is paid, and who may let them go on. Pure rules.

    canary      the first payments of a file go alone; if too many of them fail, the rest waits for a person
    tolerance   once more payments have failed than is tolerated, in count or in percent, the rest waits for a person
    approval    above an amount, a second person approves before the first payment
    alike       an order that resembles another of its client, few days apart, is not paid until a person accepts it

Each is off or generous unless a setting says otherwise. A stopped batch is `paused` until a person continues it; that
is recorded, and the same guard does not stop it again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from domain.errors import BatchPaused

CANARY_STOP = "BATCH-STOPPED-CANARY"
TOLERANCE_STOP = "BATCH-STOPPED-FAILURES"
APPROVAL_STOP = "BATCH-APPROVAL-NEEDED"

NEAR_DUPLICATE = "PAY-NEAR-DUPLICATE"
NEAR_DUPLICATE_DAYS = 3
"""Over a weekend, and less than a week: what is ordered weekly is meant."""

NO_ROW = 0
EVERY_ROW = 2**31 - 1
"""Above every import row number."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """The settings of all guards. Amounts are yen; percentages are of the canary, and of all payments of the batch.

    ``near_duplicate_days``: 0 lets every order be paid; a client's profile may say otherwise.
    """

    canary_payments: int = 0  # 0: no canary
    canary_failed_percent: float = 20.0
    tolerated_failures: int = 1_000_000
    tolerated_failed_percent: float = 100.0
    approval_above_jpy: int = 10_000_000_000
    near_duplicate_days: int = NEAR_DUPLICATE_DAYS


@dataclass(frozen=True, slots=True)
class PaymentTally:
    """What the guards look at. ``canary_row``: the row number of the last payment of the canary."""

    batch_id: str
    payments: int
    failed: int
    canary: int = 0
    canary_row: int = EVERY_ROW
    canary_open: int = 0
    canary_failed: int = 0


def stop_reason(limits: GuardLimits, tally: PaymentTally, passed: Collection[str]) -> BatchPaused | None:
    """Why no further payment may begin; ``passed`` are the codes of guards that a person let the batch go past."""
    if CANARY_STOP not in passed and tally.canary_failed > tally.canary * limits.canary_failed_percent / 100:
        return BatchPaused(
            CANARY_STOP,
            batch=tally.batch_id,
            failed=tally.canary_failed,
            canary=tally.canary,
            percent=limits.canary_failed_percent,
        )
    tolerated = min(limits.tolerated_failures, int(tally.payments * limits.tolerated_failed_percent / 100))
    if TOLERANCE_STOP not in passed and tally.failed > tolerated:
        return BatchPaused(
            TOLERANCE_STOP, batch=tally.batch_id, failed=tally.failed, payments=tally.payments, tolerated=tolerated
        )
    return None


def last_row_allowed(tally: PaymentTally, passed: Collection[str]) -> int:
    """The highest row number whose payment may be sent now: while the canary is under way, its own last."""
    waiting = CANARY_STOP not in passed and tally.canary_open > 0
    return tally.canary_row if waiting else EVERY_ROW


def approval_reason(limits: GuardLimits, batch_id: str, amount_jpy: int, approved: bool) -> BatchPaused | None:
    """Why the first payment must wait for a second person."""
    if approved or amount_jpy <= limits.approval_above_jpy:
        return None
    return BatchPaused(APPROVAL_STOP, batch=batch_id, amount=f"{amount_jpy:,}", limit=f"{limits.approval_above_jpy:,}")


_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PERSONS = ("cli", "ui")


def is_account(name: str) -> bool:
    """Whether this can be the name of somebody's account; it is written into the trail."""
    return _ACCOUNT.fullmatch(name) is not None


def person_of(actor: str) -> str | None:
    """The person behind an actor (``cli:hanako``, ``ui:Hanako``); None for a sensor, a run or the database."""
    channel, _, name = actor.partition(":")
    return name.casefold() if channel in _PERSONS and is_account(name) else None
