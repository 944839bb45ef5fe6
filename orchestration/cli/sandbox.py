"""``bulk-orders sandbox``: the two services alone, with the sandbox's own arguments."""

from __future__ import annotations

import click

from sandbox import arguments


@click.command(
    name="sandbox",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(words: tuple[str, ...]) -> int:
    """Run the payment and the notification service of the sandbox alone; ``--help`` lists its arguments."""
    return arguments.main(list(words))
