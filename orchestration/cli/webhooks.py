"""``bulk-orders webhooks``: the endpoint that the payment service tells of payments, and its alarms.

Without a further word it listens, alone, until Ctrl-C. ``alarms`` lists events that contradict what we know and that
nobody has looked into; ``acknowledge`` records what a person found.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import ExitStack

import click

from domain import catalogue
from domain.errors import SettingRefused
from domain.payment_events import Finding
from orchestration import local_services
from orchestration.bindings import admitted_vault
from orchestration.cli.connected import connected_database
from orchestration.settings import Settings
from orchestration.version import code_version
from resources.database import webhook_alarms
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.webhook_alarms import Alarm
from webhooks.address import Address
from webhooks.inbox import Inbox
from webhooks.server import Limits, serve
from webhooks.signature import Secrets

ACTOR = "service:payments-webhook"


@click.group(name="webhooks", invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0: any free one. Default: the setting's.")
@click.pass_context
def command(context: click.Context, host: str, port: int | None) -> None:
    """Listen to what the payment service tells us of payments, until Ctrl-C. Needs PAYMENT_WEBHOOK_SECRET."""
    if context.invoked_subcommand is not None:
        return
    settings = Settings.from_environment()
    address = Address(host, settings.webhook_port if port is None else port)
    secrets = accepted_secrets(settings)
    with ExitStack() as held:
        asyncio.run(_run(address, secrets, _open_inbox(settings, held)))


@command.command("alarms")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def alarms(as_json: bool) -> int:
    """List events that contradict what we know and that nobody has looked into: 0 there are none, 1 there are."""
    settings = Settings.from_environment()
    with ExitStack() as held:
        found = connected_database(settings, held).read(webhook_alarms.waiting)
    words = catalogue.words("webhook_alarms", settings.language)
    if as_json:
        click.echo(json.dumps([alarm.as_json() for alarm in found], ensure_ascii=False))
    else:
        click.echo("\n".join([*(_line(alarm, words) for alarm in found), words["how"]]) if found else words["none"])
    return 1 if found else 0


@command.command("acknowledge")
@click.argument("event_id", metavar="EVENT")
@click.argument("finding", type=click.Choice([finding.value for finding in Finding]), metavar="FINDING")
def acknowledge(event_id: str, finding: str) -> None:
    """Record what a person found about an alarm; EVENT: its id.

    FINDING: settled-at-service (they were wrong, and have put it right), our-record-is-right (nothing is to be done) or
    not-ours (it is about no order of ours).
    """
    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        database.run(lambda tx: webhook_alarms.acknowledge(tx, event_id, Finding(finding)))
    words = catalogue.words("webhook_alarms", settings.language)
    click.echo(words["done"].format(event=event_id, finding=finding))


def _line(alarm: Alarm, words: catalogue.Words) -> str:
    return words["line"].format(
        event=alarm.event_id,
        at=f"{alarm.judged_at.astimezone():%Y-%m-%d %H:%M}",
        batch=alarm.batch_id or "-",
        order=alarm.order_id,
        payment=alarm.payment_id,
        jpy=alarm.amount_jpy,
        reason=alarm.reason,
    )


def accepted_secrets(settings: Settings) -> Secrets:
    """The secret in use and, while it is being exchanged, the one before.

    Raises:
        SettingRefused: there is none, and so the webhook is off.
    """
    if settings.payment_webhook_secret is None:
        raise SettingRefused("SYS-WEBHOOK-OFF")
    given = (settings.payment_webhook_secret, settings.payment_webhook_secret_before)
    return Secrets(tuple(secret.encode() for secret in given if secret is not None))


def _open_inbox(settings: Settings, held: ExitStack) -> Inbox:
    url = local_services.prepared_database(settings, held)
    database = Database(url, Actor(ACTOR, "", code_version()))
    held.callback(database.dispose)
    return Inbox(database, admitted_vault(settings, database))


async def _run(address: Address, secrets: Secrets, inbox: Inbox) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(address, secrets, inbox, Limits(), lambda url: click.echo(f"Webhook {url}"), stop)
