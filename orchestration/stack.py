"""The whole system on one machine: database, sandbox, code server, web server and daemon, until told to stop.

``<home>/up.json`` tells other commands where it is; a lock on ``<home>/locks/up`` makes sure there is one.
On the way down the web server and the daemon end first, so that nothing new starts; then the run workers are
interrupted and get time to write down what they know; then the code server, the sandbox and the database.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain import catalogue
from domain.errors import BulkOrdersError, PortTaken, TerminalError
from orchestration import dagster_home, parts
from orchestration.bindings import admitted_vault, open_database
from orchestration.health.loop import watching
from orchestration.local_services import LocalServices, local_services, make_home
from orchestration.settings import Settings
from orchestration.supervisor import Part, Supervisor
from orchestration.version import code_version
from resources.database.connection import Actor
from resources.local import children
from resources.local.files import write_private
from resources.local.postgres_server import free_port, is_free
from webhooks import address as webhook

DEFINITIONS = "orchestration.definitions"
UI_PORT_SETTING = "BULK_ORDERS_UI_PORT"
AUDIT_UI_PORT_SETTING = "BULK_ORDERS_AUDIT_UI_PORT"
RUN_GRACE_SECONDS = 45.0  # longer than one payment call may take: its outcome is still written down
_TEND_SECONDS = 0.2
_LOOK_AT_SERVERS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a person finds the running system."""

    ui_url: str
    import_dir: str
    payment_service_url: str
    notification_service_url: str
    webhook_url: str = ""
    audit_ui_url: str = ""


def keys_fit(settings: Settings) -> None:
    """Nothing, when personal data can be read and written: noticed before anything is begun.

    Raises:
        KeyRefused: a key is missing or is another.
    """
    database = open_database(settings, Actor("up", "", code_version()))
    try:
        admitted_vault(settings, database)
    finally:
        database.dispose()


class Stack:
    """One start of the system.

    Args:
        settings: all settings.
        report: told what happens, one short line each, in the reader's language.
        definitions: the module with Dagster's definitions (tests use a small one).
    """

    def __init__(self, settings: Settings, report: Callable[[str], None], definitions: str = DEFINITIONS) -> None:
        self._settings = settings
        self._report = report
        self._definitions = definitions
        self._home = settings.home.absolute()
        self._told_to_stop = False
        self._supervisor = Supervisor(lambda: self._told_to_stop)

    def stop(self, *_: object) -> None:
        """Ask ``run`` to end; safe in a signal handler."""
        self._told_to_stop = True

    def run(self, ready: Callable[[Addresses], None]) -> None:
        """Start everything, call ``ready`` once, keep it running until ``stop``; on the main thread.

        Raises:
            TerminalError: SYS-ALREADY-RUNNING, or a part that does not start.
            PortTaken: the UI's port is in use.
            BulkOrdersError: what ``local_services`` raises.
        """
        with self._only_one(), self._signals():
            for port, name in self._ports():
                if not is_free(port):
                    raise PortTaken("SYS-PORT-TAKEN", port=port, setting=name)
            self._settings.watched_dir.mkdir(parents=True, exist_ok=True)
            # The watch is left after Dagster has been stopped: nobody misses it then.
            with local_services(self._settings, self._report) as services, contextlib.ExitStack() as watched:
                try:
                    keys_fit(services.settings)
                    self._start(services)
                    if not self._told_to_stop:
                        watched.enter_context(watching(services.settings, self._report))
                        self._announce(services, ready)
                        self._keep(services)
                finally:
                    (self._home / "up.json").unlink(missing_ok=True)
                    self._report(catalogue.words("parts", self._settings.language)["stopping"])
                    self._supervisor.stop()

    def _ports(self) -> Iterator[tuple[int, str]]:
        yield self._settings.ui_port, UI_PORT_SETTING
        if self._settings.audit_ui_port:
            yield self._settings.audit_ui_port, AUDIT_UI_PORT_SETTING
        if self._hears_events:
            yield self._settings.webhook_port, webhook.PORT_SETTING

    def _start(self, services: LocalServices) -> None:
        environment = children.python_environment(services.environment())
        processes = _Processes(self._home, environment)
        port = free_port()
        workspace = dagster_home.write_workspace(self._home / "dagster", port)
        self._say("starting", "dagster")
        first = [processes.code_server(self._definitions, port)]
        if self._hears_events:
            first.append(processes.webhooks(self._settings.webhook_port))
        self._supervisor.start(*first)
        if self._told_to_stop:
            return
        web_server = processes.web_server(workspace, self._settings.ui_port)
        if not dagster_home.has_tables(services.database_url):
            # The first start makes Dagster's tables; two processes at once would get in each other's way.
            self._supervisor.start(web_server)
            self._supervisor.start(processes.daemon(workspace))
        else:
            self._supervisor.start(web_server, processes.daemon(workspace))
        if self._settings.audit_ui_port:
            self._supervisor.start(processes.web_server(workspace, self._settings.audit_ui_port, read_only=True))

    @property
    def _hears_events(self) -> bool:
        """Whether the webhook is on: only with a secret can its events be told from anybody's."""
        return self._settings.payment_webhook_secret is not None

    def _announce(self, services: LocalServices, ready: Callable[[Addresses], None]) -> None:
        addresses = Addresses(
            ui_url=f"http://127.0.0.1:{self._settings.ui_port}",
            import_dir=str(self._settings.watched_dir.absolute()),
            payment_service_url=services.payment_service_url,
            notification_service_url=services.notification_service_url,
            webhook_url=services.webhook_url if self._hears_events else "",
            audit_ui_url=f"http://127.0.0.1:{self._settings.audit_ui_port}" if self._settings.audit_ui_port else "",
        )
        state = {"pid": os.getpid(), "started": children.start_time(os.getpid())}
        told = {name: getattr(addresses, name) for name in addresses.__slots__}
        write_private(self._home / "up.json", json.dumps(state | told, indent=1) + "\n")
        ready(addresses)

    def _keep(self, services: LocalServices) -> None:
        next_look = time.monotonic() + _LOOK_AT_SERVERS_SECONDS
        while not self._told_to_stop:
            time.sleep(_TEND_SECONDS)
            for name in self._supervisor.tend():
                self._say("started_again", name)
            if time.monotonic() > next_look:
                self._look_at_servers(services)
                next_look = time.monotonic() + _LOOK_AT_SERVERS_SECONDS

    def _look_at_servers(self, services: LocalServices) -> None:
        for name, share in services.own.items():
            try:
                if share.revive():
                    self._say("started_again", name)
                    if name == "postgres":  # web servers keep connections, and fail once on each dead one
                        self._supervisor.restart("web-server")
                        if self._settings.audit_ui_port:
                            self._supervisor.restart("audit-web-server")
            except (BulkOrdersError, OSError) as error:  # next time, perhaps: everything else goes on
                self._say("does_not_start", name, why=getattr(error, "code", type(error).__name__))

    def _say(self, what: str, part: str, **facts: str) -> None:
        self._report(parts.said(what, part, self._settings.language, **facts))

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[None]:
        make_home(self._home)
        locks = self._home / "locks"
        locks.mkdir(exist_ok=True)
        lock = os.open(locks / "up", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                there = running_stack(self._home) or {}
                raise TerminalError("SYS-ALREADY-RUNNING", url=str(there.get("ui_url", ""))) from None
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = [signal.signal(number, self.stop) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)


def running_stack(home: Path) -> dict[str, Any] | None:
    """What ``up.json`` says about a stack that runs now; None when none does."""
    try:
        told = json.loads((home / "up.json").read_text(encoding="utf-8"))
        alive = children.is_alive(int(told["pid"]), str(told["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if alive else None


@dataclass(frozen=True, slots=True)
class _Processes:
    """Dagster's processes as this stack runs them."""

    home: Path
    environment: dict[str, str]

    def code_server(self, definitions: str, port: int) -> Part:
        arguments = ["-m", "orchestration.code_server", "--module-name", definitions, "--host", "127.0.0.1"]
        arguments += ["--port", str(port), "--location-name", dagster_home.LOCATION_NAME]
        arguments += ["--working-directory", str(Path(__file__).resolve().parents[1])]
        return self._part("code-server", arguments, lambda: _listens(port), _interrupt_workers)

    def web_server(self, workspace: Path, port: int, *, read_only: bool = False) -> Part:
        """Dagster's UI; ``read_only``: for auditors, nothing can be launched, changed or deleted there."""
        arguments = ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)]
        name, more = ("audit-web-server", ["--read-only"]) if read_only else ("web-server", [])
        return self._part(name, [*arguments, *more], lambda: _answers(f"http://127.0.0.1:{port}/server_info"))

    def daemon(self, workspace: Path) -> Part:
        return self._part("daemon", ["-m", "dagster._daemon", "run", "-w", str(workspace)], lambda: True)

    def webhooks(self, port: int) -> Part:
        arguments = ["-m", "orchestration.cli.main", "webhooks", "--port", str(port)]
        return self._part("webhooks", arguments, lambda: _answers(f"http://127.0.0.1:{port}{webhook.HEALTH_PATH}"))

    def _part(
        self,
        name: str,
        arguments: list[str],
        is_ready: Callable[[], bool],
        before_stop: Callable[[int], None] = lambda _: None,
    ) -> Part:
        log = self.home / "logs" / f"{name}.log"
        return Part(name, [sys.executable, *arguments], log, self.environment, is_ready, before_stop)


def _interrupt_workers(code_server: int) -> None:
    """Interrupt the run workers of a code server and wait: their stages cancel calls and write down outcomes."""
    workers = {pid: children.start_time(pid) for pid in run_workers(code_server)}
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    for pid, started in workers.items():
        if not children.wait_until(lambda p=pid, s=started: not children.is_alive(p, s), RUN_GRACE_SECONDS):  # type: ignore[misc]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for pid in _fork_servers(code_server):
        if started := children.start_time(pid):
            children.end(pid, started, grace_seconds=5.0)


def run_workers(code_server: int) -> list[int]:
    """The processes of the runs that a code server has started: the children of its fork server."""
    return [worker for helper in _fork_servers(code_server) for worker in children.children_of(helper)]


def _fork_servers(code_server: int) -> list[int]:
    return [pid for pid in children.children_of(code_server) if "forkserver" in children.command_line(pid)]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError), opener.open(url, timeout=2):
        return True
    return False
