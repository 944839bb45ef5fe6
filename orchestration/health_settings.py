"""The settings of the watch over the service levels and of alerts: a part of ``Settings``, which inherits them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from domain.errors import SettingRefused
from orchestration.setting import setting


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Every limit is what is still good (R-49)."""

    health_every_seconds: float = setting(
        "BULK_ORDERS_HEALTH_EVERY_SECONDS", 60.0, "seconds between two looks at the service levels"
    )
    health_window_seconds: float = setting(
        "BULK_ORDERS_HEALTH_WINDOW_SECONDS", 900.0, "seconds over which calls, errors and security events are counted"
    )
    health_history_seconds: float = setting(
        "BULK_ORDERS_HEALTH_HISTORY_SECONDS", 3600.0, "seconds after which the UI shows checks anew that did not change"
    )
    max_query_ms: float = setting(
        "BULK_ORDERS_MAX_QUERY_MS", 100.0, "milliseconds that typical queries of the database take on average (R-49)"
    )
    max_answer_p50_ms: float = setting(
        "BULK_ORDERS_MAX_ANSWER_P50_MS", 200.0, "milliseconds within which half of our webhook's answers come (R-49)"
    )
    max_answer_p95_ms: float = setting(
        "BULK_ORDERS_MAX_ANSWER_P95_MS", 500.0, "milliseconds within which 95 of 100 of them come (R-49)"
    )
    max_payment_p95_seconds: float = setting(
        "BULK_ORDERS_MAX_PAYMENT_P95_SECONDS", 15.0, "seconds within which 95 of 100 payment calls come back"
    )
    max_notification_p95_seconds: float = setting(
        "BULK_ORDERS_MAX_NOTIFICATION_P95_SECONDS", 5.0, "seconds within which 95 of 100 mail calls come back"
    )
    max_error_percent: float = setting(
        "BULK_ORDERS_MAX_ERROR_PERCENT", 5.0, "percent of a service's calls that may fail; a refusal is an answer"
    )
    max_stuck_minutes: float = setting(
        "BULK_ORDERS_MAX_STUCK_MINUTES", 15.0, "minutes that an unfinished batch may stand still"
    )
    max_person_hours: float = setting(
        "BULK_ORDERS_MAX_PERSON_HOURS", 4.0, "hours that a batch or a row may wait for a person"
    )
    min_free_disk_bytes: int = setting(
        "BULK_ORDERS_MIN_FREE_DISK_BYTES", 2_000_000_000, "bytes that must be free under home"
    )
    max_anchor_hours: float = setting(
        "BULK_ORDERS_MAX_ANCHOR_HOURS", 3.0, "hours since the last anchor while there is something to anchor"
    )
    max_verification_hours: float = setting(
        "BULK_ORDERS_MAX_VERIFICATION_HOURS", 48.0, "hours since the trail was last verified as a whole"
    )
    max_backup_hours: float = setting("BULK_ORDERS_MAX_BACKUP_HOURS", 26.0, "hours since the last good backup")
    min_availability_percent: float = setting(
        "BULK_ORDERS_MIN_AVAILABILITY_PERCENT", 99.9, "percent of the last 30 days that the system was there (R-49)"
    )
    max_silence_seconds: float = setting(
        "BULK_ORDERS_MAX_SILENCE_SECONDS", 300.0, "seconds without a sign of a watcher, or of the database"
    )

    alert_webhook: str | None = setting(
        "BULK_ORDERS_ALERT_WEBHOOK_URL",
        None,
        "where alerts are posted to as JSON, or a chat's address; empty: none",
    )
    alert_webhook_secret: str | None = setting(
        "BULK_ORDERS_ALERT_WEBHOOK_SECRET", None, "shared with the receiver of alerts, to sign them; empty: unsigned"
    )
    alert_smtp: str | None = setting(
        "BULK_ORDERS_ALERT_SMTP_URL", None, "mail server for alerts, smtps://user:password@host; empty: no mail"
    )
    alert_mail_to: str | None = setting(
        "BULK_ORDERS_ALERT_MAIL_TO", None, "who gets alerts by mail, addresses separated by commas"
    )
    alert_mail_from: str = setting(
        "BULK_ORDERS_ALERT_MAIL_FROM", "bulk-orders@localhost", "the sender's address of alerts by mail"
    )
    alert_reminder_hours: float = setting(
        "BULK_ORDERS_ALERT_REMINDER_HOURS", 4.0, "hours after which an alert that lasts is told again"
    )
    alert_quiet_minutes: float = setting(
        "BULK_ORDERS_ALERT_QUIET_MINUTES", 5.0, "minutes that something must be well again before an alert is over"
    )
    heartbeat: str | None = setting(
        "BULK_ORDERS_HEARTBEAT_URL", None, "posted to at each look; whoever listens there misses us when we are gone"
    )
    runbook: str = setting(
        "BULK_ORDERS_RUNBOOK_URL", "docs/runbook.md", "where the runbook can be read; alerts point into it"
    )


HEALTH_SECRETS = frozenset({"alert_webhook", "alert_webhook_secret", "alert_smtp", "alert_mail_to", "heartbeat"})
"""Not shown anywhere: a chat's address is its password, and people's addresses are their own."""

HEALTH_PERCENTAGES = frozenset({"max_error_percent", "min_availability_percent"})

_THIS_MACHINE = ("127.0.0.1", "::1", "localhost")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")


def check_addresses(settings: HealthSettings) -> None:
    """Whether alerts can leave at all: said at the start, not at the first alert.

    Raises:
        SettingRefused: an address is none, or would carry alerts in the open.
    """
    for name, variable in (("alert_webhook", "ALERT_WEBHOOK_URL"), ("heartbeat", "HEARTBEAT_URL")):
        url = getattr(settings, name)
        if url is not None and not _is_safe(url, "https", "http"):
            raise _refused(variable, "https://... (http:// on this machine only)")
    if settings.alert_smtp is not None and not _is_safe(settings.alert_smtp, "smtps", "smtp", plain_is_safe=True):
        raise _refused("ALERT_SMTP_URL", "smtps://user:password@host or smtp://host")
    if settings.alert_smtp is not None and not mail_recipients(settings):
        raise SettingRefused("SYS-SETTING-MISSING", variable="BULK_ORDERS_ALERT_MAIL_TO")
    if not all(_ADDRESS.fullmatch(address) for address in mail_recipients(settings)):
        raise _refused("ALERT_MAIL_TO", "addresses separated by commas")
    if not _ADDRESS.fullmatch(settings.alert_mail_from):
        raise _refused("ALERT_MAIL_FROM", "one address")


def mail_recipients(settings: HealthSettings) -> tuple[str, ...]:
    """The addresses that alerts are mailed to."""
    return tuple(filter(None, (address.strip() for address in (settings.alert_mail_to or "").split(","))))


def _refused(variable: str, expected: str) -> SettingRefused:
    return SettingRefused("SYS-SETTING-INVALID", variable=f"BULK_ORDERS_{variable}", expected=expected)


def _is_safe(url: str, safe: str, plain: str, *, plain_is_safe: bool = False) -> bool:
    try:
        address = urlsplit(url)
        host, _ = address.hostname, address.port
    except ValueError:
        return False
    if not host or not url.isascii() or not url.isprintable():
        return False
    return address.scheme == safe or (address.scheme == plain and (plain_is_safe or host in _THIS_MACHINE))
