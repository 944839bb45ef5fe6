"""With what: the resources of the definitions, made from the settings when a run needs them and not before.

Plain objects, not configuration: Dagster shows configuration in its UI, and a database address holds a password.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from assets.boundary import resource_boundary
from assets.effects.lane import LaneLimits
from assets.effects.work import EffectLimits, Services
from assets.validated_csv.limits import ReadingLimits
from audit.retention import Keeping
from domain.errors import SettingRefused
from domain.guards import GuardLimits
from domain.outcomes import Patience
from domain.profiles import ServiceProfile, load_profile
from domain.states import EffectKind
from orchestration import access
from orchestration.settings import Settings
from orchestration.trail_of_runs import begin_run, end_run
from orchestration.version import code_version
from resources.anchor_keys import open_signing_key
from resources.batch_files import BatchFiles
from resources.client_profiles import ClientProfiles
from resources.cold_store import ColdPlace, ColdStore
from resources.database import keys, run_lease
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.per_process import PerProcess
from resources.encryption import Vault
from resources.key_sources import KeySource
from resources.services.notifications import NotificationService
from resources.services.payments import PaymentService
from resources.sheet_folder import KeySheets


def make_resources(settings: Settings) -> Mapping[str, Any]:
    """Dagster's resources by the names the assets ask for."""

    @dg.resource(description="The business database, in the name of this run; holds the run's lease.")
    def database(context: dg.InitResourceContext) -> Iterator[Database]:
        run_id = context.run.run_id if context.run is not None else ""
        with resource_boundary():
            url = database_url(settings)
        with run_lease.held_lease(url, run_id):
            connected = open_database(settings, Actor(_actor(context), run_id, code_version()))
            try:
                with resource_boundary():
                    access.of_run(settings, connected, context.run)
                    begin_run(settings, connected, context.run, context.instance)
                yield connected
                end_run(settings, connected, context.run, context.log)
            finally:
                connected.dispose()

    @dg.resource(required_resource_keys={"database"}, description="Encrypts and opens personal data.")
    def vault(context: dg.InitResourceContext) -> Vault:
        opened: Database = context.resources.database
        with resource_boundary():
            return admitted_vault(settings, opened)

    @dg.resource(description="The folders of batches.")
    def batch_files(_: dg.InitResourceContext) -> BatchFiles:
        return open_batch_files(settings)

    @dg.resource(description="The payment and the notification service.")
    def services(_: dg.InitResourceContext) -> Services:
        with resource_boundary():
            return make_services(settings)

    @dg.resource(description="Who may do what.")
    def roles_in_force(_: dg.InitResourceContext) -> access.Access:
        with resource_boundary():
            return access.load(settings)

    return {
        "database": database,
        "vault": vault,
        "batch_files": batch_files,
        "services": services,
        "effect_limits": effect_limits(settings),
        "reading_limits": reading_limits(settings),
        "client_profiles": client_profiles(settings),
        "access": roles_in_force,
    }


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


def keeping(settings: Settings, at: datetime) -> Keeping:
    """What retention works with, at this moment.

    Raises:
        KeyRefused: the key that signs is none.
    """
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


def open_batch_files(settings: Settings) -> BatchFiles:
    """The folders, made where they are missing."""
    files = BatchFiles(settings.home.absolute(), settings.watched_dir.absolute())
    files.prepare()
    return files


def make_services(settings: Settings) -> Services:
    """Both services with their profiles.

    Raises:
        SettingRefused: an address is missing, or a profile cannot be read.
    """
    payments_url, notifications_url = settings.payment_service_url, settings.notification_service_url
    if payments_url is None:
        raise SettingRefused("SYS-SETTING-MISSING", variable="PAYMENT_SERVICE_URL")
    if notifications_url is None:
        raise SettingRefused("SYS-SETTING-MISSING", variable="NOTIFICATION_SERVICE_URL")
    profiles = make_profiles(settings)
    return Services(
        PaymentService(payments_url, profiles[EffectKind.PAYMENT], settings.payment_timeout_seconds),
        NotificationService(
            notifications_url, profiles[EffectKind.NOTIFICATION], settings.notification_timeout_seconds
        ),
    )


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


def effect_limits(settings: Settings) -> EffectLimits:
    """How much is done at once, and how often before a person is asked."""
    patience = Patience(max_attempts=settings.max_attempts)
    return EffectLimits(
        payments=LaneLimits(settings.payment_concurrency, settings.claim_chunk, patience),
        notifications=LaneLimits(settings.notification_concurrency, settings.claim_chunk, patience),
        cooldown_seconds=settings.pause_seconds,
        guards=guard_limits(settings),
    )


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


def _actor(context: dg.InitResourceContext) -> str:
    tags = context.run.tags if context.run is not None else {}
    sensor, schedule = tags.get("dagster/sensor_name"), tags.get("dagster/schedule_name")
    by_itself = f"sensor:{sensor}" if sensor else f"schedule:{schedule}" if schedule else "dagster"
    return tags.get("launched_by") or by_itself
