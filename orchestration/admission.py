"""A file comes in: recognised by its bytes, registered once, archived unchanged.

Used by the sensor and the command line.

Killed after registering and before archiving, the file is still where it was: the next look finds its batch without an
archive and completes it. Nothing is ever recognised by its name; only a file of totals is, by whose name it carries. It
is kept with the batch before the orders are, and leaves its place before they do: it never lies there without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domain.client_profile import ClientProfile, SideTotals
from domain.errors import BulkOrdersError, FileRefused, TransientError
from domain.identity import batch_id, client_slug
from domain.states import BatchState
from orchestration.version import code_version
from resources import side_files
from resources.batch_files import BatchFiles, FileChanged
from resources.database import batches
from resources.database.batches import Batch
from resources.database.database import Database
from resources.file_labels import safe_label
from resources.import_folder import DroppedFile


@dataclass(frozen=True, slots=True)
class Admission:
    """The batch of a file, and whether these bytes were taken before."""

    batch: Batch
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Beside:
    """The files of totals beside a file, whether there must be one, and whether it may still come."""

    sides: tuple[Path, ...] = ()
    required: bool = False
    may_come: bool = False

    @property
    def is_awaited(self) -> bool:
        """Whether nothing can be done before one comes."""
        return self.required and self.may_come and not self.sides

    def only(self, name: str) -> Path | None:
        """The one that there is, or None where none is needed.

        Raises:
            FileRefused: FILE-SIDE-SEVERAL, or FILE-SIDE-MISSING where one is required.
        """
        if len(self.sides) > 1:
            raise FileRefused("FILE-SIDE-SEVERAL")
        if not self.sides and self.required:
            raise FileRefused("FILE-SIDE-MISSING", name=side_files.expected_name(name))
        return next(iter(self.sides), None)


def beside(path: Path, profile: ClientProfile, *, repaired: bool = False) -> Beside:
    """What is beside a person's file; a repaired one, which has some rows of another only, needs no totals."""
    return Beside(side_files.beside(path), profile.totals is SideTotals.REQUIRED and not repaired)


def beside_dropped(dropped: DroppedFile, profile: ClientProfile, may_come: bool) -> Beside:
    """The same in the import folder, where files come one by one, and nobody has read them yet."""
    required = profile.totals is SideTotals.REQUIRED and not dropped.sides
    return Beside(dropped.sides, required and not side_files.may_be_repaired(dropped.path), may_come)


NOTHING_BESIDE = Beside()


def admit(
    database: Database,
    files: BatchFiles,
    path: Path,
    client: str,
    *,
    group: str | None = None,
    keep_original: bool = False,
    beside: Beside = NOTHING_BESIDE,
) -> Admission:
    """Register and archive a file, and its file of totals; with ``keep_original`` the person's files stay in place.

    A batch that was refused as a whole is opened again: what was in the way may have been a setting.

    Raises:
        FileRefused: it cannot be read at all.
        FileChanged: it changed while it was taken; it stays, and is looked at again later.
        TransientError: FILE-SIDE-AWAITED, nothing is done before its file of totals is there.
    """
    sha256 = files.digest(path)
    if not _was_taken(database, files, sha256) and beside.is_awaited:
        raise TransientError("FILE-SIDE-AWAITED", name=side_files.expected_name(path.name))
    batch = _register(database, path, client, group, sha256)
    duplicate = files.archived(batch.batch_id) is not None
    try:
        side = next(iter(beside.sides), None) if duplicate else beside.only(path.name)
        totals = files.archive_totals(side, batch.batch_id) if side is not None else None
        if not duplicate and keep_original:
            files.archive_copy(path, batch.batch_id, sha256)
        elif not duplicate:
            files.archive(path, batch.batch_id, sha256, totals)
        elif not keep_original:
            files.drop_totals(totals)
            why = "FILE-TAKEN-AGAIN" if batch.state is BatchState.REFUSED else "FILE-DUPLICATE"
            files.set_aside_duplicate(path, client, batch.batch_id, sha256, why)
    except (FileChanged, FileRefused) as error:
        if files.archived(batch.batch_id) is None:
            _refuse(database, batch.batch_id, error)
            raise
        if error.code != "FILE-NOT-FOUND":
            raise
        duplicate = True  # somebody else took it at the same moment, and works on it
    return Admission(_reopened(database, batch.batch_id, client), duplicate)


def _was_taken(database: Database, files: BatchFiles, sha256: bytes) -> bool:
    """Whether these bytes are archived: what was needed to take them was there."""
    with database.begin() as tx:
        known = batches.find_by_digest(tx, sha256)
    return known is not None and files.archived(known.batch_id) is not None


def _register(database: Database, path: Path, client: str, group: str | None, sha256: bytes) -> Batch:
    with database.begin() as tx:
        batch, _ = batches.register(
            tx,
            batch_id=batch_id(datetime.now(UTC).astimezone().date(), client, sha256),
            file_sha256=sha256,
            source_name=safe_label(path.name),
            client=client_slug(client),
            group=group,
            code_version=code_version(),
            started_by=database.actor.name,
        )
    return batch


def _reopened(database: Database, batch_id: str, client: str) -> Batch:
    with database.begin() as tx:
        batch = batches.lock(tx, batch_id)  # as it is now: another may have taken the file too, and works on it
        if batch.state is not BatchState.REFUSED:
            return batch
        if batch.client != client_slug(client):  # refused in another client's folder: this may be the right one
            batches.give_to(tx, batch_id, client_slug(client))
        batches.move(tx, batch_id, BatchState.RECEIVED)
        return batches.get(tx, batch_id)


def _refuse(database: Database, batch: str, why: BulkOrdersError) -> None:
    with database.begin() as tx:
        batches.move(tx, batch, BatchState.REFUSED, why)
