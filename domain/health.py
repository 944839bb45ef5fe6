"""The service levels: what is measured, what it should be, and what follows where it is not (R-49, R-52).

``judge`` is all rules, without a clock or a connection: what was measured and the limits go in, conditions come out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from domain.alerts import AlertKind, Condition
from domain.errors import Fact

LEAST_CALLS = 20
"""With fewer calls in the window, a share or a percentile says nothing."""
LEAST_THROTTLED = 5
"""A call or two that come too early are jitter of the network; the rate limit waits by itself then."""

SECURITY_EVENTS: Mapping[str, AlertKind] = {
    "webhook:refused": AlertKind.WEBHOOK_FORGED,
    "security:foreign-result": AlertKind.FOREIGN_RESULT,
    "security:key-refused": AlertKind.KEY_REFUSED,
    "access:refused": AlertKind.ACCESS_REFUSED,
}
"""Events of the system's chains, by how they begin, that somebody is alerted to."""

Facts = dict[str, Fact]

_ERRORS = ("ambiguous", "mismatch", "not_done")


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """What is still good; each is a setting of the same meaning (``orchestration/settings.py``)."""

    query_ms: float = 100.0
    answer_p50_ms: float = 200.0
    answer_p95_ms: float = 500.0
    payment_p95_seconds: float = 15.0
    notification_p95_seconds: float = 5.0
    error_percent: float = 5.0
    stuck_minutes: float = 15.0
    person_hours: float = 4.0
    free_disk_bytes: int = 2_000_000_000
    anchor_hours: float = 3.0
    verification_hours: float = 48.0
    backup_hours: float = 26.0
    availability_percent: float = 99.9
    silence_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class DatabaseLevel:
    """Milliseconds of typical queries by name; connections in use and allowed; mean work of a transaction."""

    query_ms: Mapping[str, float] = field(default_factory=dict)
    connections: int = 0
    max_connections: int = 1
    transaction_ms: float = 0.0
    size_bytes: int = 0

    @property
    def mean_ms(self) -> float:
        """The mean of the typical queries."""
        return sum(self.query_ms.values()) / len(self.query_ms) if self.query_ms else 0.0


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """Calls to one service within the window: percentiles of all that came back, and what they came to by class.

    ``throttled``: answered that we call too often; ``queue_seconds``: how far ahead its rate limit is taken.
    """

    service: str
    calls: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    by_outcome: Mapping[str, int] = field(default_factory=dict)
    throttled: int = 0
    queue_seconds: float = 0.0
    open_seconds: float | None = None  # for so long its breaker has been open; None: it is closed
    reason: str = "-"

    @property
    def errors(self) -> int:
        """Calls that did not lead to an answer about the effect; a refusal is an answer, being throttled no error."""
        return max(0, sum(self.by_outcome.get(name, 0) for name in _ERRORS) - self.throttled)

    @property
    def error_percent(self) -> float:
        """Of all calls in the window."""
        return 100 * self.errors / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class AnswerLevel:
    """How long our own endpoint, the webhook, took to answer. ``reachable`` None: it is off."""

    answers: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    reachable: bool | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is not finished. Seconds of batches by their id: without progress, waiting for a person.

    ``open_at``: by service, the batches that have something to be done there. ``queued``: those whose next run waits
    for its turn. ``since_last_end``: seconds since any batch came to its end; None: none ever did.
    """

    batches: Mapping[str, int] = field(default_factory=dict)
    payments: Mapping[str, int] = field(default_factory=dict)
    notifications: Mapping[str, int] = field(default_factory=dict)
    oldest_open_seconds: float = 0.0
    oldest_review_seconds: float = 0.0
    still: Mapping[str, float] = field(default_factory=dict)
    waiting: Mapping[str, float] = field(default_factory=dict)
    open_at: Mapping[str, Collection[str]] = field(default_factory=dict)
    queued: Collection[str] = ()
    since_last_end: float | None = None
    webhook_alarms: int = 0

    @property
    def in_review(self) -> int:
        """Payments and mails that only a person can settle."""
        return self.payments.get("review", 0) + self.notifications.get("review", 0)

    @property
    def in_doubt(self) -> int:
        """Payments and mails that may or may not have happened."""
        return self.payments.get("unknown", 0) + self.notifications.get("unknown", 0)


@dataclass(frozen=True, slots=True)
class TrailLevel:
    """Ages in seconds; None: never. ``faults`` of the last verification, ``guards_off`` as of now."""

    anchor_age: float | None = None
    moved_since_anchor: bool = False
    verified_age: float | None = None
    first_event_age: float | None = None
    faults: int = 0
    first_fault: str = "-"
    guards_off: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WatchLevel:
    """``silent``: seconds since each expected watcher was seen; ``failing``: ticks in a row that failed, by name."""

    silent: Mapping[str, float] = field(default_factory=dict)
    failing: Mapping[str, int] = field(default_factory=dict)
    availability_percent: float | None = None  # of the last 30 days; None: not watched for a day yet


@dataclass(frozen=True, slots=True)
class Measured:
    """All service levels of one moment. ``backup_age`` in seconds; None where this installation keeps no backups."""

    window_seconds: float
    database: DatabaseLevel = field(default_factory=DatabaseLevel)
    services: Sequence[ServiceLevel] = ()
    answers: AnswerLevel = field(default_factory=AnswerLevel)
    backlog: Backlog = field(default_factory=Backlog)
    security: Mapping[str, int] = field(default_factory=dict)  # how many, by the names of SECURITY_EVENTS
    trail: TrailLevel = field(default_factory=TrailLevel)
    watch: WatchLevel = field(default_factory=WatchLevel)
    free_disk_bytes: int | None = None
    backup_age: float | None = None


def judge(measured: Measured, limits: HealthLimits) -> list[Condition]:
    """Everything that is not as it should be."""
    rules = (_database, _services, _answers, _batches, _people, _security, _trail, _surroundings, _watch)
    return [condition for rule in rules for condition in rule(measured, limits)]


def _database(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    mean = measured.database.mean_ms
    if mean > limits.query_ms:
        yield Condition(AlertKind.DATABASE_SLOW, facts={"mean_ms": round(mean), "limit_ms": round(limits.query_ms)})


def _services(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    minutes = round(measured.window_seconds / 60)
    p95_limits = {"payments": limits.payment_p95_seconds, "notifications": limits.notification_p95_seconds}
    for level in measured.services:
        service = level.service
        # Where nothing waits for it nobody asks it either, and it may have been back for long.
        if level.open_seconds is not None and measured.backlog.open_at.get(service):
            down: Facts = {"service": service, "reason": level.reason}
            yield Condition(AlertKind.SERVICE_DOWN, service, down | {"minutes": round(level.open_seconds / 60)})
        if level.throttled >= LEAST_THROTTLED:
            throttled: Facts = {"service": service, "calls": level.throttled, "minutes": minutes}
            yield Condition(AlertKind.THROTTLED, service, throttled)
        if level.calls < LEAST_CALLS:
            continue
        limit = p95_limits[service]
        if level.p95_ms > 1000 * limit:
            slow: Facts = {"service": service, "p95": round(level.p95_ms / 1000, 1)}
            yield Condition(AlertKind.SERVICE_SLOW, service, slow | {"limit": limit, "minutes": minutes})
        if level.error_percent > limits.error_percent:
            rate: Facts = {"service": service, "percent": round(level.error_percent, 1)}
            rate |= {"errors": level.errors, "calls": level.calls, "limit": limits.error_percent, "minutes": minutes}
            yield Condition(AlertKind.ERROR_RATE, service, rate)


def _answers(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    level = measured.answers
    if level.reachable is False:
        yield Condition(AlertKind.WEBHOOK_DOWN)
    if level.answers >= LEAST_CALLS and (level.p50_ms > limits.answer_p50_ms or level.p95_ms > limits.answer_p95_ms):
        yield Condition(AlertKind.WEBHOOK_SLOW, facts={"p50": round(level.p50_ms), "p95": round(level.p95_ms)})


def _batches(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    """No news are batches that wait for a service known to be out of order, or for their turn while others move."""
    backlog, longest = measured.backlog, 60 * limits.stuck_minutes
    down = [level.service for level in measured.services if level.open_seconds is not None]
    no_news = {batch for service in down for batch in backlog.open_at.get(service, ())}
    if _queue_moves(backlog, longest):
        no_news.update(backlog.queued)
    for batch, seconds in backlog.still.items():
        if seconds > longest and batch not in no_news:
            yield Condition(AlertKind.BATCH_STUCK, batch, {"batch": batch, "minutes": round(seconds / 60)})


def _queue_moves(backlog: Backlog, longest: float) -> bool:
    """Whether a batch that has its turn got somewhere lately."""
    moved = [seconds for batch, seconds in backlog.still.items() if batch not in backlog.queued]
    if backlog.since_last_end is not None:
        moved.append(backlog.since_last_end)
    return min(moved, default=longest + 1) <= longest


def _people(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    backlog, most = measured.backlog, 3600 * limits.person_hours
    for batch, seconds in backlog.waiting.items():
        if seconds > most:
            yield Condition(AlertKind.BATCH_WAITS, batch, {"batch": batch, "hours": round(seconds / 3600)})
    if backlog.oldest_review_seconds > most:
        hours = round(backlog.oldest_review_seconds / 3600)
        yield Condition(AlertKind.REVIEW_WAITS, facts={"rows": backlog.in_review, "hours": hours})
    if backlog.webhook_alarms:
        yield Condition(AlertKind.WEBHOOK_CONTRADICTS, facts={"events": backlog.webhook_alarms})


def _security(measured: Measured, _: HealthLimits) -> Iterator[Condition]:
    for name, kind in SECURITY_EVENTS.items():
        if count := measured.security.get(name, 0):
            yield Condition(kind, facts={"count": count})


def _trail(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    level = measured.trail
    if level.faults or level.guards_off:
        first = level.first_fault if level.faults else "AUDIT-GUARD-OFF"
        facts: Facts = {"faults": level.faults + len(level.guards_off), "first": first}
        yield Condition(AlertKind.TRAIL_BROKEN, facts=facts)
    if _is_older(level.verified_age, level.first_event_age, limits.verification_hours):
        yield Condition(AlertKind.TRAIL_UNVERIFIED, facts={"hours": round(limits.verification_hours)})
    if level.moved_since_anchor and _is_older(level.anchor_age, level.first_event_age, limits.anchor_hours):
        yield Condition(AlertKind.ANCHOR_OLD, facts={"hours": round(limits.anchor_hours)})


def _is_older(age: float | None, since_first: float | None, hours: float) -> bool:
    """Whether something is older than that; what never happened is as old as the first event."""
    known = since_first if age is None else age
    return known is not None and known > 3600 * hours


def _surroundings(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    free = measured.free_disk_bytes
    if free is not None and free < limits.free_disk_bytes:
        megabytes = {"free_mb": free // 1_000_000, "limit_mb": limits.free_disk_bytes // 1_000_000}
        yield Condition(AlertKind.DISK_LOW, facts=megabytes)
    if measured.backup_age is not None and measured.backup_age > 3600 * limits.backup_hours:
        hours = {"hours": round(measured.backup_age / 3600), "limit": round(limits.backup_hours)}
        yield Condition(AlertKind.BACKUP_OLD, facts=hours)


def _watch(measured: Measured, limits: HealthLimits) -> Iterator[Condition]:
    watch = measured.watch
    for name, seconds in watch.silent.items():
        if seconds > limits.silence_seconds:
            facts: Facts = {"watcher": name, "minutes": round(seconds / 60)}
            yield Condition(AlertKind.WATCHER_SILENT, name, facts)
    for name, ticks in watch.failing.items():
        yield Condition(AlertKind.SCHEDULE_FAILING, name, {"name": name, "ticks": ticks})
    percent = watch.availability_percent
    if percent is not None and percent < limits.availability_percent:
        share = {"percent": round(percent, 3), "limit": limits.availability_percent}
        yield Condition(AlertKind.UNAVAILABLE, facts=share)
