"""What a person does with a batch on the command line: review, decide, continue, redrive, approve, cancel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from orchestration.sample import make_sample, write_csv

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Office:
    """An installation used through the command line only; no `up` runs."""

    folder: Path
    environment: dict[str, str]
    payments_url: str

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "orchestration.cli.main", *arguments],
            env=self.environment | more,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def told(self, *arguments: str, **more: str) -> tuple[int, Any]:
        """Exit code and what --json says."""
        ended = self.run(*arguments, "--json", **more)
        return ended.returncode, json.loads(ended.stdout)

    def file(self, rows: int) -> str:
        path = self.folder / "orders.csv"
        write_csv(make_sample(rows, seed=rows), path, "utf-8")
        return str(path)

    def ask(self, query: str) -> None:
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(query.encode())


@pytest.fixture
def office(tmp_path: Path, dagster_database_url: str, sandbox_services: Callable[..., Any]) -> Office:
    services = sandbox_services(notifications=["--notification-rate", "0"])
    profile = tmp_path / "profile.toml"
    profile.write_text('rate_per_second = 0\nlook_up = "none"\nsettle_seconds = 1\n', encoding="utf-8")
    environment = os.environ | {
        "BULK_ORDERS_HOME": str(tmp_path / "home"),
        "BULK_ORDERS_LANGUAGE": "en",
        "DATABASE_URL": dagster_database_url,
        "PAYMENT_SERVICE_URL": services.payments.url,
        "NOTIFICATION_SERVICE_URL": services.notifications.url,
        "PAYMENT_SERVICE_PROFILE": str(profile),
        "NOTIFICATION_SERVICE_PROFILE": str(profile),
    }
    return Office(tmp_path, environment, services.payments.url)


def test_a_row_in_review_is_listed_decided_and_its_batch_goes_on_to_its_end(office: Office) -> None:
    path = office.file(3)
    fault = {"fault_orders": {"reset_after": [2]}}
    assert httpx.post(f"{office.payments_url}/_sandbox/behaviour", json=fault, trust_env=False).status_code == 200
    code, imported = office.told("import", path)
    batch = imported["batch_id"]
    assert (code, imported["status"], imported["payments"]["review"]) == (1, "partial", 1)

    _, listed = office.told("review", batch)
    assert [(row["kind"], row["order_id"], row["send_again_may_double"]) for row in listed] == [("payments", 2, True)]
    row = str(listed[0]["import_row_number"])
    decide = ("review", "decide", batch, "--row", row, "--kind", "payments", "--as", "done")
    unfit = office.run(*decide, "--reason", "asked taro@example.jp")
    assert unfit.returncode == 2
    assert "BATCH-NOTE-REFUSED" in unfit.stderr
    assert "taro" not in unfit.stderr + unfit.stdout
    assert office.told(*decide, "--reason", "seen at the service")[1]["status"] == "ordered"
    code, continued = office.told("continue", batch)

    assert (code, continued["status"], continued["notifications"]["done"]) == (0, "done", 3)
    again = office.run("redrive", batch)
    assert (again.returncode, again.stdout) == (2, "")
    assert "BATCH-FINISHED" in again.stderr
    assert "Traceback" not in again.stderr
    assert "確認待ちの行はありません" in office.run("review", BULK_ORDERS_LANGUAGE="ja").stdout


def test_a_batch_above_the_limit_waits_for_another_person_and_can_be_cancelled(office: Office) -> None:
    """One person does not become two by naming another in the environment."""
    path = office.file(4)
    strict = {"BULK_ORDERS_APPROVAL_ABOVE_JPY": "100"}
    code, imported = office.told("import", path, **strict)
    batch = imported["batch_id"]
    assert (code, imported["status"], imported["reason"]) == (3, "paused", "BATCH-APPROVAL-NEEDED")

    own = office.run("approve", batch, **strict, LOGNAME="jiro", USER="jiro")
    again, _ = office.told("import", path, **strict)
    assert own.returncode == 2
    assert "BATCH-APPROVAL-OWN" in own.stderr
    assert again == 3
    office.ask("update bulk_orders.batches set started_by = 'cli:somebody-else'")
    code, approved = office.told("approve", batch, **strict)
    assert (code, approved["status"]) == (0, "done")

    later = office.file(5)
    waiting = office.told("import", later, **strict)[1]["batch_id"]
    code, cancelled = office.told("cancel", waiting, **strict)
    assert (code, cancelled["status"]) == (1, "cancelled")
    assert cancelled["cancelled"]["payments"] == 5
    assert Path(cancelled["report_dir"], "not_processed.csv").exists()
