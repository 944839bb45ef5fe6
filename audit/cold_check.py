"""What went to cold storage: is every month there, signed by us, as it was signed, and where do the chains go on?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from audit.cold_export import manifest_name, signed_text
from domain.retention import Category, ExportManifest, months_between, partition_name, read_manifest
from domain.trail import BEGINNING, Head
from domain.trail_faults import Fault, FaultKind
from resources.anchor_keys import TrustedKeys
from resources.cold_store import ColdStore
from resources.database import retention, trail
from resources.database.retention import Export

EXPORTS = "exports"
"""Stands in a fault for the name of a chain."""


@dataclass(frozen=True, slots=True)
class CheckedExports:
    """``starts``: after which event each chain goes on in the database, by what good manifests say."""

    starts: dict[str, Head]
    months: int
    faults: tuple[Fault, ...]


def check_exports(tx: Connection, keys: TrustedKeys, store: ColdStore | None) -> CheckedExports:
    """Check every exported month; without ``store``, its manifest in the database alone.

    Raises:
        TransientError: cold storage cannot be reached.
    """
    installation = trail.installation_id(tx)
    starts: dict[str, Head] = {}
    faults: list[Fault] = []
    known = retention.exports(tx)
    months: set[date] = set()
    for export in known:
        manifest, fault = _manifest(export, installation, keys)
        if manifest is not None:
            months.add(manifest.month)
        if manifest is not None and export.dropped and not _continue(starts, manifest):
            fault = fault or FaultKind.EXPORT_ALTERED
        if manifest is not None and fault is None and store is not None and not export.destroying:
            fault = _stored(store, export, manifest)
        if fault is not None:
            faults.append(_about(fault, export.partition))
    gone = {export.partition for export in known if export.dropped}
    # First: where a month is missing, the next does not go on from it either.
    faults[:0] = [_about(FaultKind.PARTITION_MISSING, name) for name in _missing(tx, gone, months)]
    return CheckedExports(starts, len(known), tuple(faults))


def _manifest(export: Export, installation: str, keys: TrustedKeys) -> tuple[ExportManifest | None, FaultKind | None]:
    manifest = read_manifest(export.manifest)
    if manifest is None:
        return None, FaultKind.EXPORT_ALTERED
    signed = keys.signed(manifest.key_id, export.manifest.encode(), export.signature)
    if signed is None or (signed and manifest.installation != installation):
        return None, FaultKind.EXPORT_FOREIGN
    about = (manifest.partition, manifest.category, manifest.month)
    if not signed or about != (export.partition, export.category, export.month):
        return None, FaultKind.EXPORT_ALTERED
    return manifest, None


def _continue(starts: dict[str, Head], manifest: ExportManifest) -> bool:
    """Take in where the chains leave this month; whether each entered it where it had left the one before."""
    good = True
    for chain in manifest.chains:
        before = starts.get(chain.chain, BEGINNING)
        good &= (before.seq + 1, before.hash) == (chain.first_seq, chain.first_prev.encode())
        starts[chain.chain] = Head(chain.last_seq, chain.last_hash.encode())
    return good


def _stored(store: ColdStore, export: Export, manifest: ExportManifest) -> FaultKind | None:
    text, digest = store.text(manifest_name(manifest)), store.digest(manifest.file)
    if text is None or digest is None:
        return FaultKind.EXPORT_MISSING
    same = text == signed_text(export.manifest, export.signature) and digest == manifest.file_sha256
    return None if same else FaultKind.EXPORT_ALTERED


def _missing(tx: Connection, gone: set[str], months: set[date]) -> Iterator[str]:
    """Months from the first to this one that are neither in the database nor ``gone`` from it by an export.

    Both tables begin with the same month: of one that lost its first, the other tells, or one of ``months``.
    """
    categories = (Category.TRAIL, Category.ATTEMPTS)
    there = {(category, month) for category in categories for month, _ in retention.months(tx, category)}
    first = min(months | {month for _, month in there}, default=None)
    for month in _months_from(first, retention.now(tx)):
        for category in categories:
            if (category, month) not in there and (name := partition_name(category, month)) not in gone:
                yield name


def _months_from(first: date | None, now: datetime) -> Iterator[date]:
    if first is None:
        return
    for number in range(months_between(first, now.date()) + 1):
        index = first.year * 12 + first.month - 1 + number
        yield date(index // 12, index % 12 + 1, 1)


def _about(kind: FaultKind, partition: str) -> Fault:
    return Fault.at(kind, EXPORTS, 0, about=partition)
