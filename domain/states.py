"""States and the transitions between them. The database holds the same tables and refuses what is not listed here.

    batch    received -> validated -> ordered -> done | partial        received <-> refused
                                      ordered <-> paused
    effect   planned -> sending -> done | rejected | retry_wait | unknown
             retry_wait -> sending           unknown -> done | rejected | retry_wait | review

By the payment service's own word (a webhook, domain/payment_events.py):

    effect   retry_wait | review -> done               planned | sending | retry_wait | rejected | cancelled -> review

By a person's hand only:

    batch    partial -> ordered (redrive, review)      received | validated | ordered -> cancelled -> ordered (review)
    effect   review -> done | rejected | retry_wait    rejected -> retry_wait
             planned | retry_wait -> cancelled         retry_wait -> review (only its key would tell whether it exists)

After a restoration from a backup, because what was done since stands in no table (domain/restoring.py):

    effect   planned | retry_wait | rejected | review -> unknown

An *effect* is a payment or a mail: something that happens at a foreign service and cannot be taken back by us.
"""

from __future__ import annotations

from enum import StrEnum


class BatchState(StrEnum):
    """Where a batch stands."""

    RECEIVED = "received"  # archived and registered; nothing read yet
    REFUSED = "refused"  # the whole file cannot be taken; no order was made
    VALIDATED = "validated"  # every row is stored, accepted or rejected
    ORDERED = "ordered"  # every accepted row has its order; payments and mails under way
    PAUSED = "paused"  # stopped with a reason; goes on by itself or when a person says so, as the reason says
    DONE = "done"  # every row of the file is paid and its mail is sent
    PARTIAL = "partial"  # finished, and some rows were rejected, declined or need a person
    CANCELLED = "cancelled"  # a person ended it: what was not paid by then is not paid; what was paid has its mail


class RowState(StrEnum):
    """What became of a row of the file at validation."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class OrderStatus(StrEnum):
    """The legacy status of an order, as far as a batch sets it (R-13)."""

    PENDING = "PENDING"  # not paid: not yet, or the payment was declined
    PAID = "PAID"
    CANCELLED = "CANCELLED"  # never paid, because its batch was cancelled


class EffectKind(StrEnum):
    """The two kinds of effect; the value names the table."""

    PAYMENT = "payments"
    NOTIFICATION = "notifications"


class EffectState(StrEnum):
    """Where a payment or a mail stands."""

    PLANNED = "planned"  # to be done; nothing was sent
    SENDING = "sending"  # intent committed; the call may or may not have left
    UNKNOWN = "unknown"  # the call may have had its effect; settled by look-up, never by sending again
    RETRY_WAIT = "retry_wait"  # not done, or the same key keeps it from being done twice; sent after `not_before`
    REVIEW = "review"  # cannot be settled without a person
    DONE = "done"  # certainly done, once
    REJECTED = "rejected"  # certainly not done, and sending it again unchanged is of no use
    CANCELLED = "cancelled"  # certainly not done, and never to be: the batch was cancelled, or the order changed


BATCH_TRANSITIONS: frozenset[tuple[BatchState, BatchState]] = frozenset(
    {
        (BatchState.RECEIVED, BatchState.VALIDATED),
        (BatchState.RECEIVED, BatchState.REFUSED),
        (BatchState.REFUSED, BatchState.RECEIVED),  # the same file again, say under a higher row limit
        (BatchState.VALIDATED, BatchState.ORDERED),
        (BatchState.ORDERED, BatchState.PAUSED),
        (BatchState.PAUSED, BatchState.ORDERED),
        (BatchState.ORDERED, BatchState.DONE),
        (BatchState.ORDERED, BatchState.PARTIAL),
        (BatchState.PARTIAL, BatchState.ORDERED),  # redrive, or a decision about a row in review
        (BatchState.RECEIVED, BatchState.CANCELLED),
        (BatchState.VALIDATED, BatchState.CANCELLED),
        (BatchState.ORDERED, BatchState.CANCELLED),  # once nothing is in doubt and every paid order has its mail
        (BatchState.CANCELLED, BatchState.ORDERED),  # a row in review was paid after all: its mail has to leave
    }
)

EFFECT_TRANSITIONS: frozenset[tuple[EffectState, EffectState]] = frozenset(
    {
        (EffectState.PLANNED, EffectState.SENDING),
        (EffectState.SENDING, EffectState.DONE),
        (EffectState.SENDING, EffectState.REJECTED),
        (EffectState.SENDING, EffectState.RETRY_WAIT),  # certainly not done, or never sent
        (EffectState.SENDING, EffectState.UNKNOWN),
        (EffectState.RETRY_WAIT, EffectState.SENDING),
        (EffectState.UNKNOWN, EffectState.DONE),
        (EffectState.UNKNOWN, EffectState.REJECTED),  # the service itself says that it refused
        (EffectState.UNKNOWN, EffectState.RETRY_WAIT),
        (EffectState.UNKNOWN, EffectState.REVIEW),
        # what the payment service tells on its own account (domain/payment_events.py)
        (EffectState.RETRY_WAIT, EffectState.DONE),
        (EffectState.REVIEW, EffectState.DONE),
        (EffectState.PLANNED, EffectState.REVIEW),
        (EffectState.SENDING, EffectState.REVIEW),
        (EffectState.RETRY_WAIT, EffectState.REVIEW),
        (EffectState.REJECTED, EffectState.REVIEW),
        (EffectState.CANCELLED, EffectState.REVIEW),
        # what a person decides; review -> done too, when it was looked up by hand
        (EffectState.REVIEW, EffectState.REJECTED),
        (EffectState.REVIEW, EffectState.RETRY_WAIT),
        (EffectState.REJECTED, EffectState.RETRY_WAIT),  # redrive
        (EffectState.PLANNED, EffectState.CANCELLED),
        (EffectState.RETRY_WAIT, EffectState.CANCELLED),
        # after a restoration: looked up before anything is sent
        (EffectState.PLANNED, EffectState.UNKNOWN),
        (EffectState.RETRY_WAIT, EffectState.UNKNOWN),
        (EffectState.REJECTED, EffectState.UNKNOWN),
        (EffectState.REVIEW, EffectState.UNKNOWN),
    }
)

FINISHED_BATCH = frozenset({BatchState.DONE, BatchState.PARTIAL, BatchState.REFUSED, BatchState.CANCELLED})
"""Nothing more happens to such a batch by itself."""

SETTLED_EFFECT = frozenset({EffectState.DONE, EffectState.REJECTED, EffectState.REVIEW, EffectState.CANCELLED})
"""Nothing more happens to such an effect by itself."""

FAILED_EFFECT = frozenset({EffectState.REJECTED, EffectState.REVIEW})
"""Counted by the guards on money, and named in the failed rows of the report."""
