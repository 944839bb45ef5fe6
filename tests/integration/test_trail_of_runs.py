"""What Dagster's runs leave in the trail, and the jobs of the UI that anchor it and trace a payment."""

from __future__ import annotations

import logging
from typing import Any

import dagster as dg
import pytest

from audit.verification import verify
from orchestration.definitions import build_defs
from orchestration.settings import Settings
from orchestration.trail_of_runs import begin_run, end_run
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import trusted_keys
from tests.integration.batches import Installation, order_row, services, work_through


def settings_of(installation: Installation) -> Settings:
    return Settings(home=installation.folder / "home", database_url=installation.url, encryption_key=installation.key)


def run_job(installation: Installation, job: str, **run_config: Any) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        resolved = build_defs(settings_of(installation)).resolve_job_def(job)
        return resolved.execute_in_process(instance=instance, raise_on_error=False, run_config=run_config)


def test_the_scheduled_job_anchors_the_trail(installation: Installation) -> None:
    settings = settings_of(installation)
    installation.ordered(1)
    result = run_job(installation, "anchor_trail")
    found = verify(installation.database, AnchorFolder(settings.anchors_dir), trusted_keys(settings.signing_key_file))

    assert result.success
    assert (found.anchors, found.faults) == (1, ())
    schedule = build_defs(settings).resolve_schedule_def("anchor_trail_hourly")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_scheduled_job_verifies_the_whole_trail_and_keeps_what_it_found(installation: Installation) -> None:
    """A finding is no failure of the run: it is kept, and the watch alerts to it."""
    installation.ordered(1)
    assert run_job(installation, "anchor_trail").success
    assert run_job(installation, "verify_trail").success
    installation.execute("alter table payments disable trigger audit")
    assert run_job(installation, "verify_trail").success

    query = "select faults, first_fault from trail_verifications order by verification_id"
    assert installation.execute(query) == [(0, None), (1, "AUDIT-GUARD-OFF")]
    schedule = build_defs(settings_of(installation)).resolve_schedule_def("verify_trail_nightly")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_run_notes_its_settings_without_a_secret(installation: Installation) -> None:
    """The password of the database is in its address."""
    run_job(installation, "anchor_trail")
    stored = dict(installation.execute("select variable, value from settings_in_force"))

    assert stored["BULK_ORDERS_MAX_ROWS"] == "10000"
    assert stored["BULK_ORDERS_ENCRYPTION_KEY"] == "set"
    assert stored["PAYMENT_WEBHOOK_SECRET"] is None
    assert "@" not in str(stored["DATABASE_URL"])
    assert installation.key not in str(stored)


def test_a_run_on_a_batch_is_noted_and_ends_with_an_anchor(installation: Installation) -> None:
    settings, batch = settings_of(installation), installation.ordered(1)
    run = dg.DagsterRun(job_name="process_batch", run_id="run-5", tags={"dagster/partition": batch})
    begin_run(settings, installation.database, run, None)
    end_run(settings, installation.database, run, None)

    assert installation.execute("select run_id, batch_id, launched_by from batch_runs") == [("run-5", batch, "test")]
    assert AnchorFolder(settings.anchors_dir).numbers() == [1]


def test_only_the_run_of_a_batch_ends_with_an_anchor(installation: Installation) -> None:
    settings = settings_of(installation)
    end_run(settings, installation.database, dg.DagsterRun(job_name="pause_batch"), None)
    end_run(settings, installation.database, None, None)

    assert AnchorFolder(settings.anchors_dir).numbers() == []


def test_an_anchor_that_cannot_be_made_keeps_no_run_from_ending(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(installation)
    settings.anchors_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.anchors_dir.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        end_run(settings, installation.database, dg.DagsterRun(job_name="process_batch"), logging.getLogger("t"))

    assert "SYS-FOLDER-NOT-WRITABLE" in caplog.text


def test_a_payment_is_traced_in_the_ui(installation: Installation, payments: Any, notifications: Any) -> None:
    batch = installation.ordered([order_row(), order_row(email="canary@example.jp")])
    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    [(remote,)] = installation.execute("select remote_id from payments where import_row_number = 2")
    result = run_job(installation, "trace_payment", ops={"trace": {"config": {"id": remote}}})
    refused = run_job(installation, "trace_payment", ops={"trace": {"config": {"id": "nobody@example.jp"}}})
    [output] = [event for event in result.all_events if event.is_successful_output]
    shown = str(output.step_output_data.metadata["place_1"].value)
    failure = str([event.event_specific_data for event in refused.get_step_failure_events()])

    assert f"| batch_id | `{batch}` |" in shown
    assert "| line | `3` |" in shown
    assert "payment:sending:done" in shown
    assert "canary" not in shown
    assert not refused.success
    assert "AUDIT-NOT-TRACED" in failure
    assert "nobody@" not in failure
