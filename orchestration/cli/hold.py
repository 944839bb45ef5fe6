"""``bulk-orders hold``: what must not go, whatever its age."""

from __future__ import annotations

import json
from contextlib import ExitStack

import click

from orchestration.settings import Settings


@click.group(name="hold")
def command() -> None:
    """Keep a batch, all of a client, or a whole category where it is, until somebody lifts the hold."""


@command.command("set")
@click.option("--batch", help="One batch.")
@click.option("--client", help="All batches of a client.")
@click.option("--category", type=click.Choice(["trail", "attempts", "personal", "files"]), help="A whole category.")
@click.option("--note", required=True, help="Why, in a few words; no names of customers.")
def set_(batch: str | None, client: str | None, category: str | None, note: str) -> None:
    """Set a hold; one that is in force already stays as it is."""
    from domain import catalogue
    from domain.decisions import checked_note
    from domain.errors import OperationRefused
    from domain.identity import client_slug
    from orchestration.cli.connected import connected_database
    from resources.database import batches, retention

    named = [(scope, name) for scope, name in (("batch", batch), ("client", client), ("category", category)) if name]
    if len(named) != 1:
        raise OperationRefused("SYS-HOLD-SUBJECT")
    [(scope, subject)] = named
    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        with database.begin() as tx:
            if scope == "batch":
                batches.get(tx, subject)
            number = retention.set_hold(
                tx, scope, client_slug(subject) if scope == "client" else subject, checked_note(note)
            )
    click.echo(catalogue.words("hold", settings.language)["set"].format(hold=number, subject=subject))


@command.command("lift")
@click.argument("hold", type=int)
def lift(hold: int) -> None:
    """Lift a hold by its number."""
    from domain import catalogue
    from orchestration.cli.connected import connected_database
    from resources.database import retention

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        database.run(lambda tx: retention.lift_hold(tx, hold, database.actor.name))
    click.echo(catalogue.words("hold", settings.language)["lifted"].format(hold=hold))


@command.command("list")
@click.option("--all", "lifted", is_flag=True, help="Those that were lifted too.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def list_(lifted: bool, as_json: bool) -> None:
    """List the holds in force."""
    from domain import catalogue
    from orchestration.cli.connected import connected_database
    from resources.database import retention

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        found = database.read(lambda tx: retention.holds(tx, lifted=lifted))
    told = [
        {"hold": h.hold_id, "scope": h.scope, "subject": h.subject, "set_by": h.set_by, "lifted_by": h.lifted_by}
        for h in found
    ]
    lines = [f"{h.hold_id:>6}  {h.scope:<8}  {h.subject}  {h.set_at:%Y-%m-%d}  {h.set_by}" for h in found]
    click.echo(
        json.dumps(told) if as_json else "\n".join(lines or [catalogue.words("hold", settings.language)["none"]])
    )
