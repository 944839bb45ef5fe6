"""The sandbox tells of its payments, with a signing code of its own: an independent witness of docs/webhook.md."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from assets.batch_report.work import close_batch
from assets.effects.work import Services
from domain.errors import BatchPaused
from resources.local import children
from tests.conftest import StartSandbox
from tests.integration.batches import Installation, limits, order_row, services, work_through
from tests.integration.webhook import SECRET, inbox, listening


def tries(ledger: Path) -> list[tuple[Any, ...]]:
    """Event, type, order and answer of every try, as the service saw it."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        return connection.execute("select event_id, type, order_id, http_status from event_tries").fetchall()


@pytest.mark.parametrize("profile", ["legacy", "neither"])
def test_a_batch_is_paid_once_while_the_service_tells_of_it_badly(
    installation: Installation,
    sandbox_services: StartSandbox,
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
) -> None:
    """Events late, twice, overtaken and lost, beside answers that are lost too: three books, one truth."""
    monkeypatch.setenv("PAYMENT_WEBHOOK_SECRET", SECRET)
    with listening(installation) as hook:
        faults = ["reset_after=0.2", "error_500_after=0.1", "error_500_before=0.1", "timeout_after=0.05"]
        options = ["--profile", profile, "--webhook-url", hook.url, "--latency", "0.1", "--seed", "7"]
        options += ["--hang-seconds", "3", *(word for fault in faults for word in ("--fault", fault))]
        settings = {
            "duplicates": 0.3,
            "out_of_order": 0.3,
            "hold_seconds": 0.5,
            "drop": 0.0 if profile == "neither" else 0.2,
        }
        options += [word for name, value in settings.items() for word in ("--set", f"webhook_{name}={value}")]
        running = sandbox_services(payments=options, notifications=["--notification-rate", "0"])
        look_up = {"look_up": "none"} if profile == "neither" else {}
        of = services(running.payments.url, running.notifications.url, payments=look_up, timeout_seconds=2.0)
        batch = installation.ordered([order_row(amount="1500") for _ in range(60)])
        for _ in range(3):
            _work_to_the_end(installation, batch, of)
            close_batch(installation.database, batch)
        charged = _charges(running.payments.ledger)
        assert children.wait_until(lambda: _done(installation, batch) == set(charged), 20)
        _work_to_the_end(installation, batch, of)

    assert set(charged.values()) == {1}
    states = {order: state for order, (state, _) in installation.states("payments", batch).items()}
    assert {order for order, state in states.items() if state == "done"} == set(charged)
    assert {state for order, state in states.items() if order not in charged} <= {"review"}
    mails = installation.states("notifications", batch)
    assert {order for order, (state, _) in mails.items() if state == "done"} == set(charged)
    told = tries(running.payments.ledger)
    assert {status for *_, status in told if status is not None} == {200}
    assert len({event_id for event_id, *_ in told}) < len(told)  # some came twice
    assert "alarm" not in {outcome for order in states for outcome, _ in inbox(installation, order)}


def _work_to_the_end(installation: Installation, batch: str, of: Services) -> None:
    """As the sensor does: a service that fails so often is left alone now and then, and the batch goes on."""
    for _ in range(20):
        try:
            return work_through(installation, batch, of, limits(concurrency=10, cooldown_seconds=0.3))
        except BatchPaused:
            time.sleep(0.4)
    raise AssertionError("the batch pauses for ever")


def _charges(ledger: Path) -> dict[int, int]:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("select order_id, count(*) from charges group by 1").fetchall())


def _done(installation: Installation, batch: str) -> set[int]:
    return {order for order, (state, _) in installation.states("payments", batch).items() if state == "done"}


def test_the_sandbox_says_nothing_without_a_secret(
    installation: Installation, sandbox_services: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be signed is not sent."""
    monkeypatch.delenv("PAYMENT_WEBHOOK_SECRET", raising=False)
    with listening(installation) as hook:
        running = sandbox_services(payments=["--webhook-url", hook.url], notifications=["--notification-rate", "0"])
        batch = installation.ordered(1)
        work_through(installation, batch, services(running.payments.url, running.notifications.url))

    assert tries(running.payments.ledger) == []


def test_the_secret_of_the_sandbox_shows_nowhere(
    installation: Installation, sandbox_services: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    import httpx

    monkeypatch.setenv("PAYMENT_WEBHOOK_SECRET", SECRET)
    running = sandbox_services(payments=["--webhook-url", "http://127.0.0.1:9/x"])
    shown = httpx.get(f"{running.payments.url}/_sandbox/behaviour", trust_env=False).text

    assert "webhook_url" in shown
    assert SECRET not in shown + children.command_line(running.payments.pid)
