"""The service levels as they are measured: from the trail and the tables of real batches, events and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import make_url

from domain.alerts import AlertKind, HealthCheck
from domain.errors import InvariantBroken, KeyRefused
from domain.health import ServiceLevel, judge
from domain.payment_events import Finding
from domain.states import EffectKind
from orchestration.bindings import admitted_vault
from orchestration.cli import main
from orchestration.definitions import build_defs
from orchestration.health import shown
from orchestration.health.asset import HEALTH_SENSOR, SERVICE_HEALTH
from orchestration.health.measuring import health_limits, measure
from orchestration.health.watch import look
from orchestration.settings import Settings
from resources.database import limits, trail_books, trail_verifications, webhook_alarms
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.trail_verifications import Verified
from tests.integration.batches import Installation, services, work_through
from tests.integration.webhook import listening, planned, put

BATCHES = {"batch_size": 10, "honours_keys": True, "batch_item_keys": True}


def settings_of(installation: Installation, **more: Any) -> Settings:
    home = installation.folder / "home"
    given = {"health_window_seconds": 900.0, "max_query_ms": 5_000.0, "min_free_disk_bytes": 1} | more
    return Settings(home=home, database_url=installation.url, language="en", encryption_key=installation.key, **given)


def alerts_of(installation: Installation, **more: Any) -> list[tuple[AlertKind, str]]:
    settings = settings_of(installation, **more)
    found = judge(measure(installation.database, settings), health_limits(settings))
    return [(condition.kind, condition.about) for condition in found]


def service(installation: Installation, kind: EffectKind = EffectKind.PAYMENT) -> ServiceLevel:
    measured = measure(installation.database, settings_of(installation))
    return next(level for level in measured.services if level.service == kind.value)


def calls(installation: Installation, order_id: int, *seconds: float, outcome: str = "done", status: int = 201) -> None:
    """Calls that have just come back, each after so many seconds."""
    installation.execute(
        """insert into effect_attempts (kind, order_id, attempt, purpose, lease_epoch, started_at, ended_at,
                                        outcome, http_status)
           select 'payments', %s, 1, 'send', 1, now() - make_interval(secs => s), now(), %s, %s
           from unnest(%s::float8[]) s""",
        order_id,
        outcome,
        status,
        list(seconds),
    )


def now(installation: Installation) -> datetime:
    """The database's clock."""
    [(moment,)] = installation.execute("select clock_timestamp()")
    assert isinstance(moment, datetime)
    return moment


def seconds_still(installation: Installation, batch: str) -> float:
    return measure(installation.database, settings_of(installation)).backlog.still[batch]


def test_a_new_installation_is_healthy(installation: Installation) -> None:
    assert alerts_of(installation) == []


def test_calls_are_measured_by_percentile_and_class(installation: Installation) -> None:
    _, [order, *_] = planned(installation)
    calls(installation, order, *(n / 10 for n in range(1, 101)))
    calls(installation, order, 0.1, outcome="ambiguous", status=503)
    level = service(installation)

    assert level.calls == 101
    assert level.by_outcome == {"done": 100, "ambiguous": 1}
    assert (level.p50_ms, level.p95_ms, level.p99_ms) == pytest.approx((5_000, 9_500, 9_900), rel=0.02)
    assert level.error_percent == pytest.approx(1 / 1.01)
    assert service(installation, EffectKind.NOTIFICATION).calls == 0


def test_calls_before_the_window_do_not_count(installation: Installation) -> None:
    _, [order, *_] = planned(installation)
    calls(installation, order, 1.0)

    assert measure(installation.database, settings_of(installation, health_window_seconds=1e-6)).services[0].calls == 0


def test_an_open_breaker_is_an_outage_since_its_first_failure(installation: Installation) -> None:
    planned(installation)
    with installation.database.begin() as tx:
        limits.open_breaker(tx, "payments", "PAY-SERVICE-UNAVAILABLE", 30.0, probe_failed=False)
        limits.open_breaker(tx, "payments", "PAY-SERVICE-UNAVAILABLE", 30.0, probe_failed=True)
    level = service(installation)

    assert level.open_seconds is not None
    assert 0 <= level.open_seconds < 60
    assert level.reason == "PAY-SERVICE-UNAVAILABLE"
    assert alerts_of(installation) == [(AlertKind.SERVICE_DOWN, "payments")]
    with installation.database.begin() as tx:
        limits.close_breaker(tx, "payments")
    assert alerts_of(installation) == []


def test_a_batch_that_does_not_move_is_stuck_until_it_does(installation: Installation) -> None:
    """A run that begins again and again, and calls that fail each time, are no progress."""
    batch, [order] = planned(installation)
    moved = now(installation)
    installation.execute("select pg_sleep(1)")
    calls(installation, order, 0.1, outcome="not_done", status=503)
    put(installation, order, "sending", "retry_wait", "sending")
    installation.execute("select audit_append(%s, 'run:started', 'process_batch', array[]::integer[], null)", batch)
    since = (now(installation) - moved).total_seconds()
    assert seconds_still(installation, batch) >= since
    assert alerts_of(installation) == []
    assert alerts_of(installation, max_stuck_minutes=1e-9) == [(AlertKind.BATCH_STUCK, batch)]

    before = now(installation)
    put(installation, order, "done")
    still = seconds_still(installation, batch)
    assert still <= (now(installation) - before).total_seconds()


def test_a_batch_that_waits_for_a_person_is_told_of_after_hours(installation: Installation) -> None:
    batch, _ = planned(installation)
    before = now(installation)
    installation.execute(
        "update batches set state = 'paused', reason = 'BATCH-PAUSED-BY-PERSON', waits_for_person = true"
    )
    waits = measure(installation.database, settings_of(installation)).backlog.waiting[batch]

    assert waits <= (now(installation) - before).total_seconds()
    assert alerts_of(installation) == []
    assert alerts_of(installation, max_person_hours=1e-9) == [(AlertKind.BATCH_WAITS, batch)]


def test_rows_in_review_and_in_doubt_are_counted(installation: Installation) -> None:
    _, orders = planned(installation, 3)
    put(installation, orders[0], "sending", "unknown", reason="PAY-OUTCOME-UNKNOWN")
    put(installation, orders[1], "sending", "unknown", "review", reason="PAY-OUTCOME-UNKNOWN")
    installation.execute("update payments set settled_at = now() - interval '5 hours' where state = 'review'")
    backlog = measure(installation.database, settings_of(installation)).backlog

    assert (backlog.in_doubt, backlog.in_review, backlog.payments["planned"]) == (1, 1, 1)
    assert backlog.batches == {"ordered": 1}
    assert backlog.oldest_review_seconds == pytest.approx(5 * 3600, abs=60)
    assert (AlertKind.REVIEW_WAITS, "-") in alerts_of(installation)


def test_forged_events_and_alarms_of_the_webhook_are_told_of(installation: Installation) -> None:
    _, [order] = planned(installation)
    put(installation, order, "sending", "done")
    with listening(installation) as hook:
        assert hook.tell(order, payment_id="pay_other") == "200 accepted"
        assert hook.post({"x": 1}, Payment_Signature="t=1,v1=" + "0" * 64).status_code == 401
    measured = measure(installation.database, settings_of(installation))
    told = [kind for kind, _ in alerts_of(installation)]

    assert measured.security == {"webhook:refused": 1}
    assert measured.answers.answers == 1
    assert 0 < measured.answers.p50_ms <= measured.answers.p95_ms <= 10_000
    assert told == [AlertKind.WEBHOOK_CONTRADICTS, AlertKind.WEBHOOK_FORGED]


def test_an_alarm_is_over_once_a_person_has_looked_into_it(installation: Installation) -> None:
    batch, [order] = planned(installation)
    put(installation, order, "sending", "done")
    with listening(installation) as hook:
        hook.tell(order, payment_id="pay_other", event_id="evt_double")
    with installation.database.begin() as tx:
        story = trail_books.differences(tx, batch)
        [alarm] = webhook_alarms.waiting(tx)
        assert (alarm.event_id, alarm.batch_id, alarm.order_id) == ("evt_double", batch, order)
        webhook_alarms.acknowledge(tx, "evt_double", Finding.SETTLED)
        webhook_alarms.acknowledge(tx, "evt_double", Finding.NOT_OURS)
        assert webhook_alarms.waiting(tx) == []
        assert trail_books.differences(tx, batch) == story

    assert alerts_of(installation) == []
    query = "select finding, acknowledged_by from webhook_acknowledgements"
    assert installation.execute(query) == [("settled-at-service", "test")]
    query = "select event, reason from audit_events where chain = %s order by seq desc limit 1"
    assert installation.execute(query, batch) == [("alarm:acknowledged", "settled-at-service")]


def test_results_that_nobody_asked_for_are_a_security_event(installation: Installation, payments: Any) -> None:
    """And everything that was asked for is settled as ever."""
    batch = installation.ordered(3)
    payments.behave(profile="batch", fault_orders={"extra_item": [installation.order_ids(batch)[0]]})
    of = services(str(payments.http.base_url), str(payments.http.base_url), payments=BATCHES)
    work_through(installation, batch, of, selected=frozenset({EffectKind.PAYMENT}))

    assert {state for state, _ in installation.states("payments", batch).values()} == {"done"}
    query = "select reason from audit_events where chain = 'system' and event = 'security:foreign-result'"
    assert [reason for (reason,) in installation.execute(query)] == [f"1 results payments {batch}"]
    assert (AlertKind.FOREIGN_RESULT, "-") in alerts_of(installation)


def test_a_wrong_key_is_refused_and_told_of(installation: Installation) -> None:
    settings = settings_of(installation)
    admitted_vault(settings, installation.database)
    wrong = "A" * 43 + "="
    with pytest.raises(KeyRefused):
        admitted_vault(replace(settings, encryption_key=wrong), installation.database)

    assert alerts_of(installation) == [(AlertKind.KEY_REFUSED, "-")]


def test_a_right_that_our_login_has_not_is_refused_and_told_of(installation: Installation) -> None:
    """In the name of whoever tried. The watch itself needs no more than the application has."""
    login = "health_test_login"
    installation.execute(f"drop role if exists {login}")
    installation.execute(f"create role {login} login password 'x' in role bulk_orders_app")
    url = make_url(installation.url).set(username=login, password="x").render_as_string(hide_password=False)
    database = Database(url, Actor("cli:mallory", "", "0.0"))
    try:
        seen = look(database, settings_of(installation), "watch")
        assert seen is not None
        assert seen.conditions == []
        with pytest.raises(InvariantBroken), database.begin() as tx:
            tx.exec_driver_sql("delete from audit_events")
    finally:
        database.dispose()
        installation.execute(f"drop role {login}")

    query = "select actor, reason from audit_events where event = 'access:refused'"
    assert installation.execute(query) == [("cli:mallory", "SYS-DATABASE-REFUSED 42501")]
    assert alerts_of(installation) == [(AlertKind.ACCESS_REFUSED, "-")]


def test_a_verification_that_found_something_is_told_of_until_the_next_finds_nothing(
    installation: Installation,
) -> None:
    with installation.database.begin() as tx:
        trail_verifications.keep(tx, Verified(3, 100, 1, 0.1, 2, "AUDIT-CHANGED"))
    assert alerts_of(installation) == [(AlertKind.TRAIL_BROKEN, "-")]
    with installation.database.begin() as tx:
        trail_verifications.keep(tx, Verified(3, 100, 1, 0.1, 0, None))

    assert alerts_of(installation) == []
    query = "select event, reason from audit_events where event like 'trail:%%' order by seq"
    assert installation.execute(query) == [
        ("trail:not-whole", "100 events AUDIT-CHANGED"),
        ("trail:verified", "100 events"),
    ]


def test_a_guard_that_is_off_is_told_of_at_the_next_look(installation: Installation) -> None:
    installation.execute("alter table payments disable trigger audit")

    assert alerts_of(installation) == [(AlertKind.TRAIL_BROKEN, "-")]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def tick(installation: Installation, instance: dg.DagsterInstance, cursor: str | None, **more: Any) -> dg.SensorResult:
    defs = build_defs(settings_of(installation, health_every_seconds=1e-6, **more))
    sensor = defs.resolve_sensor_def(HEALTH_SENSOR)
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=defs)
    result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_the_sensor_shows_a_look_when_something_changed_and_else_once_an_hour(
    installation: Installation, instance: dg.DagsterInstance
) -> None:
    planned(installation)
    first = tick(installation, instance, None)
    evaluated = {event.check_name: event.passed for event in first.asset_events[1:]}  # type: ignore[union-attr]
    assert evaluated == {check.value: True for check in HealthCheck}

    second = tick(installation, instance, first.cursor)
    assert second.asset_events == []
    with installation.database.begin() as tx:
        limits.open_breaker(tx, "payments", "PAY-SERVICE-UNAVAILABLE", 30.0, probe_failed=False)
    third = tick(installation, instance, second.cursor)
    failed = [event for event in third.asset_events[1:] if not event.passed]  # type: ignore[union-attr]
    assert [event.check_name for event in failed] == ["services_answer_in_time"]  # type: ignore[union-attr]
    assert failed[0].severity is dg.AssetCheckSeverity.ERROR  # type: ignore[union-attr]

    fourth = tick(installation, instance, third.cursor, health_history_seconds=1e-9)
    assert len(fourth.asset_events) == 1 + len(HealthCheck)


def test_a_person_can_measure_by_hand_in_the_ui(installation: Installation, instance: dg.DagsterInstance) -> None:
    defs = build_defs(settings_of(installation), {"database": installation.database})
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(SERVICE_HEALTH)])

    assert result.success
    assert len(result.get_asset_check_evaluations()) == len(HealthCheck)


@pytest.fixture
def environment(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable, value in settings_of(installation).as_environment().items():
        monkeypatch.setenv(variable, value)
    return installation.folder


def test_the_command_says_whether_all_is_well(
    installation: Installation, environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(installation)
    assert main.run(["health"]) == 0
    assert "Every service level is kept." in capsys.readouterr().out

    with installation.database.begin() as tx:
        limits.open_breaker(tx, "payments", "PAY-SERVICE-UNAVAILABLE", 30.0, probe_failed=False)
    assert main.run(["health", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is False
    assert told["checks"]["services_answer_in_time"]["codes"] == ["ALERT-SERVICE-DOWN"]
    assert told["checks"]["disk_has_room"]["passed"] is True


def test_alarms_are_listed_and_acknowledged_by_command(
    installation: Installation, environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, [order] = planned(installation)
    put(installation, order, "sending", "done")
    with listening(installation) as hook:
        hook.tell(order, payment_id="pay_other", event_id="evt_double")
    assert main.run(["webhooks", "alarms"]) == 1
    assert "evt_double" in capsys.readouterr().out
    assert main.run(["webhooks", "acknowledge", "evt_none", "not-ours"]) == 2
    assert "SYS-ALARM-NOT-FOUND" in capsys.readouterr().err
    assert main.run(["webhooks", "acknowledge", "evt_double", "settled-at-service"]) == 0

    capsys.readouterr()
    assert main.run(["webhooks", "alarms", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_no_alert_and_no_check_holds_a_customers_value(installation: Installation) -> None:
    """Whatever is told is made of figures, ids and codes: of a batch with people in it, none of them is told."""
    _, orders = planned(installation, 2)
    put(installation, orders[0], "sending", "unknown", "review", reason="PAY-OUTCOME-UNKNOWN")
    installation.execute("update payments set settled_at = now() - interval '1 hour' where state = 'review'")
    settings = settings_of(installation, max_person_hours=1e-9, max_stuck_minutes=1e-9)
    measured = measure(installation.database, settings)
    limits_ = health_limits(settings)
    conditions = judge(measured, limits_)
    told = repr((measured, conditions, shown.results(measured, conditions, limits_, "ja")))

    assert {condition.kind for condition in conditions} == {AlertKind.BATCH_STUCK, AlertKind.REVIEW_WAITS}
    for canary in ("試験", "太郎", "@example.jp", "03-0000", "memo", make_url(installation.url).password or "-"):
        assert canary not in told
