"""With what: what the settings name, opened. Without Dagster, so that a command is there at once.

``run_resources.py`` has what a run of Dagster needs besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from assets.validated_csv.limits import ReadingLimits
from domain.errors import SettingRefused
from domain.guards import GuardLimits
from domain.profiles import ServiceProfile, load_profile
from domain.states import EffectKind
from orchestration.settings import Settings
from resources.anchor_keys import open_signing_key
from resources.batch_files import BatchFiles
from resources.client_profiles import ClientProfiles
from resources.cold_store import ColdPlace, ColdStore
from resources.database import keys
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.per_process import PerProcess
from resources.encryption import Vault
from resources.key_sources import KeySource
from resources.sheet_folder import KeySheets

if TYPE_CHECKING:
    from audit.retention import Keeping
    from orchestration.erasing import Installed


def database_url(settings: Settings) -> str:
    """The address of the database.

    Raises:
        SettingRefused: it is not given. Whoever starts us (``up``, ``import``) gives it also for our own server.
    """
    if settings.database_url is None:
        raise SettingRefused("SYS-SETTING-MISSING", variable="DATABASE_URL")
    return settings.database_url


def open_database(settings: Settings, actor: Actor) -> Database:
    """The business database in somebody's name."""
    return Database(database_url(settings), actor)


_kept: PerProcess[tuple[str, Actor], Database] = PerProcess(lambda key: Database(*key), Database.forget)


def kept_database(settings: Settings, actor: Actor) -> Database:
    """The same, for those who come back every few seconds: it stays connected, and nobody disposes of it."""
    return _kept.get((database_url(settings), actor))


def admitted_vault(settings: Settings, database: Database, *, to_erase_again: bool = False) -> Vault:
    """The vault of this installation. The key file is made at the very first start, and never again.

    Raises:
        KeyRefused: the key is missing although data were written with one, or it is another.
    """
    return keys.admitted_vault(database, key_source(settings), key_sheets(settings), to_erase_again=to_erase_again)


def key_source(settings: Settings) -> KeySource:
    """Where the master keys for personal data come from."""
    return KeySource(settings.encryption_key, settings.master_key_file, settings.key_command)


def key_sheets(settings: Settings) -> KeySheets:
    """The keys of single rows."""
    return KeySheets(settings.sheets_dir)


def installed(settings: Settings, database: Database, *, to_erase_again: bool = False) -> Installed:
    """Everything that an erasure touches.

    Raises:
        KeyRefused: as `admitted_vault`.
    """
    from orchestration.erasing import Installed  # with the readers of files, which few commands have a use for

    vault = admitted_vault(settings, database, to_erase_again=to_erase_again)
    return Installed(database, vault, key_sheets(settings), open_batch_files(settings))


def keeping(settings: Settings, at: datetime) -> Keeping:
    """What retention works with, at this moment.

    Raises:
        KeyRefused: the key that signs is none.
    """
    from audit.retention import Keeping  # with Arrow, which no other command has a use for

    return Keeping(
        rules=settings.retention_rules,
        at=at,
        store=cold_store(settings),
        key=open_signing_key(settings.signing_key_file),
        sheets=key_sheets(settings),
        files=open_batch_files(settings),
        scratch=settings.home / "scratch",
    )


def cold_store(settings: Settings) -> ColdStore:
    """Where months go that leave the database."""
    url = settings.cold_url or str(settings.home / "cold")
    return ColdStore(ColdPlace(url, settings.cold_kms_key, bool(settings.cold_object_lock)))


def batch_files(settings: Settings) -> BatchFiles:
    """The folders as they are."""
    return BatchFiles(settings.home.absolute(), settings.watched_dir.absolute())


def open_batch_files(settings: Settings) -> BatchFiles:
    """The folders, made where they are missing."""
    files = batch_files(settings)
    files.prepare()
    return files


def make_profiles(settings: Settings) -> Mapping[EffectKind, ServiceProfile]:
    """What both services can do.

    Raises:
        SettingRefused: a profile cannot be read.
    """
    return {
        EffectKind.PAYMENT: load_profile(EffectKind.PAYMENT, settings.payment_profile),
        EffectKind.NOTIFICATION: load_profile(EffectKind.NOTIFICATION, settings.notification_profile),
    }


def reading_limits(settings: Settings) -> ReadingLimits:
    """How much of a file is read, and what reading it may take."""
    return ReadingLimits(
        max_rows=settings.max_file_rows,
        max_bytes=settings.max_file_bytes,
        max_columns=settings.max_file_columns,
        max_cell_characters=settings.max_cell_characters,
        max_seconds=settings.max_file_seconds,
        max_workbook_entries=settings.max_workbook_entries,
        max_workbook_unpacked_bytes=settings.max_workbook_unpacked_bytes,
        max_workbook_ratio=settings.max_workbook_ratio,
        max_workbook_memory_bytes=settings.max_workbook_memory_bytes,
        test_system=settings.test_system > 0,
    )


def client_profiles(settings: Settings) -> ClientProfiles:
    """What is settled about the files of each client."""
    return ClientProfiles(settings.client_profiles_dir)


def guard_limits(settings: Settings) -> GuardLimits:
    """When payments stop before the rest is paid, and above which amount a second person approves."""
    return GuardLimits(
        canary_payments=settings.canary_payments,
        canary_failed_percent=settings.canary_failed_percent,
        tolerated_failures=settings.tolerated_failures,
        tolerated_failed_percent=settings.tolerated_failed_percent,
        approval_above_jpy=settings.approval_above_jpy,
        near_duplicate_days=settings.near_duplicate_days,
    )
