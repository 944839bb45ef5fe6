"""``bulk-orders alerts``: what is open now, what was, and whether alerts arrive."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from domain import catalogue
from orchestration.settings import Settings

if TYPE_CHECKING:
    from resources.database.alerts import Alert

_NEWEST = 100
_DID_NOT_ARRIVE = 1


@click.command(name="alerts")
@click.option("--all", "everything", is_flag=True, help="The newest, also those that are over.")
@click.option("--test", "is_test", is_flag=True, help="Send a test message on every way that is configured.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def command(everything: bool, is_test: bool, as_json: bool) -> int:
    """Show the alerts that are open; with --test, send one on every way and say whether it arrived."""
    settings = Settings.from_environment()
    if is_test:
        return _test(settings)
    from orchestration.cli.connected import connected_database
    from resources.database import alerts

    with ExitStack() as held:
        database = connected_database(settings, held)
        found = database.read(lambda tx: alerts.newest(tx, _NEWEST) if everything else alerts.open_alerts(tx))
        waiting = database.read(alerts.undelivered)
    click.echo(_as_json(found, waiting) if as_json else _as_text(found, waiting, settings.language))
    return 0


def _test(settings: Settings) -> int:
    """One message on each way, past the database: 0 when all arrived."""
    from domain.alerts import AlertKind, Occasion
    from orchestration.health import messages
    from orchestration.health.watch import channels_of
    from resources.alerting.channel import NotDelivered

    words = catalogue.words("alerts", settings.language)
    now = datetime.now(UTC)
    told = messages.message(
        f"alert-test-{int(now.timestamp())}", Occasion.OPENED, AlertKind.TEST, "-", {}, now, settings
    )
    failed = 0
    for channel in channels_of(settings):
        try:
            channel.send(told)
            click.echo(words["arrived"].format(channel=channel.name))
        except NotDelivered as error:
            failed += 1
            click.echo(words["failed"].format(channel=channel.name, failure=error.failure))
    if not channels_of(settings):
        click.echo(words["nowhere"])
        return _DID_NOT_ARRIVE
    return _DID_NOT_ARRIVE if failed else 0


def _as_json(found: list[Alert], waiting: int) -> str:
    told = [
        {
            "alert": alert.alert_id,
            "code": alert.kind.value,
            "about": alert.about,
            "facts": alert.facts,
            "opened_at": alert.opened_at.isoformat(timespec="seconds"),
            "recovered_at": alert.recovered_at and alert.recovered_at.isoformat(timespec="seconds"),
        }
        for alert in found
    ]
    return json.dumps({"alerts": told, "undelivered": waiting}, ensure_ascii=False)


def _as_text(found: list[Alert], waiting: int, language: str) -> str:
    words = catalogue.words("alerts", language)
    lines = []
    for alert in found:
        said = catalogue.fill(alert.kind.value, alert.facts, language).message
        state = words["state_open" if alert.recovered_at is None else "state_over"]
        lines.append(f"{alert.opened_at.astimezone():%Y-%m-%d %H:%M}  {state}  {alert.kind.value}  {said}")
    if waiting:
        lines.append(words["undelivered"].format(count=waiting))
    return "\n".join(lines) if lines else words["none"]
