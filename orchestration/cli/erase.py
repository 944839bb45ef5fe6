"""``bulk-orders erase``: one person, by the mail address of their orders, for good.

The address comes on standard input or from a file: arguments of a process are read by anybody on the machine, and kept
by shells.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from domain import catalogue
from domain.errors import BulkOrdersError
from domain.identity import DEFAULT_CLIENT
from orchestration.settings import Settings

if TYPE_CHECKING:
    from orchestration.erasing import Found, Installed


@click.command(name="erase")
@click.option("--client", default=DEFAULT_CLIENT, show_default=True, help="Whose customer the person is.")
@click.option(
    "--person",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file whose first line is the mail address; without it, standard input.",
)
@click.option("--row", "rows", multiple=True, metavar="BATCH/ROW", help="A row of the person's besides; repeatable.")
@click.option("--confirm", is_flag=True, help="Do it. Without this, only what would happen is said.")
@click.option("--why", metavar="TEXT", help="The reason, kept with it: no name, no address; `request 26-114`.")
@click.option("--resume", is_flag=True, help="Finish what was begun, and erase again what a backup brought back.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def command(
    client: str,
    person: Path | None,
    rows: tuple[str, ...],
    confirm: bool,
    why: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Erase one person: the keys of their rows are destroyed, our files redacted, the books stay whole."""
    from orchestration import erasing

    settings = Settings.from_environment()
    words = catalogue.words("erase", settings.language)
    if confirm and why is None:
        raise BulkOrdersError("SYS-COMMAND-LINE", reason="--confirm needs --why")
    with ExitStack() as held:
        of = _installed(settings, held, resume)
        numbers = erasing.resume(of) if resume or confirm else []
        if numbers and not as_json:
            click.echo(words["resumed"].format(numbers=", ".join(map(str, numbers))))
        if resume:
            if as_json or not numbers:
                click.echo(json.dumps({"resumed": numbers}) if as_json else words["nothing"])
            return
        found = erasing.find(of, client, _address(person), [_row(row) for row in rows])
        number = None
        if why is not None and confirm:
            number = erasing.decide(of, client, found, why)
    click.echo(_as_json(found, number) if as_json else _as_text(found, number, words))


def _installed(settings: Settings, held: ExitStack, resume: bool) -> Installed:
    from orchestration.bindings import installed
    from orchestration.cli.connected import connected_database

    return installed(settings, connected_database(settings, held), to_erase_again=resume)


def _address(person: Path | None) -> str:
    try:
        text = sys.stdin.read() if person is None else person.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError):
        raise BulkOrdersError("SYS-COMMAND-LINE", reason="the file of --person cannot be read") from None
    address = text.strip().splitlines()[0].strip() if text.strip() else ""
    if "@" not in address and "＠" not in address:
        raise BulkOrdersError("SYS-COMMAND-LINE", reason="no mail address on standard input or in --person")
    return address


def _row(named: str) -> tuple[str, int]:
    batch, _, row = named.rpartition("/")
    if not batch or not row.isascii() or not row.isdecimal():
        raise BulkOrdersError("SYS-COMMAND-LINE", reason="--row is BATCH/ROW")
    return batch, int(row)


def _as_json(found: Found, number: int | None) -> str:
    told: dict[str, Any] = {
        "erasure": number,
        "rows": {batch: list(rows) for batch, rows in found.rows.items()},
        "files_to_look_at": found.files_to_look_at,
        "copies_out_of_reach": found.copies_out,
    }
    return json.dumps(told)


def _as_text(found: Found, number: int | None, words: catalogue.Words) -> str:
    counts = {"rows": found.count, "batches": len(found.rows)}
    lines = [words["found"].format(**counts)] if number is None else [words["done"].format(number=number, **counts)]
    lines += [f"  {batch}: {', '.join(map(str, rows))}" for batch, rows in found.rows.items()]
    if found.files_to_look_at:
        lines.append(words["files"].format(count=found.files_to_look_at))
    if found.copies_out:
        lines.append(words["copies"].format(count=found.copies_out))
    lines += [words["outside"], *([words["would"]] if number is None else [])]
    return "\n".join(lines)
