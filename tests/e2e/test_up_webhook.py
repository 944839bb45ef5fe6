"""`bulk-orders up` with a webhook secret: the sandbox tells of every payment, and the endpoint is kept alive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestration.stack import running_stack
from resources.local import children
from resources.local.postgres_server import PostgresServer, free_port
from tests.integration.batches import csv_bytes, order_row

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to find the process")

SECRET = "e2e-canary-0123456789-0123456789-0123456789"
COMMAND = [sys.executable, "-m", "orchestration.cli.main"]


@contextmanager
def up(environment: dict[str, str], home: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The whole system; what ``up.json`` says of it."""
    with subprocess.Popen([*COMMAND, "up"], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("Ready" in line for line in iter(process.stdout.readline, ""))
            told = running_stack(home)
            assert told is not None
            yield process, told
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=90)


def is_well(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@pytest.mark.timeout(240)
def test_every_payment_is_told_once_and_the_endpoint_comes_back_after_a_kill(home: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = children.python_environment(
        {
            "BULK_ORDERS_HOME": str(home),
            "BULK_ORDERS_UI_PORT": str(free_port()),
            "BULK_ORDERS_WEBHOOK_PORT": str(port),
            "PAYMENT_WEBHOOK_SECRET": SECRET,
        }
    )
    orders = tmp_path / "orders.csv"
    orders.write_bytes(csv_bytes([order_row() for _ in range(12)]))
    health = f"http://127.0.0.1:{port}/health"
    with up(environment, home) as (process, told):
        assert told["webhook_url"] == f"http://127.0.0.1:{port}/api/v1/webhooks/payments"
        imported = subprocess.run(
            [*COMMAND, "import", str(orders), "--json"], env=environment, capture_output=True, text=True, check=False
        )
        assert json.loads(imported.stdout)["payments"]["done"] == 12
        assert children.wait_until(lambda: len(events(home)) == 12, 30, 0.2)
        assert {outcome for outcome, _ in events(home)} <= {"applied", "agreed"}

        [webhook] = [
            pid
            for pid in children.children_of(process.pid)
            if "orchestration.cli.main webhooks" in children.command_line(pid)
        ]
        assert SECRET not in children.command_line(webhook)
        os.kill(webhook, signal.SIGKILL)
        assert children.wait_until(lambda: not is_well(health), 10)
        assert children.wait_until(lambda: is_well(health), 60, 0.2)
    assert not is_well(health)


def events(home: Path) -> list[tuple[str, int]]:
    """Outcome and order of all events that came in."""
    with psycopg.connect(PostgresServer(home).url()) as connection:
        query = "select outcome, order_id from bulk_orders.webhook_inbox"
        return [(row[0], row[1]) for row in connection.execute(query)]


def test_without_a_secret_the_webhook_is_off_and_says_so(home: Path) -> None:
    environment = children.python_environment({"BULK_ORDERS_HOME": str(home), "BULK_ORDERS_LANGUAGE": "en"})
    environment.pop("PAYMENT_WEBHOOK_SECRET", None)
    refused = subprocess.run(
        [*COMMAND, "webhooks"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert refused.returncode == 2
    assert refused.stderr.startswith("SYS-WEBHOOK-OFF: ")
    assert not home.exists()
