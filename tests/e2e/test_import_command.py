"""`bulk-orders import` as a person meets it: files go through, bad input gets one line, killing it loses nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from resources.local.sandbox_service import SandboxService
from tests.e2e.commands import Office, office_with, sample_file

HEADER = "order_number,customer_name,email,amount\n"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def office(tmp_path: Path, dagster_database_url: str, sandbox_services: Callable[..., Any]) -> Office:
    services = sandbox_services(notifications=["--notification-rate", "0"])
    profile = tmp_path / "profile.toml"
    profile.write_text("rate_per_second = 0\nsettle_seconds = 1\nsecond_look_seconds = 0.5\n", encoding="utf-8")
    variables = {
        "BULK_ORDERS_PAUSE_SECONDS": "1",
        "DATABASE_URL": dagster_database_url,
        "PAYMENT_SERVICE_URL": services.payments.url,
        "NOTIFICATION_SERVICE_URL": services.notifications.url,
        "PAYMENT_SERVICE_PROFILE": str(profile),
        "NOTIFICATION_SERVICE_PROFILE": str(profile),
    }
    return office_with(tmp_path, variables)


@pytest.fixture
def idle_office(tmp_path: Path, dagster_database_url: str) -> Office:
    """One that never comes to call a service."""
    urls = {"PAYMENT_SERVICE_URL": NOWHERE, "NOTIFICATION_SERVICE_URL": NOWHERE}
    return office_with(tmp_path, urls | {"DATABASE_URL": dagster_database_url})


def ledger_counts(service: SandboxService, table: str) -> tuple[int, int]:
    """Effects in a service's own ledger, and the orders they are for."""
    with sqlite3.connect(f"file:{service.ledger}?mode=ro", uri=True) as ledger:
        found = ledger.execute(f"select count(*), count(distinct order_id) from {table}").fetchone()
    return int(found[0]), int(found[1])


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_whoever_has_a_database_and_no_services_is_told_that_nobody_is_charged(
    tmp_path: Path, dagster_database_url: str
) -> None:
    """Their orders would be called paid."""
    office = office_with(tmp_path, {"DATABASE_URL": dagster_database_url})

    checked = office.do("import", "--dry-run", sample_file(tmp_path / "orders.csv", 3, seed=4))

    assert checked.returncode == 0
    assert "nobody is charged" in checked.stderr


def test_a_mixed_file_ends_partial_and_again_changes_nothing(tmp_path: Path, office: Office) -> None:
    """The object of --json is an interface: programs read it."""
    path = sample_file(tmp_path / "orders.csv", 30, bad=0.1, seed=3)

    first = office.run("import", path, "--client", "acme", "--json")
    again = office.do("import", path, "--client", "acme", "--json")

    told, retold = first.told(), again.told()
    assert (first.returncode, again.returncode) == (1, 1)
    assert told["status"] == "partial"
    assert told["rows"] == {"accepted": 27, "rejected": 3}
    assert told["orders"] == {"created": 27}
    assert {name: told["payments"][name] for name in ("done", "rejected", "review", "waiting")} == {
        "done": 27,
        "rejected": 0,
        "review": 0,
        "waiting": 0,
    }
    assert told["notifications"] == {"done": 27, "rejected": 0, "review": 0, "waiting": 0}
    assert told["duplicate_of"] is None
    assert retold["duplicate_of"] == told["batch_id"]
    assert {name: retold[name] for name in told if name != "duplicate_of"} == {
        name: told[name] for name in told if name != "duplicate_of"
    }
    assert sorted(file.name for file in Path(told["report_dir"]).iterdir()) == [
        "errors.csv",
        "failed.csv",
        "not_processed.csv",
        "repair.csv",
        "repair.xlsx",
        "succeeded.csv",
    ]
    repair = told["repair"]["files"][0]
    foreign = office.do("import", repair, "--client", "somebody else", "--json")
    assert (foreign.returncode, foreign.told()["reason"]) == (2, "FILE-REPAIR-CLIENT")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder: folder / "missing.csv", "FILE-NOT-FOUND"),
        (lambda folder: folder, "FILE-IS-DIRECTORY"),
        (lambda folder: write(folder / "empty.csv", ""), "FILE-EMPTY"),
        (lambda folder: write(folder / "header.csv", HEADER), "FILE-NO-ROWS"),
        (lambda folder: write(folder / "binary.csv", "%PDF-1.7\x00\x00"), "FILE-BINARY"),
        (lambda folder: write(folder / "archive.csv", "PK\x03\x04\x00\x00"), "FILE-WORKBOOK-BROKEN"),
        (lambda folder: write(folder / "columns.csv", "a,b\n1,2\n"), "FILE-COLUMNS-MISSING"),
        (lambda folder: write(folder / "long.csv", HEADER + "N,x,a@example.jp,500\n" * 4), "FILE-TOO-MANY-ROWS"),
    ],
)
def test_a_file_that_cannot_be_taken_gets_one_line_and_leaves_nothing(
    tmp_path: Path, idle_office: Office, make: Callable[[Path], Path], code: str
) -> None:
    """Never a traceback for a person, never a half-made batch."""
    path = make(tmp_path)

    refused = idle_office.do("import", path, BULK_ORDERS_MAX_ROWS="3")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"{path.name}: {code}: ")
    assert len(refused.stderr.splitlines()) == 1
    assert idle_office.ask("select count(*) from bulk_orders.batches") == [(0,)]


def test_a_dry_run_says_as_json_too_that_a_file_cannot_be_taken(tmp_path: Path, idle_office: Office) -> None:
    refused = idle_office.do("import", write(tmp_path / "empty.csv", ""), "--dry-run", "--json")

    told = refused.told()
    assert (refused.returncode, told["status"], told["reason"]) == (2, "refused", "FILE-EMPTY")


@pytest.mark.parametrize(
    ("variables", "exit_code", "code"),
    [
        ({"DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, 3, "SYS-DATABASE-UNREACHABLE"),
        ({"DATABASE_URL": "mysql://x"}, 2, "SYS-SETTING-INVALID"),
        ({"BULK_ORDERS_MAX_ROWS": "many"}, 2, "SYS-SETTING-INVALID"),
        ({"PAYMENT_SERVICE_PROFILE": "/nowhere.toml"}, 2, "SYS-SETTING-INVALID"),
        ({"BULK_ORDERS_ENCRYPTION_KEY": "c2hvcnQ="}, 2, "SYS-KEY-INVALID"),
    ],
)
def test_wrong_surroundings_are_said_in_one_line(
    tmp_path: Path, idle_office: Office, variables: dict[str, str], exit_code: int, code: str
) -> None:
    path = write(tmp_path / "orders.csv", HEADER + "N,x,a@example.jp,500\n")

    refused = idle_office.do("import", path, **variables)

    assert refused.returncode == exit_code
    assert refused.stderr.startswith(f"{code}: ")
    assert len(refused.stderr.splitlines()) == 1


def test_a_service_that_is_away_pauses_the_batch_which_then_goes_on(tmp_path: Path, office: Office) -> None:
    """Exit code 3 means: run it again. Nothing is lost in between, and nothing fails because of it."""
    path = sample_file(tmp_path / "orders.csv", 20, seed=4)

    paused = office.do("import", path, "--json", PAYMENT_SERVICE_URL=NOWHERE)
    time.sleep(1.5)
    done = office.do("import", path, "--json")

    assert paused.returncode == 3
    assert paused.told()["reason"] == "BATCH-PAUSED-PAYMENTS"
    assert done.returncode == 0
    assert done.told()["payments"]["done"] == 20


def test_a_lost_key_is_said_before_a_file_is_touched(tmp_path: Path, office: Office) -> None:
    """A new key must never be made where data were written with another."""
    path = sample_file(tmp_path / "orders.csv", 3, seed=5)
    other = sample_file(tmp_path / "other.csv", 3, seed=6)
    assert office.do("import", path).returncode == 0
    (office.home / "keys" / "personal-data.key").unlink()

    refused = office.do("import", other)

    assert refused.returncode == 2
    assert refused.stderr.startswith("SYS-KEY-MISSING: ")
    assert not (office.home / "keys" / "personal-data.key").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_half_way_goes_on_where_it_stopped(
    tmp_path: Path, office: Office, sandbox_services: Callable[..., Any], how: signal.Signals
) -> None:
    """The services' own ledgers are the witness: one charge and one mail per order, whatever was killed."""
    slow = sandbox_services(["--latency", "0.05"], ["--notification-rate", "0", "--latency", "0.3"])
    urls = {"PAYMENT_SERVICE_URL": slow.payments.url, "NOTIFICATION_SERVICE_URL": slow.notifications.url}
    office.environment.update(urls | {"BULK_ORDERS_NOTIFICATION_CONCURRENCY": "4"})
    path, next_path = sample_file(tmp_path / "orders.csv", 60, seed=7), sample_file(tmp_path / "next.csv", 3, seed=8)

    command = office.start("import", path, next_path, "--json")
    with psycopg.connect(office.environment["DATABASE_URL"], autocommit=True) as connection:
        wait_until(lambda: _mails_done(connection) >= 5)
    os.killpg(command.pid, how)
    said, _ = command.communicate(timeout=60)
    done = office.do("import", path, "--json")

    if how is signal.SIGINT:  # and nothing is begun any more
        interrupted, batch_id = json.loads(said), json.loads(done.stdout)["batch_id"]
        assert (command.returncode, interrupted["status"], interrupted["batch_id"]) == (3, "interrupted", batch_id)
    assert done.returncode == 0, done.stderr
    assert ledger_counts(slow.payments, "charges") == (60, 60)
    assert ledger_counts(slow.notifications, "mails") == (60, 60)


def _mails_done(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("select count(*) from bulk_orders.notifications where state = 'done'").fetchone()
    return int(row[0]) if row else 0


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
