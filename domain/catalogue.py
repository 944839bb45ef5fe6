"""The error catalogue: every code once, whether trying again can help, and its texts per language.

Families: ORD a fault of one row, FILE a whole file, READ how a file was read, PAY and MAIL the outcome of a payment or
a mail, BATCH a batch, SYS the surroundings. Codes are stable: people search for them, reports hold them. Texts are in
``locales/<language>.toml``, each with what is wrong (``message``) and what to do (``remedy``); another language is
another file. Loaded lazily.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from domain.errors import BulkOrdersError, Fact
from domain.money import MAX_JPY, MIN_JPY, format_yen

FALLBACK_LANGUAGE = "en"
UNKNOWN_CODE = "SYS-INTERNAL"

_LOCALES = Path(__file__).parent / "locales"


@dataclass(frozen=True, slots=True)
class Text:
    """What is wrong, and what to do about it; before `fill`, with ``{placeholders}``."""

    message: str
    remedy: str


_RETRY_CANNOT_HELP = (
    # a row: the file must be changed
    "ORD-COLUMNS-COUNT",
    "ORD-CELL-TOO-LONG",
    "ORD-CELL-CONTROL",
    "ORD-CELL-GARBLED",
    "ORD-CELL-LINE-BREAK",
    "ORD-CELL-MERGED",
    "ORD-CELL-NO-RESULT",
    "ORD-EXCEL-ERROR-VALUE",
    "ORD-EXCEL-ROUNDED",
    "ORD-EXCEL-DATE",
    "ORD-EXCEL-SERIAL-DATE",
    "ORD-NUMBER-MISSING",
    "ORD-NUMBER-DUPLICATE",
    "ORD-NUMBER-EARLIER",
    "ORD-LINES-SEVERAL",
    "ORD-NAME-MISSING",
    "ORD-EMAIL-MISSING",
    "ORD-EMAIL-FORMAT",
    "ORD-AMOUNT-MISSING",
    "ORD-AMOUNT-FORMAT",
    "ORD-AMOUNT-NEGATIVE",
    "ORD-AMOUNT-AMBIGUOUS",
    "ORD-AMOUNT-RANGE",
    "ORD-AMOUNT-MISMATCH",
    "ORD-QUANTITY-FORMAT",
    "ORD-QUANTITY-RANGE",
    "ORD-PRICE-FORMAT",
    "ORD-PRICE-RANGE",
    "ORD-CURRENCY-UNKNOWN",
    "ORD-DATE-FORMAT",
    "ORD-DATE-CALENDAR",
    "ORD-DATE-AMBIGUOUS",
    "ORD-DATE-NO-YEAR",
    "ORD-DATE-ERA",
    "ORD-DATE-RANGE",
    # a whole file
    "FILE-NOT-FOUND",
    "FILE-IS-DIRECTORY",
    "FILE-NOT-REGULAR",
    "FILE-UNREADABLE",
    "FILE-EMPTY",
    "FILE-NO-ROWS",
    "FILE-BINARY",
    "FILE-ENCODING",
    "FILE-ENCODING-UNSURE",
    "FILE-ENCODING-MIXED",
    "FILE-ENCODING-SET",
    "FILE-DELIMITER",
    "FILE-HEADER-UNREADABLE",
    "FILE-HEADER-NOT-FOUND",
    "FILE-COLUMNS-MISSING",
    "FILE-COLUMNS-DUPLICATE",
    "FILE-COLUMNS-AMBIGUOUS",
    "FILE-PROFILE-COLUMN",
    "FILE-PROFILE-INVALID",
    "FILE-TOO-MANY-COLUMNS",
    "FILE-TOO-MANY-ROWS",
    "FILE-TOO-LARGE",
    "FILE-LINE-TOO-LONG",
    "FILE-QUOTE-UNCLOSED",
    "FILE-TOTAL-ROWS",
    "FILE-TOTAL-YEN",
    "FILE-TIME-LIMIT",
    "FILE-WORKBOOK-PROTECTED",
    "FILE-WORKBOOK-BROKEN",
    "FILE-WORKBOOK-TOO-LARGE",
    "FILE-WORKBOOK-UNSAFE",
    "FILE-SHEET-UNSURE",
    "FILE-SHEET-NOT-FOUND",
    "FILE-DUPLICATE",
    "FILE-ARCHIVE-CHANGED",
    "FILE-ARCHIVE-MISSING",
    # how a file was read, and why so: no faults
    "READ-ENCODING-SET",
    "READ-ENCODING-MARK",
    "READ-ENCODING-ZEROS",
    "READ-ENCODING-ESCAPES",
    "READ-ENCODING-ASCII",
    "READ-ENCODING-ONLY",
    "READ-ENCODING-LIKELY",
    "READ-SHEET-SET",
    "READ-SHEET-ONLY",
    "READ-SHEET-BEST",
    "READ-COLUMN-PROFILE",
    "READ-COLUMN-SYSTEM",
    "READ-COLUMN-NAME",
    "READ-COLUMN-PARTS",
    "READ-CELL-WIDTH",
    "READ-CELL-KANA",
    "READ-CELL-CURRENCY",
    "READ-CELL-THOUSANDS",
    "READ-CELL-ZERO-FRACTION",
    "READ-CELL-DATE-FORM",
    "READ-CELL-ERA",
    "READ-CELL-DAY-OF-TIME",
    "READ-CELL-LEADING-ZERO",
    "READ-CELL-MARK",
    # effects that a repeat would not change, or that a person must look at first
    "PAY-DECLINED",
    "PAY-REFUSED",
    "PAY-LIMIT",
    "PAY-OUTCOME-UNKNOWN",
    "PAY-ANSWER-MISMATCH",
    "PAY-KEY-REUSED",
    "PAY-EVENT-MISMATCH",
    "PAY-EVENT-UNASKED",
    "PAY-EVENT-AFTER-REFUSAL",
    "PAY-EVENT-CONTRADICTS",
    "PAY-EVENT-SECOND-CHARGE",
    "PAY-EVENT-ORDER-UNKNOWN",
    "MAIL-REFUSED",
    "MAIL-OUTCOME-UNKNOWN",
    "MAIL-ANSWER-MISMATCH",
    "MAIL-KEY-REUSED",
    "MAIL-NOT-PAID",
    # what a person did or has to do
    "PAY-CANCELLED",
    "PAY-ORDER-CHANGED",
    "PAY-REJECTED-BY-PERSON",
    "MAIL-REJECTED-BY-PERSON",
    "BATCH-FINISHED",
    "BATCH-CANCELLING",
    "BATCH-CANCELLED",
    "BATCH-CANCEL-WHILE-PAYING",
    "BATCH-ALREADY-PAUSED",
    "BATCH-NOT-PAUSED",
    "BATCH-PAUSED-BY-PERSON",
    "BATCH-STOPPED-CANARY",
    "BATCH-STOPPED-FAILURES",
    "BATCH-APPROVAL-NEEDED",
    "BATCH-APPROVAL-OWN",
    "BATCH-NOTHING-TO-APPROVE",
    "BATCH-PERSON-UNKNOWN",
    "BATCH-ROW-NOT-IN-REVIEW",
    "BATCH-REMOTE-ID-TAKEN",
    "BATCH-REMOTE-ID-REFUSED",
    "BATCH-NOTE-REFUSED",
    "BATCH-NOT-FOUND",
    "BATCH-NOTHING-TO-REDRIVE",
    "BATCH-NOT-VALIDATED",
    "BATCH-NOT-ORDERED",
    "BATCH-BOOKS-DIFFER",
    "SYS-SETTING-INVALID",
    "SYS-SETTING-MISSING",
    "SYS-REQUEST-CHANGED",
    "SYS-ANSWER-UNWRITABLE",
    "SYS-COMMAND-LINE",
    "SYS-DATABASE-LOGIN",
    "SYS-DATABASE-REFUSED",
    "SYS-DATABASE-TOO-OLD",
    "SYS-DATABASE-UNSAFE",
    "SYS-LEGACY-FRACTIONS",
    "SYS-PORT-TAKEN",
    "SYS-KEY-MISSING",
    "SYS-KEY-WRONG",
    "SYS-KEY-INVALID",
    "SYS-POSTGRES-FAILED",
    "SYS-ALREADY-RUNNING",
    "SYS-START-FAILED",
    "SYS-LIBRARY-MISSING",
    "SYS-WEBHOOK-OFF",
    "SYS-INTERNAL",
)
_RETRY_MAY_HELP = (
    "FILE-CHANGED",
    "PAY-RETRIES-EXHAUSTED",
    "PAY-SERVICE-UNAVAILABLE",
    "PAY-ACCESS-DENIED",
    "PAY-THROTTLED",
    "PAY-WAITING",
    "MAIL-RETRIES-EXHAUSTED",
    "MAIL-SERVICE-UNAVAILABLE",
    "MAIL-ACCESS-DENIED",
    "MAIL-THROTTLED",
    "MAIL-WAITING",
    "BATCH-BUSY",
    "BATCH-PAUSED-PAYMENTS",
    "BATCH-PAUSED-NOTIFICATIONS",
    "BATCH-INTERRUPTED",
    "BATCH-NOT-FINISHED",
    "SYS-DATABASE-UNREACHABLE",
    "SYS-SERVICE-UNREACHABLE",
    "SYS-HOLD-LOST",
    "SYS-EFFECT-ORPHANED",
    "SYS-FOLDER-NOT-WRITABLE",
)

CODES: Mapping[str, bool] = dict.fromkeys(_RETRY_CANNOT_HELP, False) | dict.fromkeys(_RETRY_MAY_HELP, True)
"""Every code, and whether trying again, with nothing changed by a person, may help."""

_ALWAYS_KNOWN: Mapping[str, Fact] = {"min_yen": format_yen(MIN_JPY), "max_yen": format_yen(MAX_JPY)}


def languages() -> list[str]:
    """The languages there are texts for."""
    return sorted(path.stem for path in _LOCALES.glob("*.toml"))


def retryable(code: str) -> bool:
    """Whether trying again unchanged may help; False for a code nobody knows."""
    return CODES.get(code, False)


def text(code: str, language: str) -> Text:
    """The texts of ``code`` with their placeholders; English where the language lacks it."""
    for texts in (_texts(language), _texts(FALLBACK_LANGUAGE)):
        if code in texts:
            return texts[code]
    return text(UNKNOWN_CODE, language)


def fill(code: str, facts: Mapping[str, Fact], language: str) -> Text:
    """The texts of ``code`` for a person; a fact that is missing shows as ``?`` rather than breaking the message."""
    known = _Facts({**_ALWAYS_KNOWN, **facts})
    template = text(code, language)
    return Text(template.message.format_map(known), template.remedy.format_map(known))


def describe(error: BulkOrdersError, language: str) -> str:
    """One clear line: code, what is wrong, what to do."""
    filled = fill(error.code, error.facts, language)
    return f"{error.code}: {filled.message} {filled.remedy}"


class _Facts(dict[str, Fact]):
    def __missing__(self, key: str) -> str:
        return "?"


@cache
def _texts(language: str) -> Mapping[str, Text]:
    path = _LOCALES / f"{language}.toml"
    if language not in languages():
        return {}
    entries = tomllib.loads(path.read_text(encoding="utf-8"))
    return {code: Text(entry["message"], entry["remedy"]) for code, entry in entries.items()}
