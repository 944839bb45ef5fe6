"""Our own PostgreSQL 18 on this machine: made on first use, started, found again and stopped.

Everything lies under ``<home>/postgres``: ``data``, ``password`` (mode 0600), ``server.json`` (port and process of the
last start) and, when root's unprivileged user cannot reach the home, ``location`` with the path of the directory that
holds the data instead. TCP on 127.0.0.1 with SCRAM, no Unix socket, checksums and fsync on.
Whether the server runs is decided by a real connection, never by a process id alone.
Who may start and stop it when several commands use it: ``resources/local/shared_process.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from domain.errors import PortTaken, TerminalError
from resources.database import roles
from resources.local import children, postgres_programs
from resources.local.files import write_private

DATABASE = "bulk_orders"
ROLE = "bulk_orders"
PORT_SETTING = "BULK_ORDERS_POSTGRES_PORT"
START_SECONDS = 120.0  # crash recovery of a large database included
STOP_SECONDS = 30.0
_RETRY_SECONDS = 15.0  # the last processes of a killed server let go of its shared memory within this time

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",  # every process keeps a few, of ours and of Dagster
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "client_connection_check_interval": "1s",  # a query whose client is gone ends
    "tcp_keepalives_idle": "15",  # a lease of a vanished client ends
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # No customer's value in the server's log. An error's own words may hold one (invalid input syntax for ... "..."),
    # so errors are not logged here at all: what they mean to us is logged by us, with code and SQLSTATE.
    "log_min_messages": "log",
    "log_statement": "none",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


class PostgresServer:
    """One database server, known by its ``home``.

    Args:
        home: the installation's folder; made when missing.
        port: a fixed port, or 0 for the last used or any free one.
        log: its log file; default ``<home>/logs/postgres.log``.
        settings: server settings on top of ``SETTINGS`` (tests).
    """

    def __init__(
        self, home: Path, port: int = 0, log: Path | None = None, settings: dict[str, str] | None = None
    ) -> None:
        self.home = home.absolute()
        self._fixed_port = port
        self._log = log or self.home / "logs" / "postgres.log"
        self._settings = SETTINGS | (settings or {})
        self._folder = self.home / "postgres"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Where the data directory is, or will be when nothing was made yet."""
        location = self._folder / "location"
        place = Path(location.read_text(encoding="utf-8").strip()) if location.exists() else self._folder
        return place / "data"

    @property
    def port(self) -> int:
        """The port of the last start; 0 when it never started."""
        return int(self._state().get("port", 0))

    @property
    def pid(self) -> int:
        """The process of the last start; 0 when it never started."""
        return int(self._state().get("pid", 0))

    def url(self, database: str = DATABASE) -> str:
        """``postgresql://`` address of a database, with the password in it: never print it."""
        return f"postgresql://{ROLE}:{self._password()}@127.0.0.1:{self.port}/{database}"

    def application_url(self, database: str = DATABASE) -> str:
        """The same as the login of the application, which is made where it is missing; the server runs.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        kept = self._folder / "application-password"
        if not kept.exists():
            write_private(kept, roles.new_password() + "\n")
        password = kept.read_text(encoding="utf-8").strip()
        url = f"postgresql://{roles.APPLICATION_LOGIN}:{password}@127.0.0.1:{self.port}/{database}"
        if not roles.can_log_in(url):
            roles.make_application_login(self.url(database), password)
        return url

    def is_running(self) -> bool:
        """Whether a server answers on our port, takes our password and serves our data directory."""
        if not self.port or not (self._folder / "password").exists():
            return False
        try:
            with self._connect() as connection:
                row = connection.execute("SHOW data_directory").fetchone()
        except psycopg.Error:
            return False
        return row is not None and Path(row[0]).resolve() == self.data.resolve()  # by whatever way either came there

    def start(self, *, ends_with_us: bool = False) -> None:
        """Make what is missing and start the server; returns when it takes connections. Running already is fine.

        ``ends_with_us``: the kernel stops it when the calling process dies (tests, on Linux).

        Raises:
            TerminalError: SYS-POSTGRES-FAILED with the name of the log file.
            PortTaken: the port of the setting is in use by somebody else.
        """
        try:
            self._start(ends_with_us)
        except postgres_programs.CannotRun as reason:
            with children.open_log(self._log) as log:
                log.write(f"{reason}\n".encode())
            raise self._failed() from None

    def start_again(self) -> None:
        """The same on the port of the last start: whoever uses it knows no other.

        Raises:
            PortTaken: it is in use by somebody else.
        """
        self._fixed_port = self._fixed_port or self.port
        self.start()

    def _start(self, ends_with_us: bool) -> None:
        self._prepare()
        if self.is_running() or self._somebody_starts_it():
            return
        run_as = postgres_programs.server_user(self.data)
        bin_directory = postgres_programs.programs(run_as, self.data.parent / "programs")
        if not (self.data / "PG_VERSION").exists():
            self._initialise(bin_directory, run_as)
        self._launch(bin_directory, run_as, ends_with_us)
        self._create_database()

    def stop(self) -> None:
        """End it: open connections are closed, everything is written down. Not running is fine."""
        pid, started = self.pid, str(self._state().get("started", ""))
        if self._child is not None and self._child.pid == pid:
            self._stop_child(self._child)
        elif pid:
            children.end(pid, started, first=signal.SIGINT, grace_seconds=STOP_SECONDS, last=signal.SIGQUIT)
            self._collect()

    def _collect(self) -> None:
        """Let the system forget our child that has ended: its id stays in use until somebody asks."""
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(_RETRY_SECONDS)
            self._child = None

    def _stop_child(self, child: subprocess.Popen[bytes]) -> None:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if child.poll() is None:
                child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS)
                break
        self._child = None

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._folder / "location").exists() and not self.data.exists():
            run_as = postgres_programs.server_user(self.data)
            if not postgres_programs.can_enter(self._folder, run_as):
                write_private(self._folder / "location", f"{postgres_programs.private_place(self.home)}\n")
        if not (self._folder / "password").exists():
            if self.data.exists():
                raise self._failed()  # a cluster whose password is lost: nothing to be made up here
            write_private(self._folder / "password", secrets.token_urlsafe(24) + "\n")

    def _initialise(self, bin_directory: Path, run_as: children.RunAs | None) -> None:
        """initdb beside the final place and renamed when complete, so that a kill leaves nothing half made."""
        half = self.data.with_name("data.new")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        password_file = half.with_name("initial-password")
        write_private(password_file, self._password() + "\n")
        for path in (half, password_file):
            postgres_programs.give(path, run_as)
        command = [str(bin_directory / "initdb"), "-D", str(half), "-U", ROLE, f"--pwfile={password_file}"]
        command += ["--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--no-instructions"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        # Our password has 192 random bits: hashing it 4,096 times protects nothing and costs each connection 5 ms of
        # CPU on both sides, and Dagster connects for every event.
        command += ["--set", "scram_iterations=1"]
        try:
            done = children.spawn(command, log=self._log, environment=_server_environment(), run_as=run_as).wait()
        finally:
            password_file.unlink(missing_ok=True)
        if done != 0:
            raise self._failed()
        half.rename(self.data)

    def _launch(self, bin_directory: Path, run_as: children.RunAs | None, ends_with_us: bool) -> None:
        deadline = time.monotonic() + _RETRY_SECONDS
        self._collect()
        while True:
            port = self._choose_port()
            self._forget_reused_pid()
            command = [str(bin_directory / "postgres"), "-D", str(self.data), "-c", f"port={port}"]
            for name, value in self._settings.items():
                command += ["-c", f"{name}={value}"]
            child = children.spawn(
                command,
                log=self._log,
                environment=_server_environment(),
                run_as=run_as,
                ends_with_us=signal.SIGQUIT if ends_with_us else 0,
            )
            state = {"port": port, "pid": child.pid, "started": children.start_time(child.pid)}
            try:
                write_private(self._folder / "server.json", json.dumps(state))
            except OSError:  # a full disk: nobody would find this one again
                child.send_signal(signal.SIGQUIT)
                child.wait()
                raise
            if self._becomes_ready(child):
                self._child = child
                return
            if time.monotonic() >= deadline:
                raise self._failed()
            time.sleep(0.2)

    def _becomes_ready(self, child: subprocess.Popen[bytes]) -> bool:
        """True when it takes connections; False when it ended by itself."""
        if children.wait_until(lambda: child.poll() is not None or self.is_running(), START_SECONDS):
            return child.poll() is None
        child.send_signal(signal.SIGQUIT)
        child.wait()
        raise self._failed()

    def _create_database(self) -> None:
        with self._connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _somebody_starts_it(self) -> bool:
        """A live server of our data directory which does not answer yet (recovery, start by a killed parent): wait."""
        pid = self._postmaster_pid()
        if not pid or not self._serves_our_data(pid):
            return False
        if children.wait_until(lambda: self.is_running() or not self._serves_our_data(pid), START_SECONDS, 0.1):
            return self.is_running()
        raise self._failed()

    def _forget_reused_pid(self) -> None:
        """Remove a pid file that would keep PostgreSQL from starting for ever.

        It names a process that exists but is none of ours: the id was reused, or the dead server was never collected
        (containers without an init). PostgreSQL itself handles an id that does not exist.
        """
        pid = self._postmaster_pid()
        if pid and children.exists(pid) and not any(map(self._serves_our_data, children.all_processes())):
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _postmaster_pid(self) -> int:
        with contextlib.suppress(OSError, ValueError, IndexError):
            return abs(int((self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]))
        return 0

    def _serves_our_data(self, pid: int) -> bool:
        if children.start_time(pid) is None:
            return False
        if Path("/proc/self").is_dir():
            with contextlib.suppress(OSError):
                return Path(f"/proc/{pid}/cwd").readlink() == self.data.resolve()
            return False
        return str(self.data) in children.command_line(pid)

    def _choose_port(self) -> int:
        if self._fixed_port:
            if not is_free(self._fixed_port):
                raise PortTaken("SYS-PORT-TAKEN", port=self._fixed_port, setting=PORT_SETTING)
            return self._fixed_port
        return self.port if self.port and is_free(self.port) else free_port()

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=3)

    def _password(self) -> str:
        return (self._folder / "password").read_text(encoding="utf-8").strip()

    def _state(self) -> dict[str, Any]:
        try:
            found = json.loads((self._folder / "server.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _failed(self) -> TerminalError:
        return TerminalError("SYS-POSTGRES-FAILED", log=str(self._log))


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether we could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _server_environment() -> dict[str, str]:
    """Nothing of ours: PG* variables of a person's shell must not change this server."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
