"""``bulk-orders up``: everything on this machine until Ctrl-C."""

from __future__ import annotations

import click

from orchestration.settings import Settings


@click.command(name="up")
def command() -> None:
    """Run everything on this machine until Ctrl-C: database, sandbox services, Dagster, the watched import folder."""
    from orchestration.stack import Addresses, Stack

    def ready(addresses: Addresses) -> None:
        webhook = f"  Webhook         {addresses.webhook_url}\n" if addresses.webhook_url else ""
        audit_ui = f"  UI to read only {addresses.audit_ui_url}\n" if addresses.audit_ui_url else ""
        click.echo(f"""
Ready. Ctrl-C stops everything.
  Dagster UI      {addresses.ui_url}
  Import folder   {addresses.import_dir}/<client>/   (copy a CSV or Excel file there)
  Payments        {addresses.payment_service_url}
  Mails           {addresses.notification_service_url}
{webhook}{audit_ui}""")

    Stack(Settings.from_environment(), lambda line: click.echo(f"... {line}")).run(ready)
