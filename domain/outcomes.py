"""What one call told us, and what follows from it. The heart of exactly-once: doubt is never read as failure.

    answer                        outcome        the effect goes to
    2xx, ids and amount as asked  DONE           done
    4xx refusal of this item      REFUSED        rejected
    429, connection refused       NOT_DONE       retry_wait (certainly nothing happened)
    401, 403                      NOT_DONE       retry_wait, and the service counts as out of order
    timeout, reset, 5xx, 409,
      garbled, redirect           AMBIGUOUS      unknown (look it up before anything else)
    2xx about another order,
      422 "key reused"            MISMATCH       unknown; review unless a look-up finds it

`resources/services/classify.py` maps httpx and HTTP onto these.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.states import EffectState


class OutcomeClass(StrEnum):
    """What we may conclude from one call."""

    DONE = "done"  # the effect exists, and it is ours
    REFUSED = "refused"  # certainly no effect, and none if asked again unchanged
    NOT_DONE = "not_done"  # certainly no effect; may be asked again
    AMBIGUOUS = "ambiguous"  # there may be an effect
    MISMATCH = "mismatch"  # an answer about another order or amount: never done, and never simply asked for again
    ABSENT = "absent"  # a look-up found no effect
    SEND_AGAIN = "send_again"  # no look-up, but the same key with the same body is one


class LookUp(StrEnum):
    """How a service lets us ask whether an effect exists."""

    BY_KEY = "by_key"
    BY_ORDER = "by_order"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one call. ``reason`` is a code of the catalogue; nothing here is personal.

    ``retry_after_seconds`` is what the service asked for, capped; ``systemic`` says that the service as a whole is out
    of order, which concerns the breaker and not this row.
    """

    cls: OutcomeClass
    reason: str | None = None
    http_status: int | None = None
    remote_id: str | None = None
    service_request_id: str | None = None
    retry_after_seconds: float | None = None
    systemic: bool = False

    @property
    def throttled(self) -> bool:
        """The service said that we call too often (R-37)."""
        return self.http_status == 429


_AFTER_SEND = {
    OutcomeClass.DONE: EffectState.DONE,
    OutcomeClass.REFUSED: EffectState.REJECTED,
    OutcomeClass.NOT_DONE: EffectState.RETRY_WAIT,
    OutcomeClass.AMBIGUOUS: EffectState.UNKNOWN,
    OutcomeClass.MISMATCH: EffectState.UNKNOWN,
}


def state_after_send(outcome: Outcome) -> EffectState:
    """The state of an effect after a call for it."""
    return _AFTER_SEND[outcome.cls]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is known of an effect in doubt before one more look-up.

    ``settled``: its last call can no longer arrive. ``looks`` that did not settle it, ``absent_looks`` that found
    nothing once it was settled, ``attempt`` calls in all. ``contradiction``: the code of an answer that was about
    something else; there may be an effect under another order or key, which no look-up for ours would find.
    ``restored``: the doubt is that of a database restored from a backup.
    """

    settled: bool
    looks: int
    absent_looks: int
    attempt: int
    contradiction: str | None = None
    restored: bool = False

    @property
    def key_reused(self) -> bool:
        """The service knows its key with other content: it would never be done under it."""
        return self.contradiction is not None and self.contradiction.endswith("-KEY-REUSED")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often before a person is asked: ``max_attempts`` calls for one effect, ``max_looks`` look-ups after one."""

    max_attempts: int = 6
    max_looks: int = 16


def state_after_look_up(outcome: Outcome, doubt: Doubt, patience: Patience) -> EffectState:
    """The state of an effect in doubt after one more look-up; UNKNOWN means: look again later.

    Absent is believed only when the call can no longer arrive, and only at the second such look; a failure too only
    then, for it may be that of an earlier call. A look-up that is itself in doubt proves nothing, and one that fails
    with the whole service does not even count.
    """
    if outcome.cls is OutcomeClass.DONE:
        return EffectState.DONE
    if outcome.cls is OutcomeClass.REFUSED and doubt.settled:
        return EffectState.REJECTED
    if outcome.cls is OutcomeClass.MISMATCH:
        return EffectState.REVIEW
    tries_left = doubt.attempt < patience.max_attempts
    absent = outcome.cls is OutcomeClass.ABSENT and doubt.settled and doubt.absent_looks >= 1
    if absent:
        return EffectState.RETRY_WAIT if tries_left and doubt.contradiction is None else EffectState.REVIEW
    if outcome.cls is OutcomeClass.SEND_AGAIN:  # the same key keeps it from happening twice, whatever was answered
        return EffectState.RETRY_WAIT if tries_left and not doubt.key_reused else EffectState.REVIEW
    if outcome.cls is OutcomeClass.AMBIGUOUS and not outcome.systemic and doubt.looks + 1 >= patience.max_looks:
        return EffectState.REVIEW
    return EffectState.UNKNOWN
