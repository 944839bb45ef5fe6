"""Everything that a look at the service levels sees, put together: database, trail, services, disk, watchers."""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, text

from domain.health import AnswerLevel, HealthLimits, Measured, WatchLevel
from domain.states import EffectKind
from orchestration.settings import Settings
from resources.database import dagster_pulse, service_levels, watchers
from resources.database.database import Database
from webhooks.address import HEALTH_PATH

_STATEMENT_SECONDS = 10
_ANSWER_SECONDS = 3.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def health_limits(settings: Settings) -> HealthLimits:
    """What is still good."""
    return HealthLimits(
        query_ms=settings.max_query_ms,
        answer_p50_ms=settings.max_answer_p50_ms,
        answer_p95_ms=settings.max_answer_p95_ms,
        payment_p95_seconds=settings.max_payment_p95_seconds,
        notification_p95_seconds=settings.max_notification_p95_seconds,
        error_percent=settings.max_error_percent,
        stuck_minutes=settings.max_stuck_minutes,
        person_hours=settings.max_person_hours,
        free_disk_bytes=settings.min_free_disk_bytes,
        anchor_hours=settings.max_anchor_hours,
        verification_hours=settings.max_verification_hours,
        backup_hours=settings.max_backup_hours,
        availability_percent=settings.min_availability_percent,
        silence_seconds=settings.max_silence_seconds,
    )


def measure(database: Database, settings: Settings, unseen_seconds: float = 0.0) -> Measured:
    """All service levels now. ``unseen_seconds``: nobody has looked for so long, and what happened then counts too.

    Raises:
        DatabaseUnavailable: the database does not answer, or not within seconds.
    """
    with database.snapshot() as tx:
        tx.execute(text("select set_config('statement_timeout', :ms, true)"), {"ms": f"{1000 * _STATEMENT_SECONDS}"})
        measured = _measured(tx, settings, unseen_seconds)
    reachable = _webhook_answers(settings) if measured.watch.silent else None
    return replace(
        measured,
        answers=replace(measured.answers, reachable=reachable),
        free_disk_bytes=_free_bytes(settings.home),
    )


def _measured(tx: Connection, settings: Settings, unseen_seconds: float) -> Measured:
    window = settings.health_window_seconds
    silent = watchers.silent(tx)
    expected = watchers.seconds_expected(tx, "dagster")
    if expected is not None:  # only then is anybody of Dagster missed, and not for what was before
        silent |= {name: min(seconds, expected) for name, seconds in dagster_pulse.daemons_silent(tx).items()}
    answers: AnswerLevel = service_levels.answers_level(tx, window)
    return Measured(
        window_seconds=window,
        database=service_levels.database_level(tx),
        services=[service_levels.service_level(tx, kind, window) for kind in EffectKind],
        answers=answers,
        backlog=replace(service_levels.backlog(tx), queued=dagster_pulse.queued_partitions(tx)),
        security=service_levels.security_events(tx, max(window, unseen_seconds)),
        trail=service_levels.trail_level(tx),
        watch=WatchLevel(silent, dagster_pulse.failing(tx), watchers.availability_percent(tx)),
        backup_age=service_levels.backup_age_seconds(tx),
    )


def _webhook_answers(settings: Settings) -> bool | None:
    """Whether our endpoint is there; None where it is off."""
    if settings.payment_webhook_secret is None:
        return None
    try:
        with _opener.open(f"http://127.0.0.1:{settings.webhook_port}{HEALTH_PATH}", timeout=_ANSWER_SECONDS):
            return True
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _free_bytes(home: Path) -> int | None:
    try:
        return shutil.disk_usage(home).free
    except OSError:
        return None
