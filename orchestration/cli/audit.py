"""``bulk-orders audit``: verify the trail, anchor it, pack the evidence of a batch, trace a number to its line."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from domain import catalogue
from domain.errors import BulkOrdersError
from orchestration.settings import Settings

if TYPE_CHECKING:
    from audit.verification import Verification
    from domain.trail_faults import Fault

NOT_WHOLE = 1


@click.group(name="audit")
def command() -> None:
    """Prove what happened, and that nobody changed the record since."""


@command.command("verify")
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def verify(batch: str | None, as_json: bool) -> int:
    """Verify the trail of one batch, or of everything: 0 it is whole, 1 it is not, 2 it cannot be verified."""
    from audit.verification import verify as verified
    from orchestration.bindings import cold_store
    from orchestration.cli.connected import connected_database
    from resources.anchor_folder import AnchorFolder
    from resources.anchor_keys import trusted_keys

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        keys = trusted_keys(settings.signing_key_file)
        found = verified(database, AnchorFolder(settings.anchors_dir), keys, batch, cold_store(settings))
    click.echo(_as_json(found, batch, settings.language) if as_json else _as_text(found, settings.language))
    return 0 if found.whole else NOT_WHOLE


@command.command("anchor")
def anchor() -> None:
    """Sign where all chains end now, in a file outside the database. The schedule does it every hour."""
    from audit.anchoring import make_anchor
    from orchestration.cli.connected import connected_database
    from resources.anchor_folder import AnchorFolder
    from resources.anchor_keys import open_signing_key

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        key = open_signing_key(settings.signing_key_file)
        made = make_anchor(database, AnchorFolder(settings.anchors_dir), key)
    click.echo(f"anchor {made.number}: {made.chains:,} chains, key {key.key_id}")


@command.command("pack")
@click.argument("batch")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The zip file.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def pack(batch: str, output: Path, as_json: bool) -> None:
    """Write the evidence of a batch into one zip file, which opens and verifies without this software.

    It holds the archived file with its personal data, is readable by its owner alone, and is noted in the trail.
    """
    from audit.pack import making
    from orchestration import dagster_history
    from orchestration.bindings import open_batch_files
    from orchestration.cli.connected import connected_database
    from resources.anchor_folder import AnchorFolder
    from resources.anchor_keys import open_signing_key, trusted_keys

    settings = Settings.from_environment()
    with ExitStack() as held:
        database = connected_database(settings, held)
        key = open_signing_key(settings.signing_key_file)
        archive = making.Archive(
            open_batch_files(settings), AnchorFolder(settings.anchors_dir), key, trusted_keys(settings.signing_key_file)
        )
        history = dagster_history.of_batch(database.url, batch)
        made = making.pack(database, archive, batch, history, output.absolute())
    told = {"path": str(made.path), "sha256": made.sha256, "bytes": made.octets, "public_key": made.public_key}
    lines = [f"{output}   {made.octets:,} bytes", f"SHA-256 {made.sha256}", f"Ed25519 {made.public_key}"]
    click.echo(json.dumps(told) if as_json else "\n".join(lines))


@command.command("check")
@click.argument("pack", type=click.Path(path_type=Path))
@click.option("--key", metavar="HEX", help="The public key that must have signed it.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def check(pack: Path, key: str | None, as_json: bool) -> int:
    """Verify an evidence pack, as the script inside does: 0 whole, 1 not whole, 2 no pack."""
    from audit.pack import verify_pack

    return verify_pack.main([str(pack), *(["--key", key] if key else []), *(["--json"] if as_json else [])])


@command.command("trace")
@click.argument("id_", metavar="ID")
@click.option("--line", type=click.IntRange(min=1), help="A line of the batch ID.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def trace(id_: str, line: int | None, as_json: bool) -> None:
    """From a payment, mail, order, request or run back to its file, sheet and line, and to all that is known of it.

    ID: what a service calls a payment or a mail, an order id or number, an idempotency key, a batch or a run.
    """
    from audit.trace import trace as traced
    from orchestration.cli.connected import connected_database

    settings = Settings.from_environment()
    with ExitStack() as held:
        found = traced(connected_database(settings, held), id_, line)
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else "\n\n".join(_traced(one) for one in found))


def _traced(found: dict[str, Any]) -> str:
    """Names and values, one a line; lists as further lines."""
    lines = [f"{found['known_as']}: {found['batch_id']}"]
    for name, value in found.items():
        if name in ("known_as", "batch_id") or value in (None, [], {}):
            continue
        if isinstance(value, list):
            lines.append(f"  {name}")
            lines += [f"    {_listed(item)}" for item in value]
        else:
            lines.append(f"  {name:<16} {value}")
    return "\n".join(lines)


def _listed(item: Any) -> str:
    return "  ".join(str(part) for part in item.values() if part is not None) if isinstance(item, dict) else str(item)


def _as_json(found: Verification, batch: str | None, language: str) -> str:
    told: dict[str, Any] = {
        "whole": found.whole,
        "batch": batch,
        "chains": found.chains,
        "events": found.events,
        "events_per_second": round(found.events / found.seconds) if found.seconds else None,
        "anchors": found.anchors,
        "unanchored_events": found.unanchored,
        "batches_compared": found.batches,
        "faults": [
            {
                "code": fault.kind.value,
                "chain": fault.chain,
                "seq": fault.seq,
                "until": fault.until,
                "about": fault.about,
                "message": _told(fault, language),
            }
            for fault in found.faults
        ],
    }
    return json.dumps(told, ensure_ascii=False)


def _as_text(found: Verification, language: str) -> str:
    words = catalogue.words("audit", language)
    lines = [words["whole"] if found.whole else words["not_whole"]]
    lines.append(
        words["counts"].format(
            chains=found.chains, events=found.events, anchors=found.anchors, unanchored=found.unanchored
        )
    )
    return "\n".join([*lines, *(f"  {_told(fault, language)}" for fault in found.faults)])


def _told(fault: Fault, language: str) -> str:
    seq = str(fault.seq) if fault.seq == fault.until else f"{fault.seq}-{fault.until}"
    error = BulkOrdersError(fault.kind.value, chain=fault.chain, seq=seq, about=fault.about)
    return catalogue.describe(error, language)
