"""What people do with a batch from the Dagster UI, and which batches the sensor takes up afterwards."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._utils.error import redact_user_stacktrace_if_enabled, serializable_error_info_from_exc_info

from assets.boundary import ResourceRefused
from assets.partitions import BATCHES
from domain.errors import BatchPaused
from domain.states import BatchState
from orchestration import dagster_home, run_batch, sensors
from orchestration.admission import admit
from orchestration.bindings import open_batch_files, open_database
from orchestration.definitions import build_defs
from orchestration.job_names import OPERATION_JOBS, PROCESS_BATCH
from orchestration.operation_jobs import JOBS
from orchestration.settings import Settings
from resources.database import batches, limits
from resources.database.batches import Batch
from resources.database.connection import Actor
from resources.database.database import Database
from tests.integration.batches import csv_bytes, order_row

PROFILE = "settle_seconds = 0.2\nsecond_look_seconds = 0.1\nrate_per_second = 500\n"
OPS = {
    "redrive_batch": "redrive",
    "continue_batch": "continue_",
    "decide_review": "decide",
    "accept_near_duplicates": "accept",
}
_first_order_ids = itertools.count(20_000_000, 1_000)


@dataclass
class Desk:
    """An installation with Dagster's storage, and a person in front of its UI."""

    url: str
    settings: Settings
    instance: dg.DagsterInstance
    database: Database
    payments: Any
    notifications: Any

    def batch(self, rows: int, **cells: str) -> str:
        """A file dropped by somebody, admitted; the id of its batch. ``cells`` are the same in every row."""
        folder = self.settings.watched_dir / "shop"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "orders.csv").write_bytes(csv_bytes([order_row(**cells) for _ in range(rows)]))
        return admit(self.database, open_batch_files(self.settings), folder / "orders.csv", "shop").batch.batch_id

    def process(self, batch: str) -> bool:
        return run_batch.run(batch, "cli:test")

    def act(self, job: str, batch: str, person: str = "hanako", **config: Any) -> tuple[bool, str, dict[str, Any]]:
        """One of the people's jobs: whether it succeeded, what it failed with, what it said."""
        assert BATCHES.name is not None
        self.instance.add_dynamic_partitions(BATCHES.name, [batch])
        op = OPS.get(job, job.removesuffix("_batch"))
        result = (
            build_defs(self.settings)
            .resolve_job_def(job)
            .execute_in_process(
                partition_key=batch,
                instance=self.instance,
                raise_on_error=False,
                run_config={"ops": {op: {"config": {"person": person, **config}}}},
            )
        )
        failures = " ".join(str(event.event_specific_data) for event in result.get_step_failure_events())
        said: dict[str, Any] = {}
        for event in result.filter_events(lambda event: event.is_step_success or event.is_successful_output):
            if event.is_successful_output:
                metadata = event.step_output_data.metadata
                said = {name: value.value for name, value in metadata.items()}
        return result.success, failures, said

    def state(self, batch: str) -> tuple[str, str | None]:
        [found] = self.ask("select state, reason from batches where batch_id = %s", batch)
        return found[0], found[1]

    def known(self, batch: str) -> Batch:
        with self.database.begin() as tx:
            return batches.get(tx, batch)

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=bulk_orders,public") as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def desk(
    dagster_database_url: str, payments: Any, notifications: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    profile = tmp_path / "profile.toml"
    profile.write_text(PROFILE, encoding="utf-8")
    dagster_home.write_instance(tmp_path / "dagster", 4)
    dagster_home.make_schema(dagster_database_url)
    environment = dagster_home.environment(tmp_path / "dagster", dagster_database_url, {}) | {
        "BULK_ORDERS_HOME": str(tmp_path / "home"),
        "BULK_ORDERS_ENCRYPTION_KEY": base64.b64encode(bytes(range(32))).decode(),
        "BULK_ORDERS_MAX_ATTEMPTS": "1",
        "PAYMENT_SERVICE_URL": str(payments.http.base_url),
        "NOTIFICATION_SERVICE_URL": str(notifications.http.base_url),
        "PAYMENT_SERVICE_PROFILE": str(profile),
        "NOTIFICATION_SERVICE_PROFILE": str(profile),
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = Settings.from_environment(environment)
    database = open_database(settings, Actor("sensor:import_folder"))
    payments.behave(unique_orders=False)
    with dg.DagsterInstance.get() as instance:
        made = Desk(dagster_database_url, settings, instance, database, payments, notifications)
        made.ask("select setval('orders_order_id_seq', %s)", next(_first_order_ids))
        yield made
    database.dispose()


def failing_first(desk: Desk, rows: int, fault: str) -> str:
    """A finished batch whose first payment met with ``fault``."""
    [(last,)] = desk.ask("select last_value from orders_order_id_seq")
    batch = desk.batch(rows)
    desk.payments.behave(fault_orders={fault: [last + 1]})
    assert desk.process(batch)
    desk.payments.behave(fault_orders={})
    return batch


def test_every_job_of_people_has_a_name_that_the_queue_lets_past():
    assert {job.name for job in JOBS} == OPERATION_JOBS
    assert all(job.description and any(ord(sign) > 0x3000 for sign in job.description) for job in JOBS)


def test_a_batch_with_failed_rows_is_a_finished_run_and_its_redrive_needs_no_new_partition(desk: Desk) -> None:
    """The run did what it could; the warning checks say what failed."""
    batch = failing_first(desk, 3, "reset_before")
    assert desk.state(batch) == ("partial", None)
    dry = desk.act("redrive_batch", batch, dry_run=True)
    assert (desk.state(batch), dry[0], dry[2]["payments"]) == (("partial", None), True, 1)
    succeeded, _, said = desk.act("redrive_batch", batch)

    assert succeeded
    assert (said["payments"], said["notifications"], said["state"]) == (1, 0, "ordered")
    assert desk.process(batch)
    assert desk.state(batch) == ("done", None)
    assert BATCHES.name is not None
    assert desk.instance.get_dynamic_partitions(BATCHES.name) == [batch]
    assert desk.ask("select decision, decided_by from decisions") == [("redrive", "ui:hanako")]


def test_a_refusal_is_a_failed_run_with_one_line_and_no_traceback_of_ours(desk: Desk) -> None:
    batch = desk.batch(1)
    assert desk.process(batch)
    succeeded, failure, _ = desk.act("redrive_batch", batch)

    assert not succeeded
    assert "BATCH-FINISHED" in failure
    assert "operations.py" not in failure
    assert desk.ask("select count(*) from decisions") == [(0,)]


def test_pause_continue_and_cancel_from_the_ui(desk: Desk) -> None:
    batch = desk.batch(3)
    with desk.database.begin() as tx:
        batches.request_pause(tx, batch, "ui:hanako")
    assert not desk.process(batch)
    assert desk.state(batch) == ("paused", "BATCH-PAUSED-BY-PERSON")
    assert desk.act("continue_batch", batch)[0]
    assert desk.act("pause_batch", batch)[0]
    assert desk.state(batch) == ("paused", "BATCH-PAUSED-BY-PERSON")
    succeeded, _, said = desk.act("cancel_batch", batch, person="")

    assert succeeded
    assert (said["cancelled_payments"], said["state"], said["reason"]) == (3, "ordered", "BATCH-CANCELLING")
    assert desk.process(batch)
    assert desk.state(batch) == ("cancelled", "BATCH-CANCELLED")
    deciders = [name for (name,) in desk.ask("select decided_by from decisions order by decision_id")]
    assert deciders == ["ui:hanako", "ui:hanako", "dagster"]


def test_an_approval_from_the_ui_needs_a_name_and_another_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_ORDERS_APPROVAL_ABOVE_JPY", "100")
    desk.settings = Settings.from_environment()
    batch = desk.batch(1)
    desk.ask("update batches set started_by = 'cli:hanako' where batch_id = %s", batch)
    assert not desk.process(batch)

    assert "BATCH-PERSON-UNKNOWN" in desk.act("approve_batch", batch, person="")[1]
    assert "BATCH-PERSON-UNKNOWN" in desk.act("approve_batch", batch, person="jiro@example.jp")[1]
    assert "BATCH-APPROVAL-OWN" in desk.act("approve_batch", batch, person="HANAKO")[1]
    assert desk.state(batch) == ("paused", "BATCH-APPROVAL-NEEDED")
    assert desk.act("approve_batch", batch, person="jiro")[0]
    assert desk.process(batch)
    assert desk.state(batch) == ("done", None)


def test_a_row_in_review_is_decided_from_the_ui_with_a_reason_from_a_list(desk: Desk, tmp_path: Path) -> None:
    """Dagster keeps a run's configuration for ever: no free text gets into it."""
    (tmp_path / "profile.toml").write_text(PROFILE + 'look_up = "none"\n', encoding="utf-8")
    batch = failing_first(desk, 2, "reset_after")
    assert desk.state(batch) == ("partial", None)
    row = {"row": 1, "kind": "payments", "decision": "done", "reason": "found_at_service"}

    assert "BATCH-PERSON-UNKNOWN" in desk.act("decide_review", batch, person="", **row)[1]
    with pytest.raises(dg.DagsterInvalidConfigError):
        desk.act("decide_review", batch, **(row | {"reason": "taro@example.jp told me"}))
    succeeded, _, said = desk.act("decide_review", batch, **row)
    assert succeeded
    assert (said["row"], said["kind"], said["decision"], said["state"]) == (1, "payments", "done", "ordered")
    assert "BATCH-ROW-NOT-IN-REVIEW" in desk.act("decide_review", batch, **row)[1]
    assert desk.process(batch)
    assert desk.state(batch) == ("done", None)
    assert desk.ask("select note, decided_by from decisions") == [("found at the service", "ui:hanako")]


def test_near_duplicates_are_accepted_with_a_reason_from_the_list(desk: Desk) -> None:
    """The batch ends as partial, says why, and is done after somebody's word."""
    batch = desk.batch(3, customer_name="見本 花子", email="hana@example.jp", amount="1500")
    assert desk.process(batch)
    assert desk.state(batch) == ("partial", None)
    because = {"reason": "compared_with_the_other"}

    assert "BATCH-PERSON-UNKNOWN" in desk.act("accept_near_duplicates", batch, person="", **because)[1]
    assert "BATCH-ROW-NOT-ALIKE" in desk.act("accept_near_duplicates", batch, rows=[1], **because)[1]
    succeeded, _, said = desk.act("accept_near_duplicates", batch, rows=[2], **because)
    assert (succeeded, said["accepted"], said["state"]) == (True, 1, "ordered")
    assert desk.act("accept_near_duplicates", batch, **because)[2]["accepted"] == 1
    assert desk.process(batch)
    assert desk.state(batch) == ("done", None)
    assert desk.ask("select distinct decision, note, decided_by from decisions") == [
        ("accept", "compared with the order that it resembles", "ui:hanako")
    ]


# -- the sensor -------------------------------------------------------------------------------------------------------


def ran(desk: Desk, batch: str, job: str, status: dg.DagsterRunStatus) -> str:
    return create_run_for_test(desk.instance, job_name=job, status=status, tags={"dagster/partition": batch}).run_id


def test_a_terminated_run_is_followed_only_when_somebody_continues_the_batch(desk: Desk) -> None:
    batch = desk.batch(1)
    run_id = ran(desk, batch, PROCESS_BATCH, dg.DagsterRunStatus.CANCELED)
    before = sensors._run_key(desk.instance, desk.known(batch))
    assert desk.act("continue_batch", batch)[0]
    after = sensors._run_key(desk.instance, desk.known(batch))

    assert before is None
    assert after == f"{batch}:{run_id}"


def test_runs_of_people_neither_hinder_nor_replace_the_work_on_a_batch(desk: Desk) -> None:
    """A pause that is under way, or failed, is no run of the batch."""
    batch = desk.batch(1)
    ran(desk, batch, "pause_batch", dg.DagsterRunStatus.STARTED)
    ran(desk, batch, "cancel_batch", dg.DagsterRunStatus.CANCELED)

    assert sensors._run_key(desk.instance, desk.known(batch)) == batch
    ran(desk, batch, PROCESS_BATCH, dg.DagsterRunStatus.STARTED)
    assert sensors._run_key(desk.instance, desk.known(batch)) is None


def test_a_continued_batch_does_not_wait_for_the_runs_in_vain_before_it(desk: Desk) -> None:
    batch = desk.batch(1)
    runs = [ran(desk, batch, PROCESS_BATCH, dg.DagsterRunStatus.FAILURE) for _ in range(8)]
    waiting = sensors._run_key(desk.instance, desk.known(batch))
    with desk.database.begin() as tx:
        batches.go_on(tx, batch)

    assert waiting is None
    assert sensors._run_key(desk.instance, desk.known(batch)) == f"{batch}:{runs[-1]}"


def test_however_many_runs_of_people_follow_the_last_run_of_a_batch_is_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "_RUNS_LOOKED_AT", 2)
    batch = desk.batch(1)
    worked = ran(desk, batch, PROCESS_BATCH, dg.DagsterRunStatus.FAILURE)
    for _ in range(5):
        ran(desk, batch, "decide_review", dg.DagsterRunStatus.SUCCESS)
    with desk.database.begin() as tx:
        batches.go_on(tx, batch)

    assert sensors._run_key(desk.instance, desk.known(batch)) == f"{batch}:{worked}"


def paused_for_payments(desk: Desk) -> str:
    batch = desk.batch(1)
    for state in ("validated", "ordered"):
        desk.ask("update batches set state = %s where batch_id = %s", state, batch)
    with desk.database.begin() as tx:
        batches.pause(tx, batch, BatchPaused("BATCH-PAUSED-PAYMENTS", batch=batch, reason="-"), 0.0)
    return batch


def asked_for(desk: Desk) -> list[str | None]:
    context = dg.build_sensor_context(instance=desk.instance)
    return [request.partition_key for request in sensors._requests(context, desk.database, 100)]


def test_of_all_batches_that_wait_for_a_service_one_finds_out_whether_it_is_back(desk: Desk) -> None:
    first, *others = [paused_for_payments(desk) for _ in range(3)]
    other_reason = desk.batch(1)
    with desk.database.begin() as tx:
        limits.open_breaker(tx, "payments", "PAY-SERVICE-UNAVAILABLE", 60.0, probe_failed=False)
    too_early = asked_for(desk)
    desk.ask("update breakers set probe_at = clock_timestamp() where service = 'payments'")
    due = asked_for(desk)
    with desk.database.begin() as tx:
        assert limits.take_probe(tx, "payments", 60.0)
    somebody_asks = asked_for(desk)
    with desk.database.begin() as tx:
        limits.close_breaker(tx, "payments")

    assert too_early == [other_reason]
    assert due == [first, other_reason]
    assert somebody_asks == [other_reason]
    assert asked_for(desk) == [first, *others, other_reason]


def test_a_paused_batch_whose_run_failed_without_asking_the_service_waits_like_any_other(desk: Desk) -> None:
    """It would have a run every few seconds, and keep the others from theirs."""
    broken, sound = paused_for_payments(desk), paused_for_payments(desk)
    with desk.database.begin() as tx:
        limits.open_breaker(tx, "payments", "PAY-SERVICE-UNAVAILABLE", 0.0, probe_failed=False)
    before = asked_for(desk)
    ran(desk, broken, PROCESS_BATCH, dg.DagsterRunStatus.FAILURE)

    assert before == [broken]
    assert asked_for(desk) == [sound]


def test_many_batches_that_a_person_has_stopped_keep_no_other_waiting(desk: Desk) -> None:
    desk.ask("""insert into batches (batch_id, file_sha256, source_name, client, code_version, started_by)
                select 'stopped-' || n, sha256(n::text::bytea), 'a.csv', 'shop', '0', 'test'
                from generate_series(1, 120) n""")
    for number in range(1, 121):
        ran(desk, f"stopped-{number}", PROCESS_BATCH, dg.DagsterRunStatus.CANCELED)
    new = desk.batch(1)

    assert asked_for(desk) == [new]


def test_a_look_of_the_sensor_that_fails_says_why(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the setting by which Dagster masks what code of users raises."""
    monkeypatch.setenv("DAGSTER_REDACT_USER_CODE_ERRORS", "1")
    settings = replace(desk.settings, database_url="postgresql://nobody@127.0.0.1:1/nothing")
    sensor = sensors.import_sensor(settings)
    context = dg.build_sensor_context(instance=desk.instance)
    with (
        pytest.raises(ResourceRefused, match="SYS-DATABASE-UNREACHABLE") as failed,
        redact_user_stacktrace_if_enabled(),
    ):
        sensor.evaluate_tick(context)

    told = serializable_error_info_from_exc_info((failed.type, failed.value, failed.tb))
    assert "SYS-DATABASE-UNREACHABLE" in str(told)


def test_a_batch_that_waits_for_a_person_is_not_asked_for_and_one_that_waits_for_a_service_is(desk: Desk) -> None:
    service, person = desk.batch(1), desk.batch(1)
    for batch in (service, person):
        desk.ask("update batches set state = 'validated' where batch_id = %s", batch)
        desk.ask("update batches set state = 'ordered' where batch_id = %s", batch)
    with desk.database.begin() as tx:
        batches.pause(tx, service, BatchPaused("BATCH-PAUSED-PAYMENTS", batch=service, reason="-"), 0.0)
        batches.pause(tx, person, BatchPaused("BATCH-STOPPED-CANARY", batch=person), None)
        asked = [batch.batch_id for batch in batches.unfinished(tx)]

    assert asked == [service]
    assert desk.known(person).state is BatchState.PAUSED


# -- the queue --------------------------------------------------------------------------------------------------------


def test_the_run_of_a_person_is_launched_and_does_not_wait_in_the_queue(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queued behind the run it is to pause, it would begin when that has ended."""
    begun: list[str] = []
    queued: list[str] = []
    monkeypatch.setattr(desk.instance, "launch_run", lambda run_id, _workspace: begun.append(run_id))
    monkeypatch.setattr(dg.QueuedRunCoordinator, "submit_run", lambda _, asked: queued.append(asked.dagster_run.run_id))
    work = ran(desk, "b", PROCESS_BATCH, dg.DagsterRunStatus.NOT_STARTED)
    pause = ran(desk, "b", "pause_batch", dg.DagsterRunStatus.NOT_STARTED)
    for run_id in (work, pause):
        asked: Any = type("Asked", (), {"dagster_run": desk.instance.get_run_by_id(run_id), "workspace": None})()
        desk.instance.run_coordinator.submit_run(asked)

    assert (begun, queued) == ([pause], [work])


def test_in_the_ui_too_a_person_without_the_role_is_refused_and_noted(desk: Desk) -> None:
    """With no proxy the name is what the person says; with one it is the tag, whatever the person says."""
    batch = desk.batch(1)
    desk.settings.home.mkdir(exist_ok=True)
    desk.settings.roles_path.write_text('[people]\nhanako = ["operator"]\njiro = ["approver"]\n', encoding="utf-8")

    succeeded, failure, _ = desk.act("pause_batch", batch, person="jiro")

    assert not succeeded
    assert "SYS-ROLE-NEEDED" in failure
    assert "hanako" in failure
    assert not desk.act("pause_batch", batch, person="")[0]
    assert desk.ask("select count(*) from decisions") == [(0,)]
    assert desk.act("pause_batch", batch, person="hanako")[0]
    noted = "select actor, reason from audit_events where event = 'access:refused' order by seq"
    assert desk.ask(noted) == [
        ("ui:jiro", "SYS-ROLE-NEEDED operate"),
        ("dagster", "BATCH-PERSON-UNKNOWN operate"),
    ]


def test_a_run_that_nobody_may_have_launched_does_not_begin(desk: Desk) -> None:
    """Materialize, pressed in the UI by somebody: the sensor may, an operator may, a hand without a name may not."""
    batch = desk.batch(1)
    desk.settings.home.mkdir(exist_ok=True)
    desk.settings.roles_path.write_text('[people]\nhanako = ["operator"]\n', encoding="utf-8")

    assert not run_batch.run(batch, "ui")
    assert desk.state(batch)[0] == "received"
    assert run_batch.run(batch, "ui:hanako")
    assert desk.state(batch) == ("done", None)
