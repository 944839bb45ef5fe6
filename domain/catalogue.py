"""The error catalogue: every code once, whether trying again can help, and its texts per language.

Families: ORD a fault of one row, FILE a whole file, READ how a file was read, PAY and MAIL the outcome of a payment or
a mail, BATCH a batch, AUDIT the trail, ALERT what the watch tells of, SYS the surroundings. Codes are stable: people
search for them, reports hold them. Texts are in ``locales/<language>.toml``, each with what is wrong (``message``), how
it comes to that (``cause``) and what to do (``remedy``). The file also has the names of our columns and the words that
commands show; another language is another file. Loaded lazily. ``docs/errors.md`` is made of it
(``domain/error_page.py``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from domain.errors import BulkOrdersError, Fact
from domain.money import MAX_JPY, MIN_JPY, format_yen

FALLBACK_LANGUAGE = "en"
UNKNOWN_CODE = "SYS-INTERNAL"

_LOCALES = Path(__file__).parent / "locales"


@dataclass(frozen=True, slots=True)
class Text:
    """What is wrong, how it usually comes to that, and what to do; before `fill`, with ``{placeholders}``."""

    message: str
    cause: str
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
    "ORD-LINES-DIFFER",
    "ORD-LINES-RANGE",
    "ORD-LINES-REJECTED",
    "ORD-LINES-UNSURE",
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
    "ORD-REPAIR-MARK",
    "ORD-REPAIR-TWICE",
    "ORD-REPAIR-LINES",
    "ORD-REPAIR-NUMBERS",
    "ORD-REPAIR-ACCEPTED",
    "ORD-REPAIR-DONE",
    "ORD-REPAIR-ERASED",
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
    "FILE-LINES-AMOUNT",
    "FILE-TOO-MANY-COLUMNS",
    "FILE-TOO-MANY-ROWS",
    "FILE-TOO-LARGE",
    "FILE-LINE-TOO-LONG",
    "FILE-QUOTE-UNCLOSED",
    "FILE-TOTAL-ROWS",
    "FILE-TOTAL-YEN",
    "FILE-SIDE-ROWS",
    "FILE-SIDE-YEN",
    "FILE-SIDE-UNREADABLE",
    "FILE-SIDE-MISSING",
    "FILE-SIDE-SEVERAL",
    "FILE-SIDE-ALONE",
    "FILE-TIME-LIMIT",
    "FILE-WORKBOOK-PROTECTED",
    "FILE-WORKBOOK-BROKEN",
    "FILE-WORKBOOK-TOO-LARGE",
    "FILE-WORKBOOK-UNSAFE",
    "FILE-SHEET-UNSURE",
    "FILE-SHEET-NOT-FOUND",
    "FILE-REPAIR-FOREIGN",
    "FILE-REPAIR-CLIENT",
    "FILE-REPAIR-SEVERAL",
    "FILE-DEIDENTIFIED",
    "FILE-DEIDENTIFIED-HERE",
    "FILE-DUPLICATE",
    "FILE-TAKEN-AGAIN",
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
    "READ-REPAIR-FILE",
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
    "PAY-NEAR-DUPLICATE",
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
    "MAIL-ROW-ERASED",
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
    "BATCH-AFTER-RESTORE",
    "BATCH-PAYMENTS-ELSEWHERE",
    "BATCH-NOTIFICATIONS-ELSEWHERE",
    "BATCH-NOTHING-TO-APPROVE",
    "BATCH-PERSON-UNKNOWN",
    "BATCH-ROW-NOT-IN-REVIEW",
    "BATCH-ROW-NEVER-SENT",
    "BATCH-ROW-NOT-ALIKE",
    "BATCH-REMOTE-ID-TAKEN",
    "BATCH-REMOTE-ID-REFUSED",
    "BATCH-NOTE-REFUSED",
    "BATCH-NOT-FOUND",
    "BATCH-NOTHING-TO-REDRIVE",
    "BATCH-NOT-VALIDATED",
    "BATCH-NOT-ORDERED",
    "BATCH-BOOKS-DIFFER",
    "BATCH-ROW-ERASED",
    "BATCH-ROWS-EXPIRED",
    "BATCH-ERASE-NOBODY",
    "BATCH-ERASE-CUT-SHORT",
    "BATCH-ERASE-HELD",
    # the trail, or the evidence of a batch, is not as it was written
    "AUDIT-CHANGED",
    "AUDIT-MISSING",
    "AUDIT-REORDERED",
    "AUDIT-INSERTED",
    "AUDIT-TAIL-CUT",
    "AUDIT-BEYOND-HEAD",
    "AUDIT-HEAD-ALTERED",
    "AUDIT-HEAD-MISSING",
    "AUDIT-REWRITTEN",
    "AUDIT-ANCHOR-MISSING",
    "AUDIT-ANCHOR-ALTERED",
    "AUDIT-ANCHOR-FOREIGN",
    "AUDIT-BOOKS-DIFFER",
    "AUDIT-GUARD-OFF",
    "AUDIT-VERIFIERS-DISAGREE",
    "AUDIT-PACK-NO-FOLDER",
    "AUDIT-EXPORT-MISSING",
    "AUDIT-EXPORT-ALTERED",
    "AUDIT-EXPORT-FOREIGN",
    "AUDIT-PARTITION-MISSING",
    "AUDIT-PACK-COLD",
    "AUDIT-NOT-TRACED",
    # what somebody is alerted to (domain/alerts.py); each ends when its condition does
    "ALERT-DATABASE-GONE",
    "ALERT-AVAILABILITY",
    "ALERT-DATABASE-SLOW",
    "ALERT-SERVICE-DOWN",
    "ALERT-SERVICE-SLOW",
    "ALERT-ERROR-RATE",
    "ALERT-THROTTLED",
    "ALERT-BATCH-STUCK",
    "ALERT-BATCH-WAITS",
    "ALERT-REVIEW-WAITS",
    "ALERT-WEBHOOK-CONTRADICTS",
    "ALERT-WEBHOOK-FORGED",
    "ALERT-WEBHOOK-DOWN",
    "ALERT-WEBHOOK-SLOW",
    "ALERT-FOREIGN-RESULT",
    "ALERT-KEY-REFUSED",
    "ALERT-ACCESS-REFUSED",
    "ALERT-TRAIL-BROKEN",
    "ALERT-TRAIL-UNVERIFIED",
    "ALERT-ANCHOR-OLD",
    "ALERT-BACKUP-OLD",
    "ALERT-DISK-LOW",
    "ALERT-WATCHER-SILENT",
    "ALERT-SCHEDULE-FAILING",
    "ALERT-TEST",
    "SYS-ANCHOR-KEY-INVALID",
    "SYS-ANCHOR-KEY-MISSING",
    "SYS-ANCHOR-IN-THE-WAY",
    "SYS-SETTING-INVALID",
    "SYS-SETTING-MISSING",
    "SYS-SETTING-UNKNOWN",
    "SYS-SERVICE-MISSING",
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
    "SYS-KEY-INCOMPLETE",
    "SYS-KEY-RETIRED",
    "SYS-KEY-UNKNOWN",
    "SYS-KEY-IN-USE",
    "SYS-KEY-MADE-ELSEWHERE",
    "SYS-KEY-COMMAND",
    "SYS-ROW-KEYS-MISSING",
    "SYS-ROW-KEYS-BROKEN",
    "SYS-ERASURES-UNDONE",
    "SYS-PSEUDONYMS-EXHAUSTED",
    "SYS-DEIDENTIFY-FOLDER",
    "SYS-POSTGRES-FAILED",
    "SYS-ALREADY-RUNNING",
    "SYS-START-FAILED",
    "SYS-LIBRARY-MISSING",
    "SYS-WEBHOOK-OFF",
    "SYS-ALARM-NOT-FOUND",
    "SYS-DATABASE-RIGHTS",
    "SYS-ROLE-NEEDED",
    "SYS-ROLE-OWN",
    "SYS-ROLES-INVALID",
    "SYS-ROLES-CONFLICT",
    "SYS-PROXY-NEEDED",
    "SYS-DATABASE-ROLLED-BACK",
    "SYS-BACKUP-FAILED",
    "SYS-BACKUP-EXISTS",
    "SYS-BACKUP-NOT-WRITABLE",
    "SYS-BACKUP-NOT-FOUND",
    "SYS-BACKUP-DAMAGED",
    "SYS-BACKUP-FOREIGN",
    "SYS-RESTORE-FAILED",
    "SYS-RESTORE-TARGET-USED",
    "SYS-RESTORE-DIFFERS",
    "SYS-RESTORE-MOMENT",
    "SYS-RESTORE-NOTHING-OPEN",
    "SYS-COLD-STORE",
    "SYS-COLD-LIBRARY-MISSING",
    "SYS-EXPORT-DIFFERS",
    "SYS-EXPORT-BROKEN",
    "SYS-HOLD-NOT-FOUND",
    "SYS-HOLD-SUBJECT",
    "SYS-RETENTION-UNFINISHED",
    "SYS-INTERNAL",
)
_RETRY_MAY_HELP = (
    "FILE-CHANGED",
    "FILE-SIDE-AWAITED",
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
    "BATCH-ERASE-UNFINISHED",
    "SYS-DATABASE-UNREACHABLE",
    "SYS-SERVICE-UNREACHABLE",
    "SYS-HOLD-LOST",
    "SYS-EFFECT-ORPHANED",
    "SYS-FOLDER-NOT-WRITABLE",
)

CODES: Mapping[str, bool] = dict.fromkeys(_RETRY_CANNOT_HELP, False) | dict.fromkeys(_RETRY_MAY_HELP, True)
"""Every code, and whether trying again, with nothing changed by a person, may help."""

FAMILIES = ("ORD", "FILE", "READ", "PAY", "MAIL", "BATCH", "AUDIT", "ALERT", "SYS")
CODES_BY_FAMILY: tuple[str, ...] = tuple(sorted(CODES, key=lambda code: FAMILIES.index(code.partition("-")[0])))
"""Within a family in the order in which they stand above."""

Words = Mapping[str, str]

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
    known = _Facts({**_ALWAYS_KNOWN, **facts, **_in_words(facts, language)})
    template = text(code, language)
    return Text(*(part.format_map(known) for part in (template.message, template.cause, template.remedy)))


def describe(error: BulkOrdersError, language: str) -> str:
    """One clear line: code, what is wrong, what to do."""
    filled = fill(error.code, error.facts, language)
    return f"{error.code}: {filled.message} {filled.remedy}"


def words(section: str, language: str) -> Words:
    """The words of one command or page; English ones where the language lacks them."""
    return {**_locale(FALLBACK_LANGUAGE)["words"][section], **_locale(language).get("words", {}).get(section, {})}


def column_name(name: str, language: str) -> str:
    """What people call one of our columns, with our own name for it; a name that is none of ours stays."""
    return str(_locale(language).get("columns", {}).get(name, name))


def _in_words(facts: Mapping[str, Fact], language: str) -> Mapping[str, Fact]:
    """The facts that name columns or kinds of effects, in the reader's language; stored they have our own names."""
    found: dict[str, Fact] = {}
    for fact in _NAMING_COLUMNS & facts.keys():
        names = str(facts[fact]).split(", ")
        found[fact] = words("lists", language)["between"].join(column_name(name, language) for name in names)
    for fact in _NAMING_EFFECTS & facts.keys():
        found[fact] = words("effects", language).get(str(facts[fact]), facts[fact])
    return found


_NAMING_COLUMNS, _NAMING_EFFECTS = {"column", "columns"}, {"kind", "service"}


class _Facts(dict[str, Fact]):
    def __missing__(self, key: str) -> str:
        return "?"


@cache
def _texts(language: str) -> Mapping[str, Text]:
    entries = _locale(language)
    return {
        code: Text(entry["message"], entry.get("cause", ""), entry["remedy"])
        for code, entry in entries.items()
        if code.isupper()
    }


@cache
def _locale(language: str) -> Mapping[str, Any]:
    if language not in languages():
        return {}
    return tomllib.loads((_LOCALES / f"{language}.toml").read_text(encoding="utf-8"))
