"""With what: the resources of the definitions, made from the settings when a run needs them and not before.

Plain objects, not configuration: Dagster shows configuration in its UI, and a database address holds a password.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets.boundary import resource_boundary
from assets.effects.lane import LaneLimits
from assets.effects.work import EffectLimits, Services
from assets.validated_csv.limits import ReadingLimits
from domain.errors import SettingRefused
from domain.outcomes import Patience
from domain.profiles import load_profile
from domain.states import EffectKind
from orchestration.settings import Settings
from orchestration.version import code_version
from resources.batch_files import BatchFiles
from resources.client_profiles import ClientProfiles
from resources.database import keys, run_lease
from resources.database.connection import Actor
from resources.database.database import Database
from resources.encryption import Vault, make_key_file, open_vault
from resources.services.notifications import NotificationService
from resources.services.payments import PaymentService

_STORAGE_TIMEOUT_MS = 60_000
_STORAGE_RECYCLE_SECONDS = 3600
_STORAGE_CONNECTIONS = 10


def make_resources(settings: Settings) -> Mapping[str, Any]:
    """Dagster's resources by the names the assets ask for."""

    @dg.resource(description="The business database, in the name of this run; holds the run's lease.")
    def database(context: dg.InitResourceContext) -> Iterator[Database]:
        run_id = context.run.run_id if context.run is not None else ""
        with resource_boundary():
            url = database_url(settings)
        if context.instance is not None:
            _keep_connections(context.instance)
        with run_lease.held_lease(url, run_id):
            connected = open_database(settings, Actor(_actor(context), run_id, code_version()))
            try:
                yield connected
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

    return {
        "database": database,
        "vault": vault,
        "batch_files": batch_files,
        "services": services,
        "effect_limits": effect_limits(settings),
        "reading_limits": reading_limits(settings),
        "client_profiles": client_profiles(settings),
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


def admitted_vault(settings: Settings, database: Database) -> Vault:
    """The vault of this installation. The key file is made at the very first start, and never again.

    Raises:
        KeyRefused: the key is missing although data were written with one, or it is another.
    """
    key_file = settings.home / "keys" / "personal-data.key"
    with database.begin() as tx:
        if settings.encryption_key is None and not key_file.exists() and not keys.any_known(tx):
            make_key_file(key_file)
        vault = open_vault(settings.encryption_key, key_file)
        keys.admit(tx, vault)
    return vault


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
    payment_profile = load_profile(EffectKind.PAYMENT, settings.payment_profile)
    notification_profile = load_profile(EffectKind.NOTIFICATION, settings.notification_profile)
    return Services(
        PaymentService(payments_url, payment_profile, settings.payment_timeout_seconds),
        NotificationService(notifications_url, notification_profile, settings.notification_timeout_seconds),
    )


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
    )


def _keep_connections(instance: dg.DagsterInstance) -> None:
    """Let this run's process keep its connections to Dagster's storage, as the web server does.

    Otherwise each of some 250 statements of a run connects anew: 1.6 of 4.4 seconds of a 100-row batch, measured.
    """
    instance.optimize_for_webserver(
        statement_timeout=_STORAGE_TIMEOUT_MS, pool_recycle=_STORAGE_RECYCLE_SECONDS, max_overflow=_STORAGE_CONNECTIONS
    )


def _actor(context: dg.InitResourceContext) -> str:
    tags = context.run.tags if context.run is not None else {}
    sensor = tags.get("dagster/sensor_name")
    return tags.get("launched_by") or (f"sensor:{sensor}" if sensor else "dagster")
