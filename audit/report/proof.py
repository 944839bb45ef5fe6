"""What proves the pack, how to verify it without us, and by which settings its runs worked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from audit.pack.contents import Evidence
from audit.report import markup
from audit.report.markup import code, local, note, table
from audit.report.words import both


@dataclass(frozen=True, slots=True)
class Seal:
    """What proves the pack: shown in the report, verified by the script beside it."""

    public_key: str
    anchor_number: int
    anchored_at_us: int
    head_hash: str


def section(evidence: Evidence, seal: Seal) -> str:
    """The digests that everything hangs on."""
    versions = sorted({str(event["code_version"]) for event in evidence.events if event["code_version"]})
    anchored = datetime.fromtimestamp(seal.anchored_at_us / 1_000_000, UTC)
    lines = [
        ("source", evidence.books.batch.file_sha256.hex()),
        ("chain_events", f"{len(evidence.events):,}"),
        ("last_hash", seal.head_hash),
        ("anchor", f"{seal.anchor_number:,} · {local(anchored)} JST"),
        ("key", seal.public_key),
        ("code_versions", ", ".join(versions) or "-"),
    ]
    listed = "".join(f"<dt>{both(name)}</dt><dd>{code(value)}</dd>" for name, value in lines)
    return markup.section("proof", note("chain_note"), f"<dl>{listed}</dl><pre>{both('how')}</pre>")


def configuration(evidence: Evidence) -> str:
    """Each set of settings once; nothing where no run was noted."""
    tables = []
    for digest, settings in {run.configuration_sha256: run.settings for run in evidence.runs}.items():
        rows = [(code(name), code(value)) for name, value in sorted(settings.items()) if value is not None]
        tables.append(f'<p class="note"><code>{escape(digest)}</code></p>' + table(("setting", "value"), rows))
    return markup.section("configuration", *tables) if tables else ""
