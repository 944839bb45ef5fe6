"""How long what is kept, and where. Pure rules; the moment is always given, never read from a clock.

    hot    in the database, in its place
    warm   in the database, on cheaper disks where a setting names some
    cold   in a file with a signed manifest, no longer in the database
    gone   destroyed; the manifest stays

The trail and the calls go by whole months, personal data and files by whole batches, which are there or gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class Category(StrEnum):
    """What has a period of its own."""

    TRAIL = "trail"
    ATTEMPTS = "attempts"
    PERSONAL = "personal"  # the keys of the cells of rows: without them nobody reads a cell again
    FILES = "files"  # archived files, repair files, reports, files set aside


TABLES = {Category.TRAIL: "audit_events", Category.ATTEMPTS: "effect_attempts"}
"""The tables that are kept by the month."""


class Tier(StrEnum):
    """Where something is kept at a given age."""

    HOT = "hot"
    WARM = "warm"
    COLD = "cold"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Periods:
    """Months after which something leaves each tier, counted from the end of its own month."""

    hot: int = 12
    warm: int = 36
    cold: int = 96

    def tier(self, month: date, at: datetime) -> Tier:
        """Where a month is kept at this moment."""
        age = months_between(month, at.date()) - 1
        if age < self.hot:
            return Tier.HOT
        if age < self.warm:
            return Tier.WARM
        return Tier.COLD if age < self.cold else Tier.GONE


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """All periods. Of personal data and files: months after the end of their batch."""

    trail: Periods = Periods()
    attempts: Periods = Periods()
    personal_months: int = 96
    files_months: int = 96
    warm_tablespace: str | None = None

    def periods(self, category: Category) -> Periods:
        """Of a category that is kept by the month."""
        return self.trail if category is Category.TRAIL else self.attempts


def parse_periods(text: str) -> Periods | None:
    """``hot/warm/cold`` in months, each at least as long as the one before; None when it is something else."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    hot, warm, cold = (int(part) for part in parts)
    return Periods(hot, warm, cold) if 1 <= hot <= warm <= cold <= _LONGEST else None


_LONGEST = 1_200
SHORTEST_IN_DATABASE = 3
"""Months that the database itself keeps, whatever the settings say."""


def months_between(first: date, second: date) -> int:
    """Whole months from the month of one day to that of another."""
    return (second.year - first.year) * 12 + second.month - first.month


def months_before(at: datetime, months: int) -> date:
    """The first day of the month that lies so many months before."""
    index = at.year * 12 + at.month - 1 - months
    return date(index // 12, index % 12 + 1, 1)


def partition_name(category: Category, month: date) -> str:
    """The partition of a month."""
    return f"{TABLES[category]}_{month:%Y_%m}"


# -- manifests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChainRange:
    """A stretch of a chain: hashes are hexadecimal, ``first_prev`` is the one before its first event."""

    chain: str
    first_seq: int
    first_prev: str
    last_seq: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """What is signed about an exported month. ``content_sha256`` is of its rows, whatever file they stand in."""

    installation: str
    category: Category
    partition: str
    month: date
    rows: int
    file: str
    file_bytes: int
    file_sha256: str
    content_sha256: str
    columns: tuple[str, ...]
    chains: tuple[ChainRange, ...]
    batches: tuple[str, ...]
    key_id: str

    def to_body(self) -> str:
        """Canonical JSON."""
        chains = [[c.chain, c.first_seq, c.first_prev, c.last_seq, c.last_hash] for c in self.chains]
        values = {name: getattr(self, name) for name in self.__slots__}
        values |= {"month": f"{self.month:%Y-%m}", "chains": chains, "category": self.category.value, "version": 1}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_manifest(body: str) -> ExportManifest | None:
    """What a manifest says; None when it says something else."""
    try:
        said: Mapping[str, Any] = json.loads(body)
        year, month = str(said["month"]).split("-")
        return ExportManifest(
            installation=str(said["installation"]),
            category=Category(said["category"]),
            partition=str(said["partition"]),
            month=date(int(year), int(month), 1),
            rows=int(said["rows"]),
            file=str(said["file"]),
            file_bytes=int(said["file_bytes"]),
            file_sha256=str(said["file_sha256"]),
            content_sha256=str(said["content_sha256"]),
            columns=tuple(map(str, said["columns"])),
            chains=tuple(ChainRange(str(c), int(f), str(p), int(n), str(h)) for c, f, p, n, h in said["chains"]),
            batches=tuple(map(str, said["batches"])),
            key_id=str(said["key_id"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


# -- what is due -------------------------------------------------------------------------------------------------------


class Work(StrEnum):
    """One thing that retention does."""

    WARM = "warm"
    EXPORT = "export"
    DROP = "drop"
    DESTROY = "destroy"
    EMPTY = "empty"  # personal data or files of a batch
    CLEAR = "clear"  # files of a client that were set aside


@dataclass(frozen=True, slots=True)
class Step:
    """Something due. ``subject``: a partition, a batch or a client; ``kept_by``: why it must not be done now."""

    work: Work
    category: Category
    subject: str
    kept_by: str | None = None


def steps_of_month(
    category: Category, month: date, tier: Tier, *, in_database: bool, exported: bool, warm: bool, destroyed: bool
) -> Sequence[Work]:
    """What is due for a month, in this order."""
    if tier is Tier.WARM:
        return [Work.WARM] if in_database and not warm else []
    if tier not in (Tier.COLD, Tier.GONE):
        return []
    due = [Work.EXPORT] * (in_database and not exported) + [Work.DROP] * in_database
    return due + [Work.DESTROY] * (tier is Tier.GONE and not destroyed)
