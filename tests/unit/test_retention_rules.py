"""How old a month is, in which tier it is kept, and what a manifest says."""

from datetime import UTC, date, datetime

import pytest

from domain.errors import SettingRefused
from domain.outcomes import LookUp, Outcome, OutcomeClass
from domain.restoring import RestoreStatement, absence_after_restoring, read_restore_statement
from domain.retention import (
    Category,
    ChainRange,
    ExportManifest,
    Periods,
    Tier,
    Work,
    months_before,
    parse_periods,
    read_manifest,
    steps_of_month,
)
from orchestration.settings import Settings

JANUARY = date(2030, 1, 1)


@pytest.mark.parametrize(
    ("at", "tier"),
    [
        ((2030, 1, 1), Tier.HOT),
        ((2031, 1, 31), Tier.HOT),  # eleven months after the end of January 2030
        ((2031, 2, 1), Tier.WARM),
        ((2033, 1, 31), Tier.WARM),
        ((2033, 2, 1), Tier.COLD),
        ((2038, 1, 31), Tier.COLD),
        ((2038, 2, 1), Tier.GONE),
        ((2020, 1, 1), Tier.HOT),  # a clock that went back destroys nothing
    ],
)
def test_a_month_ages_from_its_end(at: tuple[int, int, int], tier: Tier) -> None:
    assert Periods().tier(JANUARY, datetime(*at, tzinfo=UTC)) is tier


@pytest.mark.parametrize("text", ["12/36", "12/36/35", "36/12/96", "0/1/2", "a/b/c", "-1/2/3", "1/2/9999", "１/2/3"])
def test_periods_that_are_none_are_refused_at_start(text: str) -> None:
    assert parse_periods(text) is None
    with pytest.raises(SettingRefused) as refused:
        Settings.from_environment({"BULK_ORDERS_RETENTION_TRAIL": text})
    assert refused.value.facts["variable"] == "BULK_ORDERS_RETENTION_TRAIL"


def test_periods_of_the_settings_are_the_rules() -> None:
    settings = Settings.from_environment({"BULK_ORDERS_RETENTION_ATTEMPTS": "3/6/84"})

    assert settings.retention_rules.attempts == Periods(3, 6, 84)
    assert settings.retention_rules.trail == Periods(12, 36, 96)


def test_months_are_counted_over_the_turn_of_the_year() -> None:
    assert months_before(datetime(2031, 2, 15, tzinfo=UTC), 14) == date(2029, 12, 1)


def test_each_tier_asks_for_what_is_missing_and_for_nothing_twice() -> None:
    def due(tier: Tier, **known: bool) -> list[Work]:
        state = {"in_database": True, "exported": False, "warm": False, "destroyed": False} | known
        return list(steps_of_month(Category.TRAIL, JANUARY, tier, **state))

    assert due(Tier.HOT) == []
    assert due(Tier.WARM) == [Work.WARM]
    assert due(Tier.WARM, warm=True) == []
    assert due(Tier.COLD) == [Work.EXPORT, Work.DROP]
    assert due(Tier.COLD, exported=True) == [Work.DROP]
    assert due(Tier.COLD, exported=True, in_database=False) == []
    assert due(Tier.GONE) == [Work.EXPORT, Work.DROP, Work.DESTROY]
    assert due(Tier.GONE, exported=True, in_database=False) == [Work.DESTROY]
    assert due(Tier.GONE, exported=True, in_database=False, destroyed=True) == []


def test_a_manifest_is_read_as_it_was_written_and_nothing_else_is_one() -> None:
    manifest = ExportManifest(
        installation="i",
        category=Category.TRAIL,
        partition="audit_events_2030_01",
        month=JANUARY,
        rows=2,
        file="trail/x.parquet",
        file_bytes=5,
        file_sha256="aa",
        content_sha256="bb",
        columns=("chain", "seq"),
        chains=(ChainRange("20300101-商店-abc", 1, "00", 2, "ff"),),
        batches=("20300101-商店-abc",),
        key_id="k",
    )

    assert read_manifest(manifest.to_body()) == manifest
    for other in ("", "{}", "[]", "null", manifest.to_body().replace("trail", "trial", 1), "[" * 100_000):
        assert read_manifest(other) is None


def test_the_statement_of_a_restoration_is_read_as_it_was_written() -> None:
    statement = RestoreStatement("i", 1, 5, 2, 4, "ab", ("20300101-shop-abc",), "k")

    assert read_restore_statement(statement.to_body()) == statement
    assert [read_restore_statement(other) for other in ("", "{}", "[]")] == [None, None, None]


def test_after_a_restoration_absent_under_a_key_proves_nothing() -> None:
    """The key may have been renewed after the backup."""
    absent = Outcome(OutcomeClass.ABSENT)

    assert absence_after_restoring(absent, LookUp.BY_ORDER, "X") == absent
    assert absence_after_restoring(absent, LookUp.BY_KEY, "X").cls is OutcomeClass.MISMATCH
    done = Outcome(OutcomeClass.DONE)
    assert absence_after_restoring(done, LookUp.BY_KEY, "X") == done
