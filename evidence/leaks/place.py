"""Where the campaign happens: `bulk-orders up` with everything that belongs to it, two services that echo, a watch."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import psycopg

from evidence.leaks import sinks
from evidence.leaks.canaries import Flock
from evidence.leaks.echo import Echo
from evidence.leaks.sinks import Piece
from evidence.leaks.watch import Watch
from orchestration.cli.main import run as run_command
from orchestration.stack import running_stack
from resources.local.postgres_server import PostgresServer, free_port

_REPOSITORY = Path(__file__).resolve().parents[2]
_START_SECONDS = 120.0
_STOP_SECONDS = 120.0
_PROFILE = """settle_seconds = 0.3
second_look_seconds = 0.2
look_up = "by_order"
rate_per_second = 0
plain_not_found_means_absent = true
"""


class Place:
    """One installation that runs, from ``with`` to its end."""

    def __init__(self, flock: Flock) -> None:
        self.flock = flock
        self.began = time.time()
        self.folder = Path(tempfile.mkdtemp(prefix="bulk-orders-leaks-"))
        self.folder.chmod(0o711)  # run by root, the database works as another user inside of it
        self.home, self.temporary = self.folder / "home", self.folder / "tmp"
        self.temporary.mkdir(mode=0o1777)
        self.temporary.chmod(0o1777)
        self.secret = secrets.token_urlsafe(32)
        self.said: list[Piece] = []
        self._stack = contextlib.ExitStack()
        self.server = PostgresServer(self.home)

    def __enter__(self) -> Place:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._stack.close()

    def _start(self) -> None:
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.payments = self._stack.enter_context(Echo("payments", self.flock))
        self.notifications = self._stack.enter_context(Echo("notifications", self.flock))
        profile = self.folder / "profile.toml"
        profile.write_text(_PROFILE, encoding="utf-8")
        self.environment = {
            **os.environ,
            "BULK_ORDERS_HOME": str(self.home),
            "BULK_ORDERS_UI_PORT": str(free_port()),
            "BULK_ORDERS_WEBHOOK_PORT": str(free_port()),
            "BULK_ORDERS_FILE_SETTLE_SECONDS": "0.5",
            "BULK_ORDERS_PAUSE_SECONDS": "1",
            "BULK_ORDERS_NEAR_DUPLICATE_DAYS": "0",
            "BULK_ORDERS_AUDIT_UI_PORT": str(free_port()),
            "BULK_ORDERS_PROXY_SECRET": self.secret[::-1],
            "PAYMENT_WEBHOOK_SECRET": self.secret,
            "PAYMENT_SERVICE_URL": self.payments.url,
            "NOTIFICATION_SERVICE_URL": self.notifications.url,
            "PAYMENT_SERVICE_PROFILE": str(profile),
            "NOTIFICATION_SERVICE_PROFILE": str(profile),
            "TMPDIR": str(self.temporary),
        }
        self._output = (self.folder / "up.out").open("w+b")
        self._stack.callback(self._output.close)
        self.up = subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli.main", "up"],
            env=self.environment,
            cwd=_REPOSITORY,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        self._stack.callback(self.stop)
        self.wait_until(lambda: running_stack(self.home) is not None, _START_SECONDS, "nothing runs")
        self.watch = self._stack.enter_context(
            Watch(self.flock, self.temporary, str(self.home), lambda: sinks.activity(self.server.url()))
        )

    @property
    def ui(self) -> str:
        """Dagster's address."""
        return f"http://127.0.0.1:{self.environment['BULK_ORDERS_UI_PORT']}"

    @property
    def audit_ui(self) -> str:
        """The address at which nothing can be changed."""
        return f"http://127.0.0.1:{self.environment['BULK_ORDERS_AUDIT_UI_PORT']}"

    def as_proxied(self, person: str) -> dict[str, str]:
        """What the proxy adds to a request of somebody who is logged in."""
        return {"X-Forwarded-User": person, "X-Bulk-Orders-Proxy": self.environment["BULK_ORDERS_PROXY_SECRET"]}

    @property
    def webhook(self) -> str:
        """Our own endpoint."""
        return f"http://127.0.0.1:{self.environment['BULK_ORDERS_WEBHOOK_PORT']}/api/v1/webhooks/payments"

    def stop(self) -> None:
        """End everything that was started; what it has said is kept."""
        if self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
            try:
                self.up.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.up.kill()
                self.up.wait()

    def drop(self, name: str, octets: bytes, client: str = "leaks") -> None:
        """A file in the import folder, whole at once."""
        folder = self.home / "import" / client
        folder.mkdir(parents=True, exist_ok=True)
        half = folder / f".{name}"
        half.write_bytes(octets)
        half.rename(folder / name)

    def command(self, *words: str | Path, **more: str) -> int:
        """A command of a person in this process, what it prints kept: its arguments are the person's own."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, {**self.environment, **more}), contextlib.redirect_stdout(out):
            with contextlib.redirect_stderr(err):
                code = run_command([str(word) for word in words])
        self.said.append(Piece("output of commands", str(words[0]), (out.getvalue() + err.getvalue()).encode()))
        return code

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """A statement in the database, as its owner."""
        with psycopg.connect(
            self.server.url(), autocommit=True, options="-c search_path=bulk_orders,public"
        ) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def wait_until(self, done: Callable[[], bool], seconds: float, complaint: str) -> None:
        """Until it is so.

        Raises:
            RuntimeError: the complaint, when it is not so in time.
        """
        deadline = time.monotonic() + seconds
        while not _quietly(done):
            if time.monotonic() > deadline or (self.up.poll() is not None):
                said = (self.folder / "up.out").read_text(encoding="utf-8")[-500:]
                raise RuntimeError(f"{complaint}; batches {self.states()}; up: {said}")
            time.sleep(0.2)

    def states(self) -> Mapping[str, int]:
        """How many batches are in which state."""
        with contextlib.suppress(Exception):
            return dict(self.ask("select state, count(*) from batches group by 1"))
        return {}

    def pieces(self, since: float = 0.0) -> Iterator[Piece]:
        """All sinks as they are now; of the files under the home those that were changed since."""
        yield from self.said
        yield from self.payments.pieces()
        yield from self.notifications.pieces()
        yield Piece("output of commands", "up", (self.folder / "up.out").read_bytes())
        yield from sinks.home(self.home, self.server.data, since)
        yield from sinks.folder("temporary files", self.temporary)
        if self.up.poll() is None:
            yield from sinks.tables(self.server.url())
            yield from sinks.activity(self.server.url())
            yield from sinks.dagster(self.ui)


def _quietly(done: Callable[[], bool]) -> bool:
    with contextlib.suppress(psycopg.Error, OSError):
        return done()
    return False
