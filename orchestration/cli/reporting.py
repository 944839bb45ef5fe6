"""How commands tell what they start, beside what they answer."""

from __future__ import annotations

from collections.abc import Callable

import click


def reporter(*, quiet: bool = False) -> Callable[[str], None]:
    """Tells a line on standard error; ``quiet``: nothing, for a program reads the command."""

    def told(line: str) -> None:
        if not quiet:
            click.echo(f"... {line}", err=True)

    return told
