"""Backup and restoration of an installation: its database and its files. Never its keys.

A backup is made while everything runs. A restoration goes into a database of another name, is marked, verified and
compared there, and gets its name last: nobody ever works on one that is half there, or that does not know that it came
from a backup (docs/decisions/0035).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from audit.restored import Witnesses, mark_restored
from audit.verification import Verification, verify
from domain.errors import KeyRefused, OperationRefused, TerminalError
from orchestration import bindings, local_services
from orchestration.account import account_name
from orchestration.settings import Settings
from orchestration.version import code_version
from resources import backup_folder
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import TrustedKeys, open_signing_key, trusted_keys
from resources.backup_folder import Manifest
from resources.batch_files import BatchFiles
from resources.database import copies, migrate, restorations
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.restorations import Marked, Restoration
from resources.local import postgres_copies

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made."""

    folder: Path
    at: datetime
    octets: int
    sha256: str  # of what was signed
    keys: tuple[str, ...]  # the keys of personal data that a restoration needs


@dataclass(frozen=True, slots=True)
class Restored:
    """A restoration: what was marked, what is known to be lost, and what a verification found."""

    marked: Marked
    backup_at: datetime
    lost_batches: tuple[str, ...]
    verification: Verification


def make(settings: Settings, output: Path) -> Backup:
    """Back up the installation into a new folder below ``output``. What is done meanwhile is not in it, or is.

    Raises:
        TerminalError: the database cannot be dumped.
        TransientError: the folder cannot be written.
    """
    key = open_signing_key(settings.signing_key_file)
    with ExitStack() as held:
        owner_url = local_services.database(settings, held)
        migrate.upgrade(owner_url)
        with copies.snapshot(owner_url) as seen:
            final = output.absolute() / f"{backup_folder.NAME}{seen.at:%Y%m%dT%H%M%SZ}"
            writing = held.enter_context(backup_folder.writing(final))
            postgres_copies.dump(owner_url, writing.dump, seen.name)
        writing.pack(_folders(settings))
        parts = writing.parts()
        said = {
            "version": _VERSION,
            "installation": seen.content.installation,
            "backup_at_us": round(seen.at.timestamp() * 1_000_000),
            "code_version": code_version(),
            "content": seen.content.as_dict(),
            "roles": list(seen.roles),
            "parts": parts,
            "key_id": key.key_id,
        }
        body = json.dumps(said, sort_keys=True, separators=(",", ":"))
        manifest = Manifest(body, key.sign(body.encode()).hex())
        writing.finish(manifest)
        octets = sum(int(part["bytes"]) for part in parts.values())
        made = Backup(final, seen.at, octets, manifest.digest, seen.content.keys)
        _note(owner_url, made)
    return made


def _folders(settings: Settings) -> dict[str, Path]:
    """What of the home is in a backup, by its name there."""
    return {"batches": settings.home / "batches", "anchors": settings.anchors_dir}


def check(settings: Settings, folder: Path) -> Manifest:
    """Whether a backup is whole and ours.

    Raises:
        NotFound, TerminalError: there is none, or it is damaged.
        KeyRefused: the public key of whoever signed it is not here.
    """
    manifest = backup_folder.read_manifest(folder)
    _check_signature(manifest, trusted_keys(settings.signing_key_file))
    backup_folder.check_parts(folder, manifest)
    return manifest


def _check_signature(manifest: Manifest, trusted: TrustedKeys) -> None:
    signed = trusted.signed(str(manifest.said["key_id"]), manifest.body.encode(), bytes.fromhex(manifest.signature))
    if signed is None:
        raise KeyRefused("SYS-BACKUP-FOREIGN", key_id=str(manifest.said["key_id"]))
    if not signed:
        raise TerminalError("SYS-BACKUP-DAMAGED", part=backup_folder.MANIFEST)


def restore(settings: Settings, folder: Path) -> Restored:
    """Restore a backup into a place that nobody has worked with; the keys lie there already.

    Raises:
        NotFound, TerminalError, KeyRefused: as `check`, or the key of the personal data is missing or wrong.
        OperationRefused: the database has batches or orders.
        InvariantBroken: what was restored is not what was backed up.
    """
    manifest = check(settings, folder)
    backup_at = _moment(int(manifest.said["backup_at_us"]))
    with ExitStack() as held:
        owner_url = local_services.database(settings, held)
        copies.refuse_used(owner_url)
        backup_folder.unpack(folder, _folders(settings))
        beside = copies.make_beside(owner_url, manifest.said["roles"])
        postgres_copies.load(beside, folder / backup_folder.DUMP)
        copies.compare(beside, manifest.said["content"])
        migrate.upgrade(beside)
        restored = _marked(settings, beside, backup_at)
        copies.take_its_name(owner_url, beside)
    return restored


def _marked(settings: Settings, url: str, backup_at: datetime) -> Restored:
    database = _opened(url)
    try:
        bindings.admitted_vault(settings, database)
        restored = _mark(settings, database, backup_at)
    finally:
        database.dispose()
    return restored


def mark(settings: Settings, backup_at: datetime) -> Restored:
    """Mark a database that was restored by other means, before anybody works on it.

    Raises:
        OperationRefused: that moment has not come yet.
    """
    if backup_at > datetime.now(UTC):
        raise OperationRefused("SYS-RESTORE-MOMENT")
    with ExitStack() as held:
        owner_url = local_services.database(settings, held)
        migrate.upgrade(owner_url)
        return _marked(settings, owner_url, backup_at)


def _mark(settings: Settings, database: Database, backup_at: datetime) -> Restored:
    folder, trusted = AnchorFolder(settings.anchors_dir), trusted_keys(settings.signing_key_file)
    key = open_signing_key(settings.signing_key_file)
    files = BatchFiles(settings.home, settings.watched_dir)
    settle = {kind: profile.settle_seconds for kind, profile in bindings.make_profiles(settings).items()}
    witnesses = Witnesses(folder, trusted, key, files)
    marked, lost = mark_restored(database, witnesses, backup_at, settle)
    return Restored(marked, backup_at, lost, verify(database, folder, trusted_keys(settings.signing_key_file)))


def reconcile(database: Database, note: str) -> Restoration:
    """A person says that what was lost with the last restoration is accounted for: new batches are paid again.

    Raises:
        OperationRefused: there is nothing to reconcile.
    """
    with database.begin() as tx:
        last = restorations.newest(tx)
        if last is None or last.reconciled_at is not None:
            raise OperationRefused("SYS-RESTORE-NOTHING-OPEN")
        restorations.reconcile(tx, last.number, database.actor.name, note)
        found = restorations.newest(tx)
        assert found is not None
        return found


def _note(url: str, made: Backup) -> None:
    database = _opened(url)
    try:
        database.run(lambda tx: restorations.note_backup(tx, made.at, made.octets, bytes.fromhex(made.sha256)))
    finally:
        database.dispose()


def _opened(url: str) -> Database:
    return bindings.open_database(
        replace(Settings(), database_url=url), Actor(f"cli:{account_name()}", "", code_version())
    )


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)
