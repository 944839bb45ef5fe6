"""``bulk-orders sample``: a file of synthetic orders, and on wish the list of what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click

from domain import catalogue
from domain.errors import TerminalError
from domain.money import format_yen
from orchestration import sample as samples
from orchestration.settings import Settings


@click.command("sample")
@click.option("--rows", type=click.IntRange(min=1), default=100, show_default=True, help="Orders in the file.")
@click.option(
    "--bad", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share of faulty rows, 0 to 1."
)
@click.option("--encoding", type=click.Choice(samples.ENCODINGS), default="utf-8", show_default=True)
@click.option("--format", "kind", type=click.Choice([*samples.DELIMITERS, "xlsx"]), default="csv", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed gives other orders.")
@click.option("--manifest", type=click.Path(path_type=Path), help="Also write what is in the file, as JSON.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
def command(rows: int, bad: float, encoding: str, kind: str, seed: int, manifest: Path | None, output: Path) -> None:
    """Write synthetic orders; no person and no address in them is real."""
    any_text = kind != "xlsx" and encoding in samples.UNICODE
    sample = samples.make_sample(rows, bad=bad, seed=seed, plain_text=any_text)
    try:
        if kind == "xlsx":
            samples.write_xlsx(sample, output)
        else:
            samples.write_csv(sample, output, encoding, samples.DELIMITERS[kind])
        if manifest is not None:
            samples.write_manifest(sample, manifest)
    except OSError:
        raise TerminalError("SYS-FOLDER-NOT-WRITABLE", variable="-o") from None
    line = catalogue.words("sample", Settings.from_environment().language)["line"]
    click.echo(line.format(path=output, rows=rows, good=sample.good_rows, yen=format_yen(sample.amount_jpy)))
    for code, count in sample.fault_counts().items():
        click.echo(f"  {code}: {count}")
