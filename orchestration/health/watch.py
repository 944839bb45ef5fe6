"""One look: measure, judge, keep the alerts, and send what is to be told. Any number of watchers may look.

Whoever looks first at a time makes the round; the other is only noted to be there. A watcher that is killed loses
nothing: alerts and messages are rows, and the other watcher, or the next one, goes on with them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from domain.alerts import Condition
from domain.errors import BulkOrdersError
from domain.health import Measured, judge
from orchestration.health import messages
from orchestration.health.measuring import health_limits, measure
from orchestration.health_settings import mail_recipients
from orchestration.settings import Settings
from resources.alerting.channel import Channel, NotDelivered, PartlyDelivered
from resources.alerting.mail import AlertMail
from resources.alerting.webhook import AlertWebhook, post
from resources.database import alerts, watchers
from resources.database.alerts import Delivery, Reconciled
from resources.database.database import Database

_SEND_SECONDS = 25.0  # of one look; a tick of a sensor has sixty
_MOST_MESSAGES = 50


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. ``sent`` and ``not_sent`` are messages."""

    measured: Measured
    conditions: Sequence[Condition]
    alerts: Reconciled
    sent: int
    not_sent: int


def channels_of(settings: Settings) -> list[Channel]:
    """The ways for alerts that are configured."""
    found: list[Channel] = []
    if settings.alert_webhook is not None:
        found.append(AlertWebhook(settings.alert_webhook, settings.alert_webhook_secret))
    if settings.alert_smtp is not None:
        found.append(AlertMail(settings.alert_smtp, settings.alert_mail_from, mail_recipients(settings)))
    return found


def look(database: Database, settings: Settings, watcher: str) -> Look | None:
    """Make a round when one is due; None when another watcher has just made it.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    with database.begin() as tx:
        unseen = watchers.seconds_since_round(tx) or 0.0
        if not watchers.begin_round(tx, watcher, settings.health_every_seconds):
            return None
    measured = measure(database, settings, unseen)
    conditions = judge(measured, health_limits(settings))
    channels = channels_of(settings)
    with database.begin() as tx:
        kept = alerts.reconcile(
            tx,
            conditions,
            [channel.name for channel in channels],
            quiet_seconds=60 * settings.alert_quiet_minutes,
            reminder_hours=settings.alert_reminder_hours,
        )
    sent, not_sent = deliver(database, settings, channels)
    beat(settings)
    return Look(measured, conditions, kept, sent, not_sent)


def deliver(database: Database, settings: Settings, channels: Sequence[Channel]) -> tuple[int, int]:
    """Send what is due, for some seconds at most; how many messages arrived, and how many did not."""
    by_name = {channel.name: channel for channel in channels}
    sent, not_sent, deadline = 0, 0, time.monotonic() + _SEND_SECONDS
    while by_name and sent + not_sent < _MOST_MESSAGES and time.monotonic() < deadline:
        with database.begin() as tx:
            claimed = alerts.claim(tx, by_name)
        if claimed is None:
            break
        if _delivered(database, settings, by_name[claimed.channel], claimed):
            sent += 1
        else:
            not_sent += 1
            del by_name[claimed.channel]  # the others on it wait for the next look
    return sent, not_sent


def _delivered(database: Database, settings: Settings, channel: Channel, claimed: Delivery) -> bool:
    partly: str | None = None
    try:
        channel.send(messages.of_delivery(claimed, settings))
    except PartlyDelivered as error:
        partly = error.failure
    except NotDelivered as error:
        failure = error.failure
        database.run(lambda tx: alerts.not_sent(tx, claimed, failure))
        return False
    database.run(lambda tx: alerts.sent(tx, claimed, partly))
    return True


def beat(settings: Settings) -> None:
    """Tell whoever waits for it that we are there; that it cannot be told is for them to notice."""
    if settings.heartbeat is not None:
        with suppress(NotDelivered):
            post(settings.heartbeat, b"", {"Content-Type": "text/plain"}, timeout_seconds=5.0)


def stop_in_order(database: Database) -> None:
    """Everything is being stopped by somebody's will: nobody is missed until the next start."""
    with suppress(BulkOrdersError), database.begin() as tx:
        watchers.stopped(tx)
