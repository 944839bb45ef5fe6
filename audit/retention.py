"""What is over goes on to the next tier; what is held, or not finished, stays where it is.

Every step is one of its own and may be killed anywhere: an export is there or not (audit/cold_export.py), a month is
dropped in one transaction with its event, and what is destroyed has its event before it goes and another when it is
gone; in between, the next run ends what was begun. Several at once do no harm; one at a time is let in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path

from sqlalchemy import Connection

from audit.cold_export import ColdPart, export, keep_until, manifest_name, signed_text
from domain.errors import BulkOrdersError, InvariantBroken
from domain.identity import client_slug
from domain.retention import (
    Category,
    RetentionRules,
    Step,
    Work,
    months_before,
    partition_name,
    read_manifest,
    steps_of_month,
)
from resources.anchor_keys import SigningKey
from resources.batch_files import BatchFiles
from resources.cold_store import ColdStore
from resources.database import retention, trail
from resources.database.database import Database
from resources.database.retention import Export
from resources.sheet_folder import KeySheets

_MONTHLY = (Category.TRAIL, Category.ATTEMPTS)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What retention works with. ``at``: the moment that ages are counted to."""

    rules: RetentionRules
    at: datetime
    store: ColdStore
    key: SigningKey
    sheets: KeySheets
    files: BatchFiles
    scratch: Path


@dataclass(frozen=True, slots=True)
class Done:
    """One step that was due: done, kept by something, or failed with a code."""

    step: Step
    failed: str | None = None


def plan(tx: Connection, rules: RetentionRules, at: datetime, files: BatchFiles) -> list[Step]:
    """Everything that is due at this moment, in the order in which it is done."""
    known = {(found.category, found.month): found for found in retention.exports(tx)}
    steps = [step for category in _MONTHLY for step in _of_months(tx, category, rules, at, known)]
    for category, months in ((Category.PERSONAL, rules.personal_months), (Category.FILES, rules.files_months)):
        over = retention.batches_over(tx, category, months_before(at, months))
        steps += [Step(Work.EMPTY, category, name, retention.kept_by(tx, category, [name])) for name in over]
    for client in files.clients_set_aside(_aside_until(rules, at)):
        steps.append(Step(Work.CLEAR, Category.FILES, client, _aside_kept_by(tx, client)))
    return steps


def _aside_kept_by(tx: Connection, folder: str) -> str | None:
    """What keeps what was set aside: its folder has the client's name as it was given, a hold the one in keys."""
    return retention.client_kept_by(tx, Category.FILES, client_slug(folder))


def _aside_until(rules: RetentionRules, at: datetime) -> datetime:
    return datetime.combine(months_before(at, rules.files_months), time(), at.tzinfo)


def _of_months(
    tx: Connection, category: Category, rules: RetentionRules, at: datetime, known: dict[tuple[Category, date], Export]
) -> Iterator[Step]:
    there = dict(retention.months(tx, category))
    for month in sorted({*there, *(m for c, m in known if c is category)}):
        export_ = known.get((category, month))
        works = steps_of_month(
            category,
            month,
            rules.periods(category).tier(month, at),
            in_database=month in there,
            exported=export_ is not None,
            warm=rules.warm_tablespace is None or there.get(month, True),
            destroyed=export_ is not None and export_.destroyed,
        )
        if works:
            name = partition_name(category, month)
            kept = (
                None if works == [Work.WARM] else retention.kept_by(tx, category, _batches(tx, category, name, export_))
            )
            yield from (Step(work, category, name, kept) for work in works)


def _batches(tx: Connection, category: Category, partition: str, known: Export | None) -> list[str]:
    manifest = None if known is None else read_manifest(known.manifest)
    return retention.batches_of(tx, category, partition) if manifest is None else list(manifest.batches)


def run(database: Database, keeping: Keeping) -> list[Done]:
    """Do all that is due; a step that fails ends its category for this time, and the next run tries again.

    Raises:
        DatabaseUnavailable: the database does not answer.
    """
    database.run(retention.make_partitions)
    done: list[Done] = []
    failed: set[Category] = set()
    for step in database.read(lambda tx: plan(tx, keeping.rules, keeping.at, keeping.files)):
        if step.kept_by is not None or step.category in failed:
            done.append(Done(step))
            continue
        try:
            done.append(Done(replace(step, kept_by=_do(database, keeping, step))))
        except BulkOrdersError as error:
            failed.add(step.category)
            done.append(Done(step, str(error)))
    return done


def _do(database: Database, keeping: Keeping, step: Step) -> str | None:
    """What keeps it by now, although nothing did when it was planned."""
    match step.work:
        case Work.CLEAR:
            return _clear(database, keeping, step)
        case Work.EMPTY:
            return _empty(database, keeping, step)
        case Work.DESTROY:
            return _destroy(database, keeping, step)
    kept_by = database.read(lambda tx: _kept_by(tx, step))
    if kept_by is None:
        _move(database, keeping, step)
    return kept_by


def _move(database: Database, keeping: Keeping, step: Step) -> None:
    """A month to its next tier: the same is still there."""
    if step.work is Work.WARM:
        tablespace = keeping.rules.warm_tablespace or ""
        database.run(lambda tx: retention.move_to(tx, step.subject, tablespace))
    elif step.work is Work.EXPORT:
        month = _month_of(step.subject)
        until = keep_until(month, keeping.rules.periods(step.category).cold)
        export(database, ColdPart(keeping.store, keeping.key, keeping.scratch, until), step.category, month)
    else:
        _drop(database, keeping, step.subject)


def _begun(
    database: Database, kept_by: Callable[[Connection], str | None], begin: Callable[[Connection], None]
) -> str | None:
    """Begin its end, unless something keeps it: what."""

    def begin_unless_kept(tx: Connection) -> str | None:
        retention.let_no_hold_be_set(tx)
        kept = kept_by(tx)
        if kept is None:
            begin(tx)
        return kept

    return database.run(begin_unless_kept)


def _kept_by(tx: Connection, step: Step) -> str | None:
    names = [step.subject] if step.work is Work.EMPTY else _named(tx, step)
    return retention.kept_by(tx, step.category, names)


def _clear(database: Database, keeping: Keeping, step: Step) -> str | None:
    """What was set aside belongs to no batch: its events are the system's."""
    before = _aside_until(keeping.rules, keeping.at)
    about = f"{step.category.value} {step.subject}"
    kept_by = _begun(
        database,
        lambda tx: _aside_kept_by(tx, step.subject),
        lambda tx: trail.note(tx, "retention:clearing", about),
    )
    if kept_by is None:
        count = keeping.files.destroy_set_aside(step.subject, before)
        database.run(lambda tx: trail.note(tx, "retention:cleared", f"{about} {count}"))
    return kept_by


def _named(tx: Connection, step: Step) -> list[str]:
    known = next((found for found in retention.exports(tx) if found.partition == step.subject), None)
    return _batches(tx, step.category, step.subject, known)


def _month_of(partition: str) -> date:
    year, month = partition[-7:].split("_")
    return date(int(year), int(month), 1)


def _export_of(database: Database, partition: str) -> Export:
    return next(found for found in database.read(retention.exports) if found.partition == partition)


def _drop(database: Database, keeping: Keeping, partition: str) -> None:
    """Once more: nothing is dropped whose file and manifest are not there, as they were signed."""
    known = _export_of(database, partition)
    manifest = read_manifest(known.manifest)
    store = keeping.store
    if (
        manifest is None
        or store.digest(manifest.file) != manifest.file_sha256
        or store.text(manifest_name(manifest)) != signed_text(known.manifest, known.signature)
    ):
        raise InvariantBroken("SYS-EXPORT-DIFFERS", partition=partition)
    database.run(lambda tx: retention.drop_exported(tx, partition))


def _destroy(database: Database, keeping: Keeping, step: Step) -> str | None:
    manifest = read_manifest(_export_of(database, step.subject).manifest)
    if manifest is None:
        raise InvariantBroken("SYS-EXPORT-DIFFERS", partition=step.subject)
    kept_by = _begun(database, lambda tx: _kept_by(tx, step), lambda tx: retention.begin_to_destroy(tx, step.subject))
    if kept_by is None:
        keeping.store.remove(manifest.file)
        database.run(lambda tx: retention.end_to_destroy(tx, step.subject))
    return kept_by


def _empty(database: Database, keeping: Keeping, step: Step) -> str | None:
    kept_by = _begun(
        database,
        lambda tx: _kept_by(tx, step),
        lambda tx: retention.begin_to_empty(tx, step.category, step.subject),
    )
    if kept_by is None:
        if step.category is Category.PERSONAL:
            keeping.sheets.destroy_batch(step.subject)
        else:
            keeping.files.destroy(step.subject)
        database.run(lambda tx: retention.end_to_empty(tx, step.category, step.subject))
    return kept_by
