"""What an exception or a status of HTTP tells about an effect. One table, used by both services.

The rule: "certainly not done" needs proof. The transport maps every lost connection onto httpx's ConnectTimeout, also
one that broke after the request had left; so the proof is taken from the exception underneath, never from httpx's
class.
"""

from __future__ import annotations

import email.utils
import re
import time
from contextlib import suppress
from dataclasses import replace

import aiohttp
import httpx

from domain.outcomes import Outcome, OutcomeClass
from domain.profiles import ServiceProfile

MAX_RETRY_AFTER_SECONDS = 120.0
DEFAULT_RETRY_AFTER_SECONDS = 1.0

# Raised before a single byte of the request can have left.
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_NEVER_SENT_BY_HTTPX = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.PoolTimeout)

_REFUSED = frozenset({400, 402, 404, 405, 410, 411, 413, 414, 415, 422})
# Of these, what is decided on the call as such, before any item of a batch is looked at.
_REFUSED_UNREAD = frozenset({400, 404, 405, 411, 413, 414, 415})
_SYSTEMIC = frozenset({401, 403, 407})
_KEY_REUSED = re.compile(rb"idempoten|key[\W_]{0,3}(?:reuse|mismatch|conflict)", re.IGNORECASE)


def of_exception(error: BaseException, word: str) -> Outcome:
    """The outcome of a call that ended in ``error``; ``word`` is PAY or MAIL."""
    if isinstance(error, _NEVER_SENT_BY_HTTPX) or isinstance(error.__cause__, _NEVER_SENT):
        return Outcome(OutcomeClass.NOT_DONE, f"{word}-SERVICE-UNAVAILABLE", systemic=True)
    return Outcome(OutcomeClass.AMBIGUOUS, f"{word}-OUTCOME-UNKNOWN", systemic=True)


def is_out_of_order(response: httpx.Response) -> bool:
    """Whether an answer that is not 2xx says so of the service as a whole."""
    return is_systemic(response.status_code) or _is_a_page(response)


def is_systemic(status: int) -> bool:
    """Whether a status says that the service as a whole is out of order, or that none of our calls is allowed.

    A redirect is one: what answers at this address is not the service. Nothing of ours goes after it.
    """
    return status >= 500 or status in _SYSTEMIC or 300 <= status < 400


def of_refusal(response: httpx.Response, profile: ServiceProfile, word: str) -> Outcome:
    """The outcome of a POST whose status is not 2xx."""
    outcome = replace(of_status(response.status_code, profile, word), service_request_id=request_id(response))
    if outcome.throttled or (response.status_code == 503 and "retry-after" in response.headers):
        outcome = replace(outcome, retry_after_seconds=retry_after(response))
    if outcome.cls is OutcomeClass.REFUSED and _is_a_page(response):  # whoever refused it, it was not the service
        return replace(outcome, cls=OutcomeClass.AMBIGUOUS, reason=f"{word}-OUTCOME-UNKNOWN", systemic=True)
    if outcome.cls is OutcomeClass.REFUSED and profile.honours_keys and _KEY_REUSED.search(response.content):
        return key_reused(outcome, word)
    return outcome


def _is_a_page(response: httpx.Response) -> bool:
    """HTML: the word of a gateway or of another server at this address, and not of the service."""
    kind = response.headers.get("content-type", "").lower()
    return kind.startswith("text/html") or response.content.lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))


def of_status(status: int, profile: ServiceProfile, word: str) -> Outcome:
    """What a status that is not 2xx says by itself, of a call or of one item of a batch."""
    outcome = Outcome(OutcomeClass.AMBIGUOUS, f"{word}-OUTCOME-UNKNOWN", status, systemic=is_systemic(status))
    if status == 429:
        wait = DEFAULT_RETRY_AFTER_SECONDS
        return replace(outcome, cls=OutcomeClass.NOT_DONE, reason=f"{word}-THROTTLED", retry_after_seconds=wait)
    if status in _SYSTEMIC:
        return replace(outcome, cls=OutcomeClass.NOT_DONE, reason=f"{word}-ACCESS-DENIED")
    if status == 503 and profile.unavailable_means_not_done:
        return replace(outcome, cls=OutcomeClass.NOT_DONE, reason=f"{word}-SERVICE-UNAVAILABLE")
    if status in _REFUSED:
        reason = declined(word) if status == 402 else f"{word}-REFUSED"
        return replace(outcome, cls=OutcomeClass.REFUSED, reason=reason)
    return outcome


def was_refused_unread(outcome: Outcome, profile: ServiceProfile) -> bool:
    """Whether a batch call was refused before its items were looked at; any other refusal leaves them in doubt.

    A 400 may be about one item, met after others were done: only their keys make it harmless to send those again. The
    rest may come of a gateway as well: no such path, or a call that is too large for it.
    """
    unread = outcome.http_status in _REFUSED_UNREAD and (outcome.http_status != 400 or profile.sends_keys)
    return unread and outcome.cls in (OutcomeClass.REFUSED, OutcomeClass.AMBIGUOUS)


def key_reused(outcome: Outcome, word: str) -> Outcome:
    """The service knows our key with other content: our mistake, and there may be an effect behind it."""
    return replace(outcome, cls=OutcomeClass.MISMATCH, reason=f"{word}-KEY-REUSED")


def speaks_of_the_key(text: str) -> bool:
    """Whether an error says that a key was used before with other content."""
    return _KEY_REUSED.search(text.encode(errors="replace")) is not None


def declined(word: str) -> str:
    """The code of a certain no: a card is declined, a recipient is refused."""
    return "PAY-DECLINED" if word == "PAY" else "MAIL-REFUSED"


def retry_after(response: httpx.Response) -> float:
    """Seconds the service asked us to wait, in either of the header's forms, between 0 and a cap."""
    text = response.headers.get("retry-after", "").strip()
    seconds = DEFAULT_RETRY_AFTER_SECONDS
    if text.isascii() and text.isdigit():
        seconds = float(text)
    elif text:
        with suppress(ValueError, TypeError, OverflowError):
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def request_id(response: httpx.Response) -> str | None:
    """The service's own name for the call, if it is one: short and plain."""
    value = response.headers.get("x-request-id", "")
    return (
        value
        if 0 < len(value) <= 64 and value.isascii() and value.replace("-", "").replace("_", "").isalnum()
        else None
    )
