"""What integration tests share: the sandbox services as real processes, and whole batches (see batches.py)."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.batches import Installation

ROOT = Path(__file__).resolve().parents[2]
_orders = itertools.count(1000)


@dataclass(frozen=True)
class Running:
    """One service that runs: an HTTP client on it, its ledger's file, its process."""

    http: httpx.Client
    ledger: Path
    process: subprocess.Popen[str]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the ledger from outside, as the evidence run does."""
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def behave(self, **patch: object) -> None:
        """Change the behaviour of the running service."""
        assert self.http.post("/_sandbox/behaviour", json=patch).status_code == 200

    def new_order(self) -> int:
        """An order id that no other test uses."""
        return next(_orders)

    def pay(self, order_id: int, amount: float = 1500.0, **headers: str) -> httpx.Response:
        """Ask for a payment."""
        document = {"order_id": order_id, "amount": amount, "currency": "JPY"}
        return self.http.post("/api/v1/payments", json=document, headers=headers)

    def mail(self, order_id: int, to: str = "taro@example.jp", **more: object) -> httpx.Response:
        """Ask for a mail."""
        document = {"order_id": order_id, "to": to, "subject": "ご注文の確認", "body": "ありがとうございます。", **more}
        return self.http.post("/api/v1/notifications/email", json=document)


def spawn(*arguments: object) -> subprocess.Popen[str]:
    """``python -m sandbox`` with these arguments, ended with us."""
    command = [sys.executable, "-m", "sandbox", *map(str, arguments), "--stop-on-stdin-close"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ})


@contextmanager
def running(service: str, ledger: Path, *arguments: object) -> Iterator[Running]:
    """One service, started and listening; ended by SIGTERM if it still runs."""
    process = spawn(f"--{service}-port", 0, "--ledger", ledger, *arguments)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        with httpx.Client(base_url=json.loads(line)[service], timeout=5, trust_env=False) as http:
            yield Running(http, ledger, process)
    finally:
        end(process)


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """End a process and give its exit code."""
    if process.poll() is None:
        process.send_signal(number)
    process.communicate(timeout=10)
    return process.returncode


@pytest.fixture(scope="session")
def start_sandbox() -> Callable[..., Any]:
    """``with start_sandbox("payments", ledger, *options) as service``."""
    return running


@pytest.fixture(scope="session")
def spawn_sandbox() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command as it is and look at what it prints; ended after the tests."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        started.append(spawn(*arguments))
        return started[-1]

    yield start
    for process in started:
        end(process)


@pytest.fixture(scope="session")
def _payments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, object]]]:
    with running("payments", tmp_path_factory.mktemp("payments") / "payments.sqlite") as service:
        yield service, service.http.get("/_sandbox/behaviour").json()


@pytest.fixture(scope="session")
def _notifications(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, object]]]:
    ledger = tmp_path_factory.mktemp("notifications") / "notifications.sqlite"
    with running("notifications", ledger, "--notification-rate", 0) as service:
        yield service, service.http.get("/_sandbox/behaviour").json()


@pytest.fixture
def payments(_payments: tuple[Running, dict[str, object]]) -> Running:
    """A payment service with the legacy contract; take order ids from ``new_order``."""
    service, defaults = _payments
    service.behave(**defaults)
    return service


@pytest.fixture
def notifications(_notifications: tuple[Running, dict[str, object]]) -> Running:
    """A notification service with the legacy contract but no rate limit; take order ids from ``new_order``."""
    service, defaults = _notifications
    service.behave(**defaults)
    return service


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    """A database with all tables, a key and folders, and ways to make batches in it."""
    made = Installation(database_url, tmp_path)
    yield made
    made.database.dispose()
