"""``bulk-orders retention``: what is over, and what is done about it. The schedule does it every night."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime

import click

from orchestration.settings import Settings

UNFINISHED = 3


@click.group(name="retention")
def command() -> None:
    """Put away what is over: months into cold storage, later destroyed; personal data and files of old batches."""


@command.command("plan")
@click.option("--at", type=click.DateTime(["%Y-%m-%d"]), help="As if it were this day; today without it.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def plan(at: datetime | None, as_json: bool) -> None:
    """Show what is due, and what keeps it where it is. Nothing is changed."""
    from audit import retention
    from domain import catalogue
    from orchestration.bindings import batch_files
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    moment = datetime.now(UTC) if at is None else at.replace(tzinfo=UTC)
    with ExitStack() as held:
        database = connected_database(settings, held)
        files = batch_files(settings)
        steps = database.read(lambda tx: retention.plan(tx, settings.retention_rules, moment, files))
    told = [
        {"work": s.work.value, "category": s.category.value, "subject": s.subject, "kept_by": s.kept_by} for s in steps
    ]
    words = catalogue.words("retention", settings.language)
    lines = [words[s.work.value].format(subject=s.subject) + _kept(words, s.kept_by) for s in steps] or [words["none"]]
    click.echo(json.dumps(told) if as_json else "\n".join(lines))


@command.command("run")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def run(as_json: bool) -> int:
    """Do what is due now: 0 all of it, 3 not all, and the next run goes on."""
    from audit import retention
    from domain import catalogue
    from orchestration.bindings import keeping
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        done = retention.run(database, keeping(settings, datetime.now(UTC)))
    words = catalogue.words("retention", settings.language)
    told = [
        {"work": d.step.work.value, "subject": d.step.subject, "kept_by": d.step.kept_by, "failed": d.failed}
        for d in done
    ]
    lines = [
        words[d.step.work.value].format(subject=d.step.subject)
        + _kept(words, d.step.kept_by)
        + (f"   {d.failed}" if d.failed else "")
        for d in done
    ] or [words["none"]]
    click.echo(json.dumps(told) if as_json else "\n".join(lines))
    return UNFINISHED if any(d.failed for d in done) else 0


def _kept(words: Mapping[str, str], kept_by: str | None) -> str:
    return "" if kept_by is None else f"   {words['kept'].format(by=kept_by)}"
