"""``bulk-orders review``: rows that only a person can settle, and the person's decision about one."""

from __future__ import annotations

import json
from contextlib import ExitStack

import click

from domain.decisions import ROW_DECISIONS, Decision
from domain.roles import Duty
from domain.states import EffectKind
from orchestration.settings import Settings


class ListedByDefault(click.Group):
    """``review BATCH`` lists; ``review decide BATCH ...`` decides."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The first word is a batch unless it is a command of ours."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(name="review", cls=ListedByDefault)
def command() -> None:
    """List what is in review (review [BATCH] [--json]), or decide: review decide BATCH ..., review accept BATCH ..."""


@command.command(name="list")
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON list on standard output.")
def list_(batch: str | None, as_json: bool) -> None:
    """List the rows in review of a batch, or of all: what is known of each, and what a person can do."""
    from orchestration.bindings import make_profiles
    from orchestration.cli import review_text
    from orchestration.cli.connected import connected_database
    from resources.database import batches, reviews

    settings = Settings.from_environment()
    profiles = make_profiles(settings)
    with ExitStack() as held:
        database = connected_database(settings, held)
        with database.snapshot() as tx:
            if batch is not None:
                batches.get(tx, batch)
            rows = reviews.in_review(tx, batch)
    if as_json:
        click.echo(json.dumps([review_text.as_json(row, profiles[row.kind]) for row in rows], ensure_ascii=False))
    else:
        click.echo(review_text.as_text(rows, profiles, settings.language))


@command.command(name="decide")
@click.argument("batch")
@click.option("--row", required=True, type=click.IntRange(min=1), help="Import row number, as `review` lists it.")
@click.option("--kind", required=True, type=click.Choice([kind.value for kind in EffectKind]))
@click.option(
    "--as",
    "decision",
    required=True,
    type=click.Choice([decision.value for decision in ROW_DECISIONS]),
    help="done: it happened. send-again: it did not, try again. rejected: it did not, and is not to. "
    "accept: it resembles another order, and is one of its own.",
)
@click.option("--remote-id", metavar="X", help="The service's own number of the payment or mail, if it is done.")
@click.option("--reason", required=True, metavar="TEXT", help="How you know, in a few words; nothing about a customer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def decide(batch: str, row: int, kind: str, decision: str, remote_id: str | None, reason: str, as_json: bool) -> None:
    """Settle one row in review, after looking it up at the service. It is written into the trail who decided what.

    A running `up` goes on with the batch by itself; without one, `bulk-orders continue BATCH` does, after the last
    decision.
    """
    from orchestration import access, reviews
    from orchestration.bindings import admitted_vault, make_profiles
    from orchestration.cli import review_text
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    decided = reviews.RowDecision(row, EffectKind(kind), Decision(decision), reason, remote_id)
    with ExitStack() as held:
        database = connected_database(settings, held)
        access.load(settings).require(database, {Duty.DECIDE}, batch)
        now = reviews.decide(database, admitted_vault(settings, database), batch, decided)
    doubling = decided.decision is Decision.SEND_AGAIN and reviews.may_double(make_profiles(settings)[decided.kind])
    if doubling:
        click.echo(review_text.doubling(settings.language), err=True)
    told = {"batch_id": batch, "row": row, "kind": kind, "decision": decision, "may_double": doubling}
    if as_json:
        click.echo(json.dumps(told | {"status": now.state.value}))
    else:
        click.echo(review_text.decided(decided, batch, settings.language))


@command.command(name="accept")
@click.argument("batch")
@click.option("--row", "rows", multiple=True, type=click.IntRange(min=1), help="Import row number; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="All rows of the batch that resemble other orders.")
@click.option("--reason", required=True, metavar="TEXT", help="How you know, in a few words; nothing about a customer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def accept(batch: str, rows: tuple[int, ...], everything: bool, reason: str, as_json: bool) -> None:
    """Let orders be paid that wait because they resemble others: same customer, amount and items, few days apart.

    It is written into the trail who accepted which. A running `up` goes on with the batch by itself; without one,
    `bulk-orders continue BATCH` does.
    """
    from orchestration import access, reviews
    from orchestration.bindings import admitted_vault
    from orchestration.cli import review_text
    from orchestration.cli.connected import connected_database

    if everything == bool(rows):
        raise click.UsageError("either --row or --all")
    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        access.load(settings).require(database, {Duty.DECIDE}, batch)
        accepted = reviews.accept(database, admitted_vault(settings, database), batch, rows, reason)
    told = {"batch_id": batch, "rows": accepted, "decision": Decision.ACCEPT.value}
    click.echo(json.dumps(told) if as_json else review_text.accepted(accepted, batch, settings.language))
