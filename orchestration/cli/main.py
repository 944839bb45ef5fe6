"""``bulk-orders``: the group of all commands. Each is imported when it is used, so that ``--help`` stays fast.

Every command is a click command named ``command`` in the module listed here; it returns its exit code or None, and
raises ``BulkOrdersError`` for what a person should read.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from domain.errors import BulkOrdersError
from orchestration.cli import failures, guarding
from orchestration.settings import Settings
from orchestration.version import VERSION

COMMANDS = {
    "up": ("orchestration.cli.up", "Run everything on this machine until Ctrl-C."),
    "import": ("orchestration.cli.import_", "Take a file of orders through the whole pipeline."),
    "status": ("orchestration.cli.status", "Show the batches, or how far one batch is."),
    "report": ("orchestration.cli.report", "Write the result files of a batch."),
    "profile": ("orchestration.cli.profile", "Settle how the files of a client are read."),
    "redrive": ("orchestration.cli.redrive", "Try again what failed and may be tried again."),
    "review": ("orchestration.cli.review", "List what only a person can settle, and decide about it."),
    "pause": ("orchestration.cli.pause", "Pause a batch: nothing new is sent."),
    "continue": ("orchestration.cli.continue_", "Let a paused batch go on."),
    "cancel": ("orchestration.cli.cancel", "End a batch: what was never sent is cancelled."),
    "approve": ("orchestration.cli.approve", "Allow a batch above the yen limit, as a second person."),
    "access": ("orchestration.cli.access", "Show who may do what, and whether duties were kept apart."),
    "audit": ("orchestration.cli.audit", "Prove what happened: verify the trail, pack the evidence of a batch."),
    "health": ("orchestration.cli.health", "Measure the service levels and compare each with its limit."),
    "alerts": ("orchestration.cli.alerts", "Show what is not as it should be, and whether alerts arrive."),
    "watch": ("orchestration.cli.watch", "Watch the service levels and alert, beside Dagster."),
    "keys": ("orchestration.cli.keys", "Rotate the keys for personal data, and say what each is used for."),
    "erase": ("orchestration.cli.erase", "Erase one person for good, as they asked."),
    "deidentify": ("orchestration.cli.deidentify", "Write batches for test systems, with nobody in them."),
    "sample": ("orchestration.cli.sample", "Make a file of synthetic orders."),
    "sandbox": ("orchestration.cli.sandbox", "Run the payment and the notification service of the sandbox alone."),
    "webhooks": ("orchestration.cli.webhooks", "Listen to what the payment service tells us."),
    "retention": ("orchestration.cli.retention", "Put away what is over, as the schedule does every night."),
    "hold": ("orchestration.cli.hold", "Keep what must not go, whatever its age."),
    "backup": ("orchestration.cli.backup", "Back up the installation, and check a backup."),
    "restore": ("orchestration.cli.restore", "Restore a backup, and account for what was done after it."),
    "db": ("orchestration.cli.db", "Look after the database."),
}
"""Name, module and one line for ``--help``."""


class Commands(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of ``COMMANDS``."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of this command; whoever runs it is asked first whether they may."""
        if cmd_name not in COMMANDS:
            return None
        found = importlib.import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(found, click.Command)
        return guarding.guarded(found, [cmd_name])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of ``--help``, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="%(prog)s %(version)s")
def group() -> None:
    """A file of orders becomes orders, payments and mails, each exactly once.

    Exit codes: 0 everything done; 1 done, with rejected, failed or cancelled rows; 2 the file or the command line was
    refused; 3 paused or interrupted, run again to go on. Settings come from the environment:
    README.md and docs/runbook.md list them.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    keep_no_core_files()
    sys.exit(run(arguments))


def keep_no_core_files() -> None:
    """A process that crashes leaves no picture of its memory, which may hold customers' rows; nor do its children."""
    if sys.platform != "win32":
        import resource  # where there are limits of this kind

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code. Nothing but ``SystemExit`` of a command's own escapes."""
    language, home = _language_and_home()
    return failures.exit_code_of(
        lambda: group.main(arguments, prog_name="bulk-orders", standalone_mode=False), language, home
    )


def _language_and_home() -> tuple[str, Path]:
    """What is needed to report an error, also when the error is a setting."""
    try:
        settings = Settings.from_environment()
    except BulkOrdersError:
        language = os.environ.get("BULK_ORDERS_LANGUAGE") or "ja"
        return language, Path(os.environ.get("BULK_ORDERS_HOME") or ".bulk-orders")
    return settings.language, settings.home


if __name__ == "__main__":
    main()
