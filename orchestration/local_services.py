"""The servers that the pipeline talks to, for one command on this machine: those given by settings, or our own.

Without ``DATABASE_URL`` our own PostgreSQL is used, without a service's address its part of the sandbox. Several
commands at once use the same ones; the last to end stops them. A database is migrated before anybody uses it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from domain import catalogue
from domain.errors import SettingRefused, TerminalError
from domain.profiles import load_profile
from domain.states import EffectKind
from orchestration import dagster_home, parts
from orchestration.settings import Settings
from resources.local.postgres_server import PostgresServer
from resources.local.sandbox_service import Kind, SandboxService
from resources.local.shared_process import Server, Share
from webhooks.address import Address


@dataclass(frozen=True, slots=True)
class LocalServices:
    """The settings with every address filled in, and what this command shares of our own servers, by name."""

    settings: Settings
    own: Mapping[str, Share] = field(repr=False)

    @property
    def home(self) -> Path:
        """The folder of this installation."""
        return self.settings.home

    @property
    def database_url(self) -> str:
        """The database, with its password: never shown."""
        return str(self.settings.database_url)

    @property
    def payment_service_url(self) -> str:
        """The payment service."""
        return str(self.settings.payment_service_url)

    @property
    def notification_service_url(self) -> str:
        """The notification service."""
        return str(self.settings.notification_service_url)

    @property
    def webhook_url(self) -> str:
        """Where the payment service tells us of payments."""
        return _webhook_url(self.settings)

    def environment(self) -> dict[str, str]:
        """The variables for Dagster's processes; for this process, set them before ``DagsterInstance.get()``."""
        return dagster_home.environment(self.home / "dagster", self.database_url, self.settings.as_environment())


@contextmanager
def local_services(settings: Settings, report: Callable[[str], None] = lambda _: None) -> Iterator[LocalServices]:
    """Everything runs inside, migrated and ready.

    ``report`` is told what is being started, and what to be careful of: a line each, in the reader's language.

    Raises:
        SettingRefused: of the two services only one is given.
        TerminalError: our own PostgreSQL does not start.
        PortTaken: a port of the settings is in use.
        DatabaseUnavailable, SettingRefused: the given database does not answer, or cannot be used.
        ServiceUnavailable: a part of the sandbox does not start.
    """
    _refuse_half_a_sandbox(settings)
    home = settings.home.absolute()
    own: dict[str, Share] = {}

    def starting(part: str) -> None:
        report(parts.said("starting", part, settings.language))

    if settings.database_url is not None and settings.payment_service_url is None:
        report(catalogue.words("parts", settings.language)["sandbox_pays"])
    for kind, profile in (
        (EffectKind.PAYMENT, settings.payment_profile),
        (EffectKind.NOTIFICATION, settings.notification_profile),
    ):
        load_profile(kind, profile)  # a wrong one is said now, not by the first run
    with ExitStack() as held:
        # Entered first, left last: whoever works with the database ends before it does.
        complete = replace(
            settings,
            home=home,
            import_dir=settings.watched_dir.absolute(),
            database_url=prepared_database(settings, held, own, starting),
            database_owner_url=None,  # whoever works needs no right to change the schema
            payment_service_url=settings.payment_service_url
            or _sandbox(held, home, "payments", own, starting, _events_to_us(settings)),
            notification_service_url=settings.notification_service_url
            or _sandbox(held, home, "notifications", own, starting),
        )
        dagster_home.write_instance(home / "dagster", settings.max_concurrent_batches)
        yield LocalServices(complete, own)


def _refuse_half_a_sandbox(settings: Settings) -> None:
    """Real mails about payments that nobody made, or the other way round; nor does it pass for one that has a name."""
    given = {
        "PAYMENT_SERVICE_URL": settings.payment_service_url,
        "NOTIFICATION_SERVICE_URL": settings.notification_service_url,
        "PAYMENT_SERVICE_NAME": settings.payment_service_name,
        "NOTIFICATION_SERVICE_NAME": settings.notification_service_name,
    }
    there = [variable for variable, value in given.items() if value is not None]
    missing = [url for url in ("PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL") if url not in there]
    if there and missing:
        raise SettingRefused("SYS-SERVICE-MISSING", given=there[0], missing=missing[0])


def _events_to_us(settings: Settings) -> list[str]:
    """The sandbox tells us of payments when there is a secret to sign with; it reads it from its environment."""
    return [] if settings.payment_webhook_secret is None else ["--webhook-url", _webhook_url(settings)]


def _webhook_url(settings: Settings) -> str:
    return Address("127.0.0.1", settings.webhook_port).url


def _sandbox(
    held: ExitStack,
    home: Path,
    kind: Kind,
    own: dict[str, Share],
    starting: Callable[[str], None],
    options: Sequence[str] = (),
) -> str:
    service = SandboxService(home, kind, options=options)
    own[f"sandbox-{kind}"] = _share(held, home, f"sandbox-{kind}", service, starting)
    return service.url


def database(
    settings: Settings,
    held: ExitStack,
    own: dict[str, Share] | None = None,
    starting: Callable[[str], None] = lambda _: None,
) -> str:
    """The database of these settings, as the owner of its schema; our own server runs as long as ``held`` is open."""
    home = settings.home.absolute()
    make_home(home)
    if settings.database_url is not None:
        return settings.database_owner_url or settings.database_url
    server = PostgresServer(home, settings.postgres_port)
    share = _share(held, home, "postgres", server, starting)
    if own is not None:
        own["postgres"] = share
    return server.url()


def prepared_database(
    settings: Settings,
    held: ExitStack,
    own: dict[str, Share] | None = None,
    starting: Callable[[str], None] = lambda _: None,
) -> str:
    """The same, migrated, as the application: it works with the data, and can alter neither schema nor trail.

    Raises:
        DatabaseUnavailable, SettingRefused: it does not answer, or cannot be used.
        TerminalError, PortTaken: our own server does not start.
    """
    from resources.database import migrate  # alembic takes a moment to import; --help should not wait for it

    owner_url = database(settings, held, own, starting)
    migrate.upgrade(owner_url)
    dagster_home.make_schema(owner_url)
    if settings.database_url is not None:
        return settings.database_url
    return PostgresServer(settings.home.absolute(), settings.postgres_port).application_url()


def make_home(home: Path) -> None:
    """The folder of this installation.

    Raises:
        TerminalError: SYS-FOLDER-NOT-WRITABLE.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        writable = os.access(home, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise TerminalError("SYS-FOLDER-NOT-WRITABLE", variable="BULK_ORDERS_HOME")


def _share(held: ExitStack, home: Path, name: str, server: Server, starting: Callable[[str], None]) -> Share:
    starting(name)
    share = Share(server, home / "locks", name)
    held.enter_context(share.held())
    return share
