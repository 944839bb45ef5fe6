"""The service levels judged: each limit from both sides, each alert with its check, its words and its runbook page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domain import catalogue
from domain.alerts import CHECK_OF, URGENT, AlertKind, Condition, HealthCheck
from domain.errors import SettingRefused
from domain.health import (
    SECURITY_EVENTS,
    AnswerLevel,
    Backlog,
    DatabaseLevel,
    HealthLimits,
    Measured,
    ServiceLevel,
    TrailLevel,
    WatchLevel,
    judge,
)
from orchestration.health import shown
from orchestration.settings import Settings

RUNBOOK = Path(__file__).resolve().parents[2] / "docs" / "runbook.md"
LIMITS = HealthLimits()
WELL = Measured(
    window_seconds=900,
    database=DatabaseLevel({"a": 99.0, "b": 101.0}),
    services=[
        ServiceLevel("payments", calls=1000, p50_ms=10_000, p95_ms=15_000, by_outcome={"done": 900, "refused": 100}),
        ServiceLevel("notifications", calls=1000, throttled=4, p95_ms=5_000, by_outcome={"done": 950, "ambiguous": 50}),
    ],
    answers=AnswerLevel(1000, 200, 500, reachable=True),
    backlog=Backlog(still={"b": 900.0}, waiting={"c": 4 * 3600.0}, oldest_review_seconds=4 * 3600.0),
    trail=TrailLevel(3 * 3600.0, True, 48 * 3600.0, 1e9),
    watch=WatchLevel({"dagster": 300.0}, {}, 99.9),
    free_disk_bytes=2_000_000_000,
    backup_age=26 * 3600.0,
)


def kinds(measured: Measured) -> list[AlertKind]:
    return [condition.kind for condition in judge(measured, LIMITS)]


def with_service(**more: Any) -> Measured:
    return replace(WELL, services=[replace(WELL.services[0], **more)])


def test_what_is_just_within_every_limit_is_well():
    assert judge(WELL, LIMITS) == []


NOT_WELL = {
    AlertKind.DATABASE_SLOW: replace(WELL, database=DatabaseLevel({"a": 100.0, "b": 101.0})),
    AlertKind.SERVICE_SLOW: with_service(p95_ms=15_001),
    AlertKind.SERVICE_DOWN: replace(
        with_service(open_seconds=60.0, reason="PAY-SERVICE-UNAVAILABLE"), backlog=Backlog(open_at={"payments": {"b"}})
    ),
    AlertKind.ERROR_RATE: with_service(by_outcome={"ambiguous": 40, "not_done": 6, "mismatch": 5}),
    AlertKind.THROTTLED: with_service(throttled=5),
    AlertKind.WEBHOOK_SLOW: replace(WELL, answers=AnswerLevel(20, 201, 300, reachable=True)),
    AlertKind.WEBHOOK_DOWN: replace(WELL, answers=AnswerLevel(reachable=False)),
    AlertKind.BATCH_STUCK: replace(WELL, backlog=Backlog(still={"b": 901.0})),
    AlertKind.BATCH_WAITS: replace(WELL, backlog=Backlog(waiting={"c": 4 * 3600.0 + 1})),
    AlertKind.REVIEW_WAITS: replace(WELL, backlog=Backlog(payments={"review": 2}, oldest_review_seconds=14_401.0)),
    AlertKind.WEBHOOK_CONTRADICTS: replace(WELL, backlog=Backlog(webhook_alarms=1)),
    AlertKind.WEBHOOK_FORGED: replace(WELL, security={"webhook:refused": 3}),
    AlertKind.FOREIGN_RESULT: replace(WELL, security={"security:foreign-result": 1}),
    AlertKind.KEY_REFUSED: replace(WELL, security={"security:key-refused": 1}),
    AlertKind.ACCESS_REFUSED: replace(WELL, security={"access:refused": 1}),
    AlertKind.TRAIL_BROKEN: replace(WELL, trail=replace(WELL.trail, guards_off=["payments.audit"])),
    AlertKind.TRAIL_UNVERIFIED: replace(WELL, trail=replace(WELL.trail, verified_age=48 * 3600.0 + 1)),
    AlertKind.ANCHOR_OLD: replace(WELL, trail=replace(WELL.trail, anchor_age=3 * 3600.0 + 1)),
    AlertKind.BACKUP_OLD: replace(WELL, backup_age=26 * 3600.0 + 1),
    AlertKind.DISK_LOW: replace(WELL, free_disk_bytes=1_999_999_999),
    AlertKind.WATCHER_SILENT: replace(WELL, watch=WatchLevel({"dagster": 301.0})),
    AlertKind.SCHEDULE_FAILING: replace(WELL, watch=WatchLevel(failing={"import_folder": 3})),
    AlertKind.UNAVAILABLE: replace(WELL, watch=WatchLevel(availability_percent=99.899)),
}


@pytest.mark.parametrize("kind", NOT_WELL)
def test_what_is_just_beyond_one_limit_is_told_alone_with_all_its_facts(kind: AlertKind):
    [condition] = judge(NOT_WELL[kind], LIMITS)
    for language in catalogue.languages():
        told = catalogue.fill(kind.value, condition.facts, language)
        assert "?" not in told.message + told.remedy, language

    assert condition.kind is kind


def test_every_kind_that_is_measured_is_tried_here():
    """The two others: the watch itself tells of a database that is gone, and a person sends a test."""
    assert set(AlertKind) - set(NOT_WELL) == {AlertKind.DATABASE_GONE, AlertKind.TEST}


def test_a_few_calls_say_nothing_about_a_service():
    few = with_service(calls=19, p95_ms=60_000, by_outcome={"ambiguous": 19})

    assert judge(few, LIMITS) == []


def test_a_refusal_is_an_answer_and_being_throttled_no_error():
    level = ServiceLevel("payments", calls=100, by_outcome={"refused": 60, "not_done": 30, "done": 10}, throttled=30)

    assert level.errors == 0


def test_batches_that_wait_for_a_service_that_is_down_are_no_news_and_others_are():
    down = with_service(open_seconds=3600.0)
    still = {"waits": 10_000.0, "stands": 10_000.0}
    both = replace(down, backlog=Backlog(still=still, open_at={"payments": {"waits"}, "notifications": {"stands"}}))

    assert [(c.kind, c.about) for c in judge(both, LIMITS)] == [
        (AlertKind.SERVICE_DOWN, "payments"),
        (AlertKind.BATCH_STUCK, "stands"),
    ]


def test_a_service_that_nothing_waits_for_may_be_down_or_not():
    """Only who has something to do there asks whether it is back."""
    down = with_service(open_seconds=1e6)

    assert kinds(replace(down, backlog=Backlog(open_at={"notifications": {"b"}}))) == []


@pytest.mark.parametrize(
    ("progress", "since_last_end", "told"),
    [(10.0, None, []), (10_000.0, 10.0, ["runs"]), (10_000.0, 10_000.0, ["runs", "waits"])],
)
def test_a_batch_that_waits_for_its_turn_is_stuck_when_nothing_moves(
    progress: float, since_last_end: float | None, told: list[str]
):
    still = {"runs": progress, "waits": 10_000.0}
    queue = replace(WELL, backlog=Backlog(still=still, queued={"waits"}, since_last_end=since_last_end))

    assert [condition.about for condition in judge(queue, LIMITS)] == told


def test_what_never_happened_is_as_old_as_the_first_batch():
    new = TrailLevel(None, True, None, first_event_age=60.0)
    old = TrailLevel(None, True, None, first_event_age=1e6)

    assert kinds(replace(WELL, trail=new)) == []
    assert kinds(replace(WELL, trail=old)) == [AlertKind.TRAIL_UNVERIFIED, AlertKind.ANCHOR_OLD]
    assert kinds(replace(WELL, trail=TrailLevel())) == []


def test_nothing_is_missed_where_nothing_is_known():
    assert judge(Measured(window_seconds=900), LIMITS) == []


def test_every_kind_has_a_check_and_every_check_a_kind():
    assert set(CHECK_OF) == set(AlertKind)
    assert set(CHECK_OF.values()) == set(HealthCheck)
    assert set(SECURITY_EVENTS.values()) <= URGENT


def test_every_kind_is_a_code_of_the_catalogue_and_every_such_code_a_kind():
    assert {code for code in catalogue.CODES if code.startswith("ALERT-")} == {kind.value for kind in AlertKind}


def test_every_check_is_described_in_both_languages():
    for language in catalogue.languages():
        assert set(catalogue.words("health_checks", language)) == {check.value for check in HealthCheck}


def test_the_runbook_has_a_section_for_every_alert_japanese_first_and_none_besides():
    text = RUNBOOK.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (ALERT-[A-Z-]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [code for code in catalogue.CODES if code.startswith("ALERT-")]

    for code, section in sections.items():
        lines = [line for line in section.splitlines() if line and not line.startswith("**")]
        japanese = [bool(re.search("[ぁ-んァ-ン]", line)) for line in lines]
        assert japanese == sorted(japanese, reverse=True), code
        assert sum(japanese) == len(lines) - sum(japanese) >= 2, code  # as many steps in one as in the other
        assert ("urgent" in section) == (AlertKind(code) in URGENT), code


def test_every_check_shows_its_figures_and_what_is_wrong():
    found = shown.results(WELL, [Condition(AlertKind.DISK_LOW, facts={"free_mb": 1, "limit_mb": 2})], LIMITS, "en")
    failed = {result.check: result for result in found if not result.passed}

    assert [result.check for result in found] == list(HealthCheck)
    assert all(result.figures for result in found)
    assert set(failed) == {HealthCheck.DISK}
    assert failed[HealthCheck.DISK].urgent
    assert failed[HealthCheck.DISK].lines[0].startswith("ALERT-DISK-LOW: Only 1 MB are free")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("BULK_ORDERS_ALERT_WEBHOOK_URL", "http://chat.example/hook-canary"),
        ("BULK_ORDERS_ALERT_WEBHOOK_URL", "ftp://chat.example/hook-canary"),
        ("BULK_ORDERS_ALERT_WEBHOOK_URL", "https://[hook-canary"),
        ("BULK_ORDERS_HEARTBEAT_URL", "http://monitor.example/hook-canary"),
        ("BULK_ORDERS_ALERT_SMTP_URL", "mail.example:25-hook-canary"),
        ("BULK_ORDERS_ALERT_SMTP_URL", "smtp://user:hook-canary@mail.example"),
        ("BULK_ORDERS_ALERT_MAIL_TO", "nobody-hook-canary"),
        ("BULK_ORDERS_ALERT_MAIL_FROM", "two, hook-canary"),
    ],
)
def test_a_way_for_alerts_that_cannot_work_or_leaks_is_refused_at_the_start(variable: str, text: str):
    with pytest.raises(SettingRefused) as refused:
        Settings.from_environment({variable: text})

    assert refused.value.facts["variable"].startswith("BULK_ORDERS_ALERT") or "HEARTBEAT" in str(refused.value)
    assert "hook-canary" not in str(refused.value)


def test_the_addresses_of_alerts_are_shown_to_nobody():
    """A chat's address is its password; people's addresses are their own."""
    settings = Settings.from_environment(
        {
            "BULK_ORDERS_ALERT_WEBHOOK_URL": "https://chat.example/hook-canary",
            "BULK_ORDERS_ALERT_SMTP_URL": "smtps://user:hook-canary@mail.example",
            "BULK_ORDERS_ALERT_MAIL_TO": "hook-canary@example.jp",
            "BULK_ORDERS_HEARTBEAT_URL": "https://monitor.example/hook-canary",
            "BULK_ORDERS_ALERT_WEBHOOK_SECRET": "hook-canary-0123456789-0123456789",
        }
    )

    assert "hook-canary" not in repr(settings)
    assert "hook-canary" not in str(settings.shown())
