"""The servers that the pipeline talks to, for one command on this machine: those given by settings, or our own.

Without ``DATABASE_URL`` our own PostgreSQL is used, without a service's address its part of the sandbox. Several
commands at once use the same ones; the last to end stops them. A database is migrated before anybody uses it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import TerminalError
from orchestration import dagster_home
from orchestration.settings import Settings
from resources.local.postgres_server import PostgresServer
from resources.local.sandbox_service import Kind, SandboxService
from resources.local.shared_process import Server, Share


@dataclass(frozen=True, slots=True)
class LocalServices:
    """Addresses of everything, and what this command shares of it. ``repr`` shows no password."""

    home: Path
    database_url: str = field(repr=False)
    payment_service_url: str
    notification_service_url: str
    own: Mapping[str, Share] = field(repr=False)
    """Our own servers among them, by name."""

    def environment(self) -> dict[str, str]:
        """The variables for Dagster's processes; for this process, set them before ``DagsterInstance.get()``."""
        services = {
            "BULK_ORDERS_HOME": str(self.home),
            "PAYMENT_SERVICE_URL": self.payment_service_url,
            "NOTIFICATION_SERVICE_URL": self.notification_service_url,
        }
        return dagster_home.environment(self.home / "dagster", self.database_url, services)


@contextmanager
def local_services(settings: Settings, report: Callable[[str], None] = lambda _: None) -> Iterator[LocalServices]:
    """Everything runs inside, migrated and ready.

    ``report`` is told what is being started, in a few words.

    Raises:
        TerminalError: our own PostgreSQL does not start.
        PortTaken: a port of the settings is in use.
        DatabaseUnavailable, SettingRefused: the given database does not answer, or cannot be used.
        ServiceUnavailable: a part of the sandbox does not start.
    """
    home = settings.home.absolute()
    own: dict[str, Share] = {}
    with ExitStack() as held:
        # Entered first, left last: whoever works with the database ends before it does.
        database_url = database(settings, held, own, report)
        _prepare(database_url)
        urls = {
            "payments": settings.payment_service_url,
            "notifications": settings.notification_service_url,
        }
        kinds: tuple[Kind, Kind] = ("payments", "notifications")
        for kind in kinds:
            if urls[kind] is None:
                service = SandboxService(home, kind)
                own[f"sandbox-{kind}"] = _share(held, home, f"sandbox-{kind}", service, report)
                urls[kind] = service.url
        dagster_home.write_instance(home / "dagster", settings.max_concurrent_batches)
        yield LocalServices(home, database_url, str(urls["payments"]), str(urls["notifications"]), own)


def database(
    settings: Settings,
    held: ExitStack,
    own: dict[str, Share] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> str:
    """The address of the database of these settings; our own server runs as long as ``held`` is open."""
    home = settings.home.absolute()
    make_home(home)
    if settings.database_url is not None:
        return settings.database_url
    server = PostgresServer(home, settings.postgres_port)
    share = _share(held, home, "postgres", server, report)
    if own is not None:
        own["postgres"] = share
    return server.url()


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


def _share(held: ExitStack, home: Path, name: str, server: Server, report: Callable[[str], None]) -> Share:
    report(name)
    share = Share(server, home / "locks", name)
    held.enter_context(share.held())
    return share


def _prepare(database_url: str) -> None:
    from resources.database import migrate  # alembic takes a moment to import; --help should not wait for it

    migrate.upgrade(database_url)
    dagster_home.make_schema(database_url)
