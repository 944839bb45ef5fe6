"""With what: the resources of the definitions, made from the settings when a run needs them and not before.

Plain objects, not configuration: Dagster shows configuration in its UI, and a database address holds a password.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import dagster as dg

from assets.boundary import resource_boundary
from assets.effects.lane import LaneLimits
from assets.effects.work import EffectLimits, Services
from domain.errors import SettingRefused
from domain.outcomes import Patience
from domain.states import EffectKind
from orchestration import access
from orchestration.bindings import (
    admitted_vault,
    client_profiles,
    database_url,
    guard_limits,
    make_profiles,
    open_batch_files,
    open_database,
    reading_limits,
)
from orchestration.settings import Settings
from orchestration.trail_of_runs import begin_run, end_run
from orchestration.version import code_version
from resources.batch_files import BatchFiles
from resources.database import run_lease
from resources.database.connection import Actor
from resources.database.database import Database
from resources.encryption import Vault
from resources.services.notifications import NotificationService
from resources.services.payments import PaymentService


def make_resources(settings: Settings) -> Mapping[str, Any]:
    """Dagster's resources by the names the assets ask for."""

    @dg.resource(description="The business database, in the name of this run; holds the run's lease.")
    def database(context: dg.InitResourceContext) -> Iterator[Database]:
        run_id = context.run.run_id if context.run is not None else ""
        ending = threading.Event()
        with ExitStack() as held:
            with resource_boundary():
                url = database_url(settings)
                held.enter_context(run_lease.held_lease(url, run_id, _stop_when_over(context, run_id, ending)))
                connected = open_database(settings, Actor(_actor(context), run_id, code_version()))
                held.callback(connected.dispose)
                access.of_run(settings, connected, context.run)
                begin_run(settings, connected, context.run, context.instance)
            yield connected
            ending.set()
            end_run(settings, connected, context.run, context.log)

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
            return _services(settings)

    @dg.resource(description="Who may do what.")
    def roles_in_force(_: dg.InitResourceContext) -> access.Access:
        with resource_boundary():
            return access.load(settings)

    return {
        "database": database,
        "vault": vault,
        "batch_files": batch_files,
        "services": services,
        "effect_limits": _effect_limits(settings),
        "reading_limits": reading_limits(settings),
        "client_profiles": client_profiles(settings),
        "access": roles_in_force,
    }


def _stop_when_over(context: dg.InitResourceContext, run_id: str, ending: threading.Event) -> Callable[[], None]:
    """To be called again and again: interrupts this process when Dagster has called its run over, twice seen.

    A worker that outlived the code server by which it was started hears of it in no other way, and would go on paying.
    Seen once, it may be our own end, of which Dagster is told before the resources are.
    """
    instance, seen = context.instance, 0

    def look() -> None:
        nonlocal seen
        if ending.is_set() or instance is None or not run_id:
            return
        with suppress(Exception):  # Dagster's storage cannot be asked now
            run = instance.get_run_by_id(run_id)
            seen = seen + 1 if run is not None and run.status in _OVER else 0
            if seen == _LOOKS_UNTIL_OVER:
                os.kill(os.getpid(), signal.SIGINT)

    return look


_OVER = (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)
_LOOKS_UNTIL_OVER = 2


def _services(settings: Settings) -> Services:
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
        PaymentService(
            payments_url,
            profiles[EffectKind.PAYMENT],
            settings.payment_timeout_seconds,
            settings.payment_service_name,
        ),
        NotificationService(
            notifications_url,
            profiles[EffectKind.NOTIFICATION],
            settings.notification_timeout_seconds,
            settings.notification_service_name,
        ),
    )


def _effect_limits(settings: Settings) -> EffectLimits:
    """How much is done at once, and how often before a person is asked."""
    patience = Patience(max_attempts=settings.max_attempts)
    return EffectLimits(
        payments=LaneLimits(settings.payment_concurrency, settings.claim_chunk, patience),
        notifications=LaneLimits(settings.notification_concurrency, settings.claim_chunk, patience),
        cooldown_seconds=settings.pause_seconds,
        guards=guard_limits(settings),
    )


def _actor(context: dg.InitResourceContext) -> str:
    tags = context.run.tags if context.run is not None else {}
    sensor, schedule = tags.get("dagster/sensor_name"), tags.get("dagster/schedule_name")
    by_itself = f"sensor:{sensor}" if sensor else f"schedule:{schedule}" if schedule else "dagster"
    return tags.get("launched_by") or by_itself
