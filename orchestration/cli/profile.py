"""``bulk-orders profile``: what is settled about the files of a client, drafted from a file and checked."""

from __future__ import annotations

from pathlib import Path

import click

from domain.client_profile import ENCODINGS
from domain.identity import DEFAULT_CLIENT, client_slug
from orchestration.settings import Settings
from resources.client_profiles import load_profile


@click.group("profile")
def command() -> None:
    """Settle how the files of a client are read: one YAML file per client in the folder of profiles."""


@command.command("suggest")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--client", default=DEFAULT_CLIENT, metavar="NAME", help="Whose file this is.")
@click.option("--encoding", type=click.Choice(ENCODINGS), help="Where it cannot be told.")
@click.option("--sheet", metavar="NAME", help="Where several sheets may be the orders.")
@click.option("--header-row", type=click.IntRange(min=1), help="Row of the column names, from 1.")
def suggest(file: Path, client: str, encoding: str | None, sheet: str | None, header_row: int | None) -> None:
    """Draft a profile from a file of orders, on standard output. Nothing is written."""
    from assets.validated_csv.reading.taken import Wishes
    from orchestration.bindings import reading_limits
    from orchestration.profile_draft import as_yaml, draft_profile

    settings = Settings.from_environment()
    wishes = Wishes(encoding=encoding, sheet=sheet, header_row=header_row)
    draft = draft_profile(file.resolve(), reading_limits(settings), wishes)
    slug = client_slug(client)
    click.echo(as_yaml(draft, client, settings.client_profiles_dir / f"{slug}.yaml", settings.language), nl=False)


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a profile: its version if it is valid, else the key that is not and what is expected there."""
    profile = load_profile(file.absolute(), file.stem)
    click.echo(f"{file.name}: OK ({profile.version}) {', '.join(profile.to_json()) or '-'}")
