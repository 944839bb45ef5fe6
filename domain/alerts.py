"""What somebody is alerted to: every kind once, the check that shows it, and what an alert says.

An alert is opened when its condition is seen first, reminded of while it lasts, and recovered when it has not been seen
for a while. Its kind is a code of the catalogue; its facts are figures, ids and codes, never a customer's value. Each
kind has its section in ``docs/runbook.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.errors import Fact


class HealthCheck(StrEnum):
    """The checks of the asset ``service_health``, in the order of importance."""

    AVAILABLE = "system_was_available"
    SERVICES = "services_answer_in_time"
    BATCHES = "batches_move"
    PEOPLE = "people_keep_up"
    SECURITY = "nobody_was_turned_away"
    TRAIL = "trail_holds"
    DATABASE = "database_answers_in_time"
    DISK = "disk_has_room"
    BACKUP = "backup_is_fresh"
    WATCH = "watch_is_kept"


class AlertKind(StrEnum):
    """The value is a code of the catalogue."""

    DATABASE_GONE = "ALERT-DATABASE-GONE"  # told by the watch itself: nothing can be kept in the database then
    UNAVAILABLE = "ALERT-AVAILABILITY"
    DATABASE_SLOW = "ALERT-DATABASE-SLOW"
    SERVICE_DOWN = "ALERT-SERVICE-DOWN"  # its breaker is open
    SERVICE_SLOW = "ALERT-SERVICE-SLOW"
    ERROR_RATE = "ALERT-ERROR-RATE"
    THROTTLED = "ALERT-THROTTLED"
    BATCH_STUCK = "ALERT-BATCH-STUCK"
    BATCH_WAITS = "ALERT-BATCH-WAITS"
    REVIEW_WAITS = "ALERT-REVIEW-WAITS"
    WEBHOOK_CONTRADICTS = "ALERT-WEBHOOK-CONTRADICTS"
    WEBHOOK_FORGED = "ALERT-WEBHOOK-FORGED"
    WEBHOOK_DOWN = "ALERT-WEBHOOK-DOWN"
    WEBHOOK_SLOW = "ALERT-WEBHOOK-SLOW"
    FOREIGN_RESULT = "ALERT-FOREIGN-RESULT"
    KEY_REFUSED = "ALERT-KEY-REFUSED"
    ACCESS_REFUSED = "ALERT-ACCESS-REFUSED"
    TRAIL_BROKEN = "ALERT-TRAIL-BROKEN"
    TRAIL_UNVERIFIED = "ALERT-TRAIL-UNVERIFIED"
    ANCHOR_OLD = "ALERT-ANCHOR-OLD"
    BACKUP_OLD = "ALERT-BACKUP-OLD"
    DISK_LOW = "ALERT-DISK-LOW"
    WATCHER_SILENT = "ALERT-WATCHER-SILENT"
    SCHEDULE_FAILING = "ALERT-SCHEDULE-FAILING"
    TEST = "ALERT-TEST"  # sent by hand, to see that alerts arrive


CHECK_OF: Mapping[AlertKind, HealthCheck] = {
    AlertKind.DATABASE_GONE: HealthCheck.AVAILABLE,
    AlertKind.UNAVAILABLE: HealthCheck.AVAILABLE,
    AlertKind.DATABASE_SLOW: HealthCheck.DATABASE,
    AlertKind.SERVICE_DOWN: HealthCheck.SERVICES,
    AlertKind.SERVICE_SLOW: HealthCheck.SERVICES,
    AlertKind.ERROR_RATE: HealthCheck.SERVICES,
    AlertKind.THROTTLED: HealthCheck.SERVICES,
    AlertKind.BATCH_STUCK: HealthCheck.BATCHES,
    AlertKind.BATCH_WAITS: HealthCheck.PEOPLE,
    AlertKind.REVIEW_WAITS: HealthCheck.PEOPLE,
    AlertKind.WEBHOOK_CONTRADICTS: HealthCheck.PEOPLE,
    AlertKind.WEBHOOK_FORGED: HealthCheck.SECURITY,
    AlertKind.WEBHOOK_DOWN: HealthCheck.WATCH,
    AlertKind.WEBHOOK_SLOW: HealthCheck.SERVICES,
    AlertKind.FOREIGN_RESULT: HealthCheck.SECURITY,
    AlertKind.KEY_REFUSED: HealthCheck.SECURITY,
    AlertKind.ACCESS_REFUSED: HealthCheck.SECURITY,
    AlertKind.TRAIL_BROKEN: HealthCheck.TRAIL,
    AlertKind.TRAIL_UNVERIFIED: HealthCheck.TRAIL,
    AlertKind.ANCHOR_OLD: HealthCheck.TRAIL,
    AlertKind.BACKUP_OLD: HealthCheck.BACKUP,
    AlertKind.DISK_LOW: HealthCheck.DISK,
    AlertKind.WATCHER_SILENT: HealthCheck.WATCH,
    AlertKind.SCHEDULE_FAILING: HealthCheck.WATCH,
    AlertKind.TEST: HealthCheck.WATCH,
}

URGENT = frozenset(
    {
        AlertKind.DATABASE_GONE,
        AlertKind.SERVICE_DOWN,
        AlertKind.WEBHOOK_FORGED,
        AlertKind.WEBHOOK_CONTRADICTS,
        AlertKind.FOREIGN_RESULT,
        AlertKind.KEY_REFUSED,
        AlertKind.ACCESS_REFUSED,
        AlertKind.TRAIL_BROKEN,
        AlertKind.DISK_LOW,
    }
)
"""Somebody should look now, at night too; the others can wait for the morning."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that is not as it should be. ``about`` tells several of one kind apart: a service, a batch, a name."""

    kind: AlertKind
    about: str = "-"
    facts: Mapping[str, Fact] = field(default_factory=dict)


class Occasion(StrEnum):
    """Why a message is sent."""

    OPENED = "opened"
    REMINDER = "reminder"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """One message about one alert. ``message_id`` stays the same however often it is sent."""

    message_id: str
    occasion: Occasion
    kind: AlertKind
    about: str
    facts: Mapping[str, Fact]
    opened_at: datetime
    subject: str
    text: str
    runbook: str

    def as_json(self) -> dict[str, object]:
        """What a webhook is sent; ``text`` is what chat programs show."""
        return {
            "id": self.message_id,
            "occasion": self.occasion.value,
            "code": self.kind.value,
            "urgent": self.kind in URGENT,
            "about": self.about,
            "facts": dict(self.facts),
            "opened_at": self.opened_at.isoformat(timespec="seconds"),
            "runbook": self.runbook,
            "text": f"{self.subject}\n{self.text}",
        }
