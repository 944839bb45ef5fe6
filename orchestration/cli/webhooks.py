"""``bulk-orders webhooks``: the endpoint that the payment service tells of payments, alone, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack

import click

from domain.errors import SettingRefused
from orchestration import local_services
from orchestration.settings import Settings
from orchestration.version import code_version
from resources.database import keys, migrate
from resources.database.connection import Actor
from resources.database.database import Database
from webhooks.address import Address
from webhooks.inbox import Inbox
from webhooks.server import Limits, serve
from webhooks.signature import Secrets

ACTOR = "service:payments-webhook"


@click.command(name="webhooks")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0: any free one. Default: the setting's.")
def command(host: str, port: int | None) -> None:
    """Listen to what the payment service tells us of payments, until Ctrl-C. Needs PAYMENT_WEBHOOK_SECRET."""
    settings = Settings.from_environment()
    address = Address(host, settings.webhook_port if port is None else port)
    secrets = accepted_secrets(settings)
    with ExitStack() as held:
        asyncio.run(_run(address, secrets, _open_inbox(settings, held)))


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
    url = local_services.database(settings, held)
    migrate.upgrade(url)
    database = Database(url, Actor(ACTOR, "", code_version()))
    held.callback(database.dispose)
    return Inbox(database, keys.admitted_vault(database, settings.encryption_key, settings.home))


async def _run(address: Address, secrets: Secrets, inbox: Inbox) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(address, secrets, inbox, Limits(), lambda url: click.echo(f"Webhook {url}"), stop)
