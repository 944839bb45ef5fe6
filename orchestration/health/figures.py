"""The figures behind each check, by the names under which people find them. What is not known is not shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from domain.alerts import HealthCheck
from domain.health import HealthLimits, Measured, ServiceLevel

Figures = dict[str, int | float | str]


def of_check(check: HealthCheck, measured: Measured, limits: HealthLimits) -> Figures:
    """What one check compares, its limit among it."""
    return _OF[check](measured, limits)


def _available(measured: Measured, limits: HealthLimits) -> Figures:
    known = _known({"percent_of_30_days": measured.watch.availability_percent}, 3)
    return {**known, "limit_percent": limits.availability_percent}


def _services(measured: Measured, limits: HealthLimits) -> Figures:
    figures: Figures = {}
    for level in measured.services:
        figures |= _service(level)
    figures |= {
        "payments_p95_limit_ms": round(1000 * limits.payment_p95_seconds),
        "notifications_p95_limit_ms": round(1000 * limits.notification_p95_seconds),
        "error_limit_percent": limits.error_percent,
    }
    answers = measured.answers
    if answers.answers:
        figures |= {
            "webhook_answers": answers.answers,
            "webhook_p50_ms_up_to": round(answers.p50_ms),
            "webhook_p95_ms_up_to": round(answers.p95_ms),
        }
    return figures


def _service(level: ServiceLevel) -> Figures:
    name = level.service
    figures: Figures = {
        f"{name}_calls": level.calls,
        f"{name}_p50_ms": round(level.p50_ms),
        f"{name}_p95_ms": round(level.p95_ms),
        f"{name}_p99_ms": round(level.p99_ms),
        f"{name}_error_percent": round(level.error_percent, 2),
        f"{name}_throttled": level.throttled,
        f"{name}_rate_limit_taken_seconds": round(level.queue_seconds, 1),
        f"{name}_breaker": "closed" if level.open_seconds is None else "open",
    }
    return figures | {f"{name}_{outcome}": count for outcome, count in sorted(level.by_outcome.items())}


def _batches(measured: Measured, limits: HealthLimits) -> Figures:
    backlog = measured.backlog
    figures: Figures = {f"batches_{state}": count for state, count in sorted(backlog.batches.items())}
    figures |= {f"payments_{state}": count for state, count in sorted(backlog.payments.items())}
    figures |= {f"mails_{state}": count for state, count in sorted(backlog.notifications.items())}
    return figures | {
        "oldest_open_effect_minutes": round(backlog.oldest_open_seconds / 60),
        "longest_standstill_minutes": round(max(backlog.still.values(), default=0.0) / 60),
        "limit_minutes": limits.stuck_minutes,
    }


def _people(measured: Measured, limits: HealthLimits) -> Figures:
    backlog = measured.backlog
    return {
        "batches_waiting_for_a_person": len(backlog.waiting),
        "rows_in_review": backlog.in_review,
        "rows_in_doubt": backlog.in_doubt,
        "oldest_review_hours": round(backlog.oldest_review_seconds / 3600, 1),
        "webhook_alarms": backlog.webhook_alarms,
        "limit_hours": limits.person_hours,
    }


def _security(measured: Measured, _: HealthLimits) -> Figures:
    return {
        "webhooks_refused": measured.security.get("webhook:refused", 0),
        "foreign_results": measured.security.get("security:foreign-result", 0),
        "keys_refused": measured.security.get("security:key-refused", 0),
        "access_refused": measured.security.get("access:refused", 0),
        "window_minutes": round(measured.window_seconds / 60),
    }


def _trail(measured: Measured, limits: HealthLimits) -> Figures:
    trail = measured.trail
    ages = {"hours_since_anchor": _hours(trail.anchor_age), "hours_since_verification": _hours(trail.verified_age)}
    limit = {"anchor_limit_hours": limits.anchor_hours, "verification_limit_hours": limits.verification_hours}
    return {**_known(ages, 1), **limit, "faults": trail.faults, "guards_off": len(trail.guards_off)}


def _database(measured: Measured, limits: HealthLimits) -> Figures:
    level = measured.database
    return {
        "mean_ms": round(level.mean_ms, 1),
        "limit_ms": limits.query_ms,
        **{f"{name}_ms": round(ms, 1) for name, ms in level.query_ms.items()},
        "mean_work_of_a_transaction_ms": round(level.transaction_ms, 2),
        "connections": level.connections,
        "connections_allowed": level.max_connections,
        "size_mb": level.size_bytes // 1_000_000,
    }


def _disk(measured: Measured, limits: HealthLimits) -> Figures:
    free = measured.free_disk_bytes
    return {**_known({"free_gb": None if free is None else free / 1e9}, 1), "limit_gb": limits.free_disk_bytes / 1e9}


def _backup(measured: Measured, limits: HealthLimits) -> Figures:
    if measured.backup_age is None:
        return {"backups_made_here": "none", "limit_hours": limits.backup_hours}
    return {"hours_since_backup": round(measured.backup_age / 3600, 1), "limit_hours": limits.backup_hours}


def _watch(measured: Measured, _: HealthLimits) -> Figures:
    watch = measured.watch
    seen: Figures = {f"{name}_seen_seconds_ago": round(seconds) for name, seconds in sorted(watch.silent.items())}
    return {**seen, "failing_schedules_and_sensors": len(watch.failing)}


_OF: Mapping[HealthCheck, Callable[[Measured, HealthLimits], Figures]] = {
    HealthCheck.AVAILABLE: _available,
    HealthCheck.SERVICES: _services,
    HealthCheck.BATCHES: _batches,
    HealthCheck.PEOPLE: _people,
    HealthCheck.SECURITY: _security,
    HealthCheck.TRAIL: _trail,
    HealthCheck.DATABASE: _database,
    HealthCheck.DISK: _disk,
    HealthCheck.BACKUP: _backup,
    HealthCheck.WATCH: _watch,
}


def _known(figures: Mapping[str, float | None], digits: int) -> Figures:
    return {name: round(figure, digits) for name, figure in figures.items() if figure is not None}


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600
