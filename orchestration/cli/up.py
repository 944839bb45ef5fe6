"""``bulk-orders up``: everything on this machine until Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.cells import cell_len

from domain import catalogue
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.stack import Addresses


@click.command(name="up")
def command() -> None:
    """Run everything on this machine until Ctrl-C: database, sandbox services, Dagster, the watched import folder."""
    from orchestration.stack import Stack

    settings = Settings.from_environment()
    sandbox = settings.payment_service_url is None

    def ready(addresses: Addresses) -> None:
        click.echo(as_text(addresses, settings.language, sandbox=sandbox))

    Stack(settings, lambda line: click.echo(f"... {line}")).run(ready)


def as_text(addresses: Addresses, language: str, *, sandbox: bool) -> str:
    """Where everything is found, in columns: names, addresses, and a remark on some."""
    words = catalogue.words("up", language)
    remark = words["sandbox"] if sandbox else ""
    found = [
        ("ui", addresses.ui_url, ""),
        ("import_folder", f"{addresses.import_dir}/<client>/", words["copy_here"]),
        ("payments", addresses.payment_service_url, remark),
        ("mails", addresses.notification_service_url, remark),
        ("webhook", addresses.webhook_url, ""),
        ("audit_ui", addresses.audit_ui_url, ""),
    ]
    width = max(cell_len(words[name]) for name, address, _ in found if address)
    lines = [
        f"  {words[name]}{' ' * (width - cell_len(words[name]))}  {address}  {more}".rstrip()
        for name, address, more in found
        if address
    ]
    return "\n".join(["", words["ready"], *lines, ""])
