"""What a person does with a batch on the command line: review, decide, continue, redrive, approve, cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.commands import Office, office_with, sample_file


@pytest.fixture
def office(tmp_path: Path, dagster_database_url: str, sandbox_services: Callable[..., Any]) -> Office:
    services = sandbox_services(notifications=["--notification-rate", "0"])
    profile = tmp_path / "profile.toml"
    profile.write_text('rate_per_second = 0\nlook_up = "none"\nsettle_seconds = 1\n', encoding="utf-8")
    variables = {
        "DATABASE_URL": dagster_database_url,
        "PAYMENT_SERVICE_URL": services.payments.url,
        "NOTIFICATION_SERVICE_URL": services.notifications.url,
        "PAYMENT_SERVICE_PROFILE": str(profile),
        "NOTIFICATION_SERVICE_PROFILE": str(profile),
    }
    return office_with(tmp_path, variables)


def told(office: Office, *arguments: str | Path, **more: str) -> tuple[int, Any]:
    """Exit code and what --json says."""
    ended = office.do(*arguments, "--json", **more)
    return ended.returncode, ended.told()


def test_a_row_in_review_is_listed_decided_and_its_batch_goes_on_to_its_end(tmp_path: Path, office: Office) -> None:
    path = sample_file(tmp_path / "orders.csv", 3, seed=3)
    fault = {"fault_orders": {"reset_after": [2]}}
    payments_url = office.environment["PAYMENT_SERVICE_URL"]
    answer = httpx.post(f"{payments_url}/_sandbox/behaviour", json=fault, trust_env=False)
    assert answer.status_code == 200
    code, imported = told(office, "import", path)
    batch = imported["batch_id"]
    assert (code, imported["status"], imported["payments"]["review"]) == (1, "partial", 1)

    _, listed = told(office, "review", batch)
    assert [(row["kind"], row["order_id"], row["send_again_may_double"]) for row in listed] == [("payments", 2, True)]
    row = str(listed[0]["import_row_number"])
    decide = ("review", "decide", batch, "--row", row, "--kind", "payments", "--as", "done")
    unfit = office.do(*decide, "--reason", "asked taro@example.jp")
    assert unfit.returncode == 2
    assert "BATCH-NOTE-REFUSED" in unfit.stderr
    assert "taro" not in unfit.stderr + unfit.stdout
    assert told(office, *decide, "--reason", "seen at the service")[1]["status"] == "ordered"
    code, continued = told(office, "continue", batch)

    assert (code, continued["status"], continued["notifications"]["done"]) == (0, "done", 3)
    again = office.do("redrive", batch)
    assert (again.returncode, again.stdout) == (2, "")
    assert "BATCH-FINISHED" in again.stderr
    assert "Traceback" not in again.stderr
    assert "確認待ちの行はありません" in office.do("review", BULK_ORDERS_LANGUAGE="ja").stdout


def test_a_batch_above_the_limit_waits_for_another_person_and_can_be_cancelled(tmp_path: Path, office: Office) -> None:
    """One person does not become two by naming another in the environment."""
    path = sample_file(tmp_path / "orders.csv", 4, seed=4)
    strict = {"BULK_ORDERS_APPROVAL_ABOVE_JPY": "100"}
    code, imported = told(office, "import", path, **strict)
    batch = imported["batch_id"]
    assert (code, imported["status"], imported["reason"]) == (3, "paused", "BATCH-APPROVAL-NEEDED")

    own = office.do("approve", batch, **strict, LOGNAME="jiro", USER="jiro")
    again, _ = told(office, "import", path, **strict)
    assert own.returncode == 2
    assert "BATCH-APPROVAL-OWN" in own.stderr
    assert again == 3
    office.ask("update bulk_orders.batches set started_by = 'cli:somebody-else'")
    code, approved = told(office, "approve", batch, **strict)
    assert (code, approved["status"]) == (0, "done")

    later = sample_file(tmp_path / "later.csv", 5, seed=5)
    waiting = told(office, "import", later, **strict)[1]["batch_id"]
    code, cancelled = told(office, "cancel", waiting, **strict)
    assert (code, cancelled["status"]) == (1, "cancelled")
    assert cancelled["cancelled"]["payments"] == 5
    assert Path(cancelled["report_dir"], "not_processed.csv").exists()
