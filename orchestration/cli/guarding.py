"""Every command asks before it does anything whether its person may (``orchestration/access.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import wraps
from typing import Any

import click

from domain.errors import BulkOrdersError, OperationRefused


def guarded(command: click.Command, words: Sequence[str]) -> click.Command:
    """The command, and all below it, with the question before it; asked for twice, it is asked once."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            guarded(below, [*words, name])
    if acts(command) and not hasattr(command.callback, "__guarded__"):
        command.callback = _asking_first(command.callback, tuple(words))
    return command


def acts(command: click.Command) -> bool:
    """Whether it does something by itself: a group does so only when it may stand without a further word."""
    return command.callback is not None and (not isinstance(command, click.Group) or command.invoke_without_command)


def _asking_first(act: Any, words: Sequence[str]) -> Any:
    @wraps(act)
    def asked(*arguments: Any, **options: Any) -> Any:
        if click.get_current_context().invoked_subcommand is None:  # else it asks for itself
            refuse_those_who_may_not(words)
        return act(*arguments, **options)

    asked.__guarded__ = True  # type: ignore[attr-defined]  # a mark of ours
    return asked


def refuse_those_who_may_not(words: Sequence[str]) -> None:
    """Nothing, or the refusal; the attempt is noted in the trail where that can be reached.

    Raises:
        OperationRefused: the account of this process has not the role.
        SettingRefused: the file of roles cannot be used.
    """
    from orchestration import access
    from orchestration.account import account_name
    from orchestration.cli.connected import connected_database
    from orchestration.settings import Settings

    duties = access.command_duties(words)
    if not duties:
        return
    settings = Settings.from_environment()
    try:
        access.load(settings).roles.require(f"cli:{account_name()}", duties)
    except OperationRefused as refused:
        with suppress(BulkOrdersError), ExitStack() as held:
            access.note_refusal(connected_database(settings, held), duties, refused)
        raise
