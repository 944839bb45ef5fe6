"""What all tests share: a real PostgreSQL, a fresh database each, and the sandbox services as real processes.

Every server started here ends with pytest, even when pytest is killed (Linux).
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg
import pytest

from resources.local import children
from resources.local.postgres_server import PostgresServer
from resources.local.sandbox_service import SandboxService
from tests.folders import open_folder

# How quickly examples are made and run is the machine's affair, and it is shared.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")

_TEMPLATE = "test_template"
_DAGSTER_TEMPLATE = "test_template_dagster"
_numbers = itertools.count(1)
_LONG_FOLDERS = ("e2e", "crash")
_LONG_SECONDS = 400  # whole systems are started there; elsewhere the everyday limit holds


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with few and long tests first, so that no process is left alone with them; and more time for each."""
    for item in items:
        if item.path.parent.name in _LONG_FOLDERS and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_LONG_SECONDS))
    items.sort(key=lambda item: item.path.parent.name not in _LONG_FOLDERS)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for BULK_ORDERS_HOME that an unprivileged database user may enter (pytest's own is closed to others)."""
    with open_folder("bulk orders ü ") as folder:
        yield folder / "home"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the session."""
    with open_folder("bulk-orders-test-") as folder:
        server = PostgresServer(folder)
        server.start(ends_with_us=True)
        yield server
        server.stop()


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new database without any table."""
    with _database(postgres_server, "template1") as url:
        yield url


@pytest.fixture
def database_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """A new database with all migrations applied, copied from the session's template in milliseconds."""
    with _database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture
def dagster_database_url(postgres_server: PostgresServer, dagster_template: str) -> Iterator[str]:
    """The same with Dagster's tables, which are many: only for tests that use Dagster's storage."""
    with _database(postgres_server, dagster_template) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of the template database; nobody stays connected to it."""
    from resources.database import migrate

    _administer(postgres_server, f"CREATE DATABASE {_TEMPLATE}")
    migrate.upgrade(postgres_server.url(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="session")
def dagster_template(
    postgres_server: PostgresServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The same with Dagster's tables."""
    _administer(postgres_server, f"CREATE DATABASE {_DAGSTER_TEMPLATE} TEMPLATE {migrated_template}")
    _make_dagster_tables(postgres_server.url(_DAGSTER_TEMPLATE), tmp_path_factory.mktemp("dagster"))
    return _DAGSTER_TEMPLATE


def _make_dagster_tables(url: str, folder: Path) -> None:
    """In a process of its own: Dagster keeps its instance for as long as the process lives."""
    from orchestration import dagster_home

    dagster_home.write_instance(folder, 1)
    dagster_home.make_schema(url)
    program = "import dagster; dagster.DagsterInstance.get().dispose()"
    environment = children.python_environment(dagster_home.environment(folder, url, {}))
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, timeout=60)


@dataclass(frozen=True)
class Sandbox:
    """The two services of one test, each with a ledger of its own."""

    payments: SandboxService
    notifications: SandboxService


StartSandbox = Callable[..., Sandbox]


@pytest.fixture
def sandbox_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartSandbox]:
    """``sandbox_services(payments=[...], notifications=[...])`` starts both, with options of ``python -m sandbox``."""
    started: list[SandboxService] = []

    def start(payments: list[str] | None = None, notifications: list[str] | None = None) -> Sandbox:
        folder = tmp_path_factory.mktemp("sandbox")
        services = Sandbox(
            SandboxService(folder, "payments", options=payments or []),
            SandboxService(folder, "notifications", options=notifications or []),
        )
        for service in (services.payments, services.notifications):
            started.append(service)
            service.start(ends_with_us=True)
        return services

    yield start
    for service in started:
        service.stop()


@contextmanager
def _database(server: PostgresServer, template: str) -> Iterator[str]:
    """A database that lives as long as one test."""
    name = f"test_{next(_numbers)}"
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield server.url(name)
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server: PostgresServer, statement: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(statement.encode())
