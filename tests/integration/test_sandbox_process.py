"""The sandbox as a program: its command line, its ports, its end, and a ledger that outlives it."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest


def test_one_command_runs_both_services_and_says_where(spawn_sandbox: Any, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = spawn_sandbox(
        "--payments-port", 0, "--notifications-port", 0, "--ledger", tmp_path / "l.sqlite", "--ready-file", ready,
        "--set", "payments:latency_seconds=0.001", "--fault", "notifications:decline=1.0",
    )  # fmt: skip
    urls = json.loads(process.stdout.readline())
    found = {name: httpx.get(f"{url}/_sandbox/behaviour", trust_env=False).json() for name, url in urls.items()}
    process.send_signal(signal.SIGTERM)

    assert json.loads(ready.read_text()) == urls
    assert [found[name]["latency_seconds"] for name in ("payments", "notifications")] == [0.001, 0.0]
    assert [found[name]["faults"] for name in ("payments", "notifications")] == [{}, {"decline": 1.0}]
    assert process.wait(10) == 0
    assert sorted(path.name for path in tmp_path.glob("l-*")) == ["l-notifications.sqlite", "l-payments.sqlite"]


def test_the_ledger_survives_a_kill_and_goes_on(start_sandbox: Any, tmp_path: Path) -> None:
    """No answer is given before its effect is safe from SIGKILL; nor is an order struck anew after a restart."""
    ledger, options = tmp_path / "p.sqlite", ("--fault-orders", "reset_after=7")
    with start_sandbox("payments", ledger, *options) as service:
        statuses = [service.pay(order).status_code for order in range(1, 6)]
        with pytest.raises(httpx.ReadError):
            service.pay(7)
        service.process.kill()
    with start_sandbox("payments", ledger, *options) as service:
        repeats = [service.pay(order).status_code for order in (1, 5, 7)]
        summary = service.http.get("/_sandbox/summary").json()

    assert (statuses, repeats) == ([201] * 5, [409] * 3)
    assert {name: summary[name] for name in ("requests", "effects", "distinct_orders", "amount_jpy", "doubled")} == {
        "requests": 9,
        "effects": 6,
        "distinct_orders": 6,
        "amount_jpy": 9000,
        "doubled": 0,
    }
    assert summary["faults"] == {"reset_after": 1}
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600


def test_the_summary_counts_doubled_orders_and_keys_with_two_bodies(start_sandbox: Any, tmp_path: Path) -> None:
    with start_sandbox("payments", tmp_path / "p.sqlite", "--profile", "neither") as service:
        for amount in (500, 600):
            service.pay(1, amount, **{"Idempotency-Key": "k"})
        service.pay(2)
        summary = service.http.get("/_sandbox/summary").json()

    assert (summary["effects"], summary["doubled"], summary["keys_with_two_bodies"]) == (3, 1, 1)


def test_a_hanging_call_does_not_keep_the_service_from_ending(start_sandbox: Any, tmp_path: Path) -> None:
    with start_sandbox("payments", tmp_path / "p.sqlite", "--fault", "timeout_after=1") as service:
        with pytest.raises(httpx.ReadTimeout):
            service.http.post("/api/v1/payments", json={"order_id": 1, "amount": 100, "currency": "JPY"}, timeout=0.1)
        service.process.send_signal(signal.SIGINT)

        assert service.process.wait(5) == 0


def test_the_service_ends_with_whoever_started_it(spawn_sandbox: Any, tmp_path: Path) -> None:
    """A parent that was killed closes the pipe; nothing of ours may outlive it."""
    process = spawn_sandbox("--payments-port", 0, "--ledger", tmp_path / "p.sqlite")
    process.stdout.readline()
    process.stdin.close()

    assert process.wait(5) == 0
    process.stdin = None


@pytest.mark.parametrize("pair", [False, True])
def test_a_port_in_use_is_one_clear_line(payments: Any, spawn_sandbox: Any, tmp_path: Path, pair: bool) -> None:
    port = payments.http.base_url.port
    other = ["--notifications-port", 0] if pair else []
    _, errors = run(spawn_sandbox("--payments-port", port, *other, "--ledger", tmp_path / "p.sqlite"), 2)

    assert errors == f"sandbox: port {port} for payments is in use; choose another one\n"


def test_a_ledger_of_another_service_or_no_ledger_at_all_is_refused(spawn_sandbox: Any, tmp_path: Path) -> None:
    foreign, text = tmp_path / "mails.sqlite", tmp_path / "text.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE ledger (ledger_id TEXT NOT NULL, service TEXT NOT NULL)")
        connection.execute("INSERT INTO ledger VALUES ('x', 'notifications')")
    connection.close()
    text.write_text("this is no database, whatever its name says\n" * 10)
    processes = [spawn_sandbox("--payments-port", 0, "--ledger", path) for path in (foreign, text, tmp_path)]
    errors = [run(process, 2)[1] for process in processes]

    assert all(error.startswith("sandbox: ") and error.count("\n") == 1 for error in errors), errors
    assert "another service" in errors[0]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--payments-port", "70000"],
        ["--payments-port", "0", "--fault", "fire=0.1"],
        ["--payments-port", "0", "--fault", "decline"],
        ["--payments-port", "0", "--fault-orders", "decline=a"],
        ["--payments-port", "0", "--set", "latency_seconds=fast"],
        ["--payments-port", "0", "--profile", "best"],
        ["--payments-port", "0", "--latency", "-1"],
    ],
)
def test_a_wrong_command_line_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    from sandbox.arguments import main

    with pytest.raises(SystemExit) as refused:
        main([*arguments, "--ledger", str(tmp_path / "l.sqlite")])

    assert refused.value.code == 2
    assert "sandbox: error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def run(process: Any, code: int) -> tuple[str, str]:
    out, errors = process.communicate(timeout=10)
    assert process.returncode == code, errors
    return out, errors
