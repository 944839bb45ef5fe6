"""A file comes in: recognised by its bytes, registered once, archived unchanged.

Used by the sensor and the command line.

Killed after registering and before archiving, the file is still where it was: the next look finds its batch without an
archive and completes it. Nothing is ever recognised by its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domain.errors import BulkOrdersError, FileRefused
from domain.identity import batch_id, client_slug
from domain.states import BatchState
from orchestration.version import code_version
from resources.batch_files import BatchFiles, FileChanged
from resources.database import batches
from resources.database.batches import Batch
from resources.database.database import Database
from resources.file_labels import safe_label


@dataclass(frozen=True, slots=True)
class Admission:
    """The batch of a file, and whether these bytes were taken before."""

    batch: Batch
    duplicate: bool


def admit(
    database: Database,
    files: BatchFiles,
    path: Path,
    client: str,
    *,
    group: str | None = None,
    keep_original: bool = False,
) -> Admission:
    """Register and archive a file; with ``keep_original`` the person's file stays where it is.

    A batch that was refused as a whole is opened again: what was in the way may have been a setting.

    Raises:
        FileRefused: it cannot be read at all.
        FileChanged: it changed while it was taken; it stays, and is looked at again later.
    """
    sha256 = files.digest(path)
    batch = _register(database, path, client, group, sha256)
    duplicate = files.archived(batch.batch_id) is not None
    if not duplicate:
        try:
            (files.archive_copy if keep_original else files.archive)(path, batch.batch_id, sha256)
        except (FileChanged, FileRefused) as error:
            _refuse(database, batch.batch_id, error)
            raise
    elif not keep_original:
        files.set_aside_duplicate(path, client, batch.batch_id, sha256)
    return Admission(_reopened(database, batch), duplicate)


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


def _reopened(database: Database, batch: Batch) -> Batch:
    if batch.state is BatchState.REFUSED:
        with database.begin() as tx:
            batches.move(tx, batch.batch_id, BatchState.RECEIVED)
            return batches.get(tx, batch.batch_id)
    return batch


def _refuse(database: Database, batch: str, why: BulkOrdersError) -> None:
    with database.begin() as tx:
        batches.move(tx, batch, BatchState.REFUSED, why)
