"""What a person may decide about a batch or about a row in review, and which words may be kept with it."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum

from domain import catalogue
from domain.errors import OperationRefused
from domain.guards import NEAR_DUPLICATE
from domain.states import EffectKind, EffectState


class Decision(StrEnum):
    """One per record of the table `decisions`."""

    REDRIVE = "redrive"
    PAUSE = "pause"
    CONTINUE = "continue"
    CANCEL = "cancel"
    APPROVE = "approve"
    DONE = "done"  # about a row: it was looked up at the service, and it happened
    SEND_AGAIN = "send-again"  # about a row: it did not happen, and is to be tried again
    REJECTED = "rejected"  # about a row: it did not happen, and is not to
    ACCEPT = "accept"  # about a row that resembles another order: it is an order of its own, and is to be paid


ROW_DECISIONS = {
    Decision.DONE: EffectState.DONE,
    Decision.SEND_AGAIN: EffectState.RETRY_WAIT,
    Decision.REJECTED: EffectState.REJECTED,
    Decision.ACCEPT: EffectState.RETRY_WAIT,
}
"""Where each takes an effect in review."""

WORDS = {EffectKind.PAYMENT: "PAY", EffectKind.NOTIFICATION: "MAIL"}
"""The family of codes of each kind."""


def choices(reason: str | None) -> tuple[Decision, ...]:
    """What a person can decide about a row that is in review for this reason."""
    if reason == NEAR_DUPLICATE:  # it was never sent
        return Decision.ACCEPT, Decision.REJECTED
    return Decision.DONE, Decision.REJECTED, Decision.SEND_AGAIN


def redrivable_codes(kind: EffectKind) -> list[str]:
    """Reasons of a rejected effect that may be gone by now."""
    return sorted(code for code in catalogue.CODES if code.startswith(f"{WORDS[kind]}-") and catalogue.retryable(code))


def proven_absent(kind: EffectKind) -> str:
    """The one reason for review that leaves no doubt: every try was proven not to have happened. Redriven too."""
    word = WORDS[kind]
    return f"{word}-RETRIES-EXHAUSTED"


def rejected_by_person(kind: EffectKind) -> str:
    """The reason of an effect that a person rejected."""
    word = WORDS[kind]
    return f"{word}-REJECTED-BY-PERSON"


NOTE_LENGTH = 200
_LONG_NUMBER = re.compile(r"\d(?:[\s()+.\-/]*\d){6,}")  # a phone, a card, a postal code with more behind it
_REMOTE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def checked_note(text: str) -> str:
    """A person's reason in a few words, fit to be kept: it must not be about a customer.

    Raises:
        OperationRefused: it is empty, too long, or looks like an address or a long number.
    """
    note = " ".join(text.split())
    narrow = unicodedata.normalize("NFKC", note)  # full-width digits and signs are the same to a reader
    plain = note.isprintable() and "@" not in narrow and not _LONG_NUMBER.search(narrow)
    if not 1 <= len(note) <= NOTE_LENGTH or not plain:
        raise OperationRefused("BATCH-NOTE-REFUSED", limit=NOTE_LENGTH)
    return note


def checked_remote_id(text: str) -> str:
    """The service's own number of a payment or a mail.

    Raises:
        OperationRefused: it does not look like one.
    """
    if not _REMOTE_ID.fullmatch(text):
        raise OperationRefused("BATCH-REMOTE-ID-REFUSED")
    return text
