"""Nothing is assumed that a profile does not state, and a profile that cannot be understood stops the start."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from domain.errors import SettingRefused
from domain.outcomes import LookUp
from domain.profiles import LEGACY, ServiceProfile, load_profile
from domain.states import EffectKind

PAYMENT, MAIL = EffectKind.PAYMENT, EffectKind.NOTIFICATION


def written(folder: Path, text: str) -> str:
    path = folder / "profile.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_legacy_service_is_trusted_with_nothing():
    for profile in LEGACY.values():
        assert not profile.honours_keys
        assert not profile.unavailable_means_not_done
        assert profile.look_up is LookUp.BY_ORDER
    assert load_profile(MAIL, "legacy").rate_per_second == 10.0
    assert load_profile(PAYMENT, "legacy").rate_per_second is None


def test_a_file_changes_what_it_states_and_nothing_else(tmp_path: Path):
    path = written(tmp_path, 'name = "ours"\nhonours_keys = true\nlook_up = "by_key"\nrate_per_second = 25\n')

    assert load_profile(MAIL, path) == replace(
        LEGACY[MAIL], name="ours", honours_keys=True, look_up=LookUp.BY_KEY, rate_per_second=25
    )


def test_a_rate_of_zero_is_no_limit(tmp_path: Path):
    assert load_profile(MAIL, written(tmp_path, "rate_per_second = 0")).rate_per_second is None


def test_an_empty_file_is_the_legacy_service(tmp_path: Path):
    assert load_profile(PAYMENT, written(tmp_path, "")) == LEGACY[PAYMENT]


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("honours_keys = ", "PAYMENT_SERVICE_PROFILE"),
        ("\x00", "PAYMENT_SERVICE_PROFILE"),
        ("honors_keys = true", "PAYMENT_SERVICE_PROFILE"),
        ('honours_keys = "yes"', "honours_keys"),
        ("honours_keys = 1", "honours_keys"),
        ("settle_seconds = true", "settle_seconds"),
        ('settle_seconds = "35"', "settle_seconds"),
        ("settle_seconds = -1", "settle_seconds"),
        ("settle_seconds = nan", "settle_seconds"),
        ("settle_seconds = inf", "settle_seconds"),
        ("second_look_seconds = -1", "second_look_seconds"),
        ("key_ttl_seconds = nan", "key_ttl_seconds"),
        ("rate_per_second = -3.5", "rate_per_second"),
        ("rate_per_second = nan", "rate_per_second"),
        ("rate_per_second = inf", "rate_per_second"),
        ('look_up = "by_name"', "look_up"),
        ("look_up = true", "look_up"),
        ('look_up = "by_key"', "look_up"),  # a key that is never sent is never found
        ('look_up = "by_key"\nhonours_keys = true\nbatch_size = 5\nbatch_item_keys = false', "look_up"),
        ("batch_size = -1", "batch_size"),
        ("batch_size = 1001", "batch_size"),
        ("batch_size = 10.5", "batch_size"),
        ("batch_size = true", "batch_size"),
        ('batch_path = "api/batch"', "batch_path"),
        ('batch_path = "https://elsewhere.example/batch"', "batch_path"),
        ("batch_path = 7", "batch_path"),
        ('batch_item_keys = "no"', "batch_item_keys"),
        ("rate_counts_items = true\nrate_per_second = 10\nbatch_size = 11", "batch_size"),
        ('order_field = ""', "order_field"),
        ('done_words = "settled"', "done_words"),
        ("done_words = [1]", "done_words"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(tmp_path: Path, text: str, variable: str):
    with pytest.raises(SettingRefused) as refused:
        load_profile(PAYMENT, written(tmp_path, text))

    assert refused.value.code == "SYS-SETTING-INVALID"
    assert refused.value.facts["variable"] == variable


def test_a_refusal_says_what_is_expected(tmp_path: Path):
    with pytest.raises(SettingRefused) as refused:
        load_profile(PAYMENT, written(tmp_path, 'batch_size = "many"'))

    assert refused.value.facts == {"variable": "batch_size", "expected": "a whole number"}


def test_every_setting_of_a_profile_can_be_stated_in_a_file(tmp_path: Path):
    """One that is missing from the table of kinds would be refused as unknown."""
    text = {"look_up": '"by_order"', "done_words": '["settled"]', "batch_path": '"/bulk"', "order_field": '"order"'}
    given = {item.name: text.get(item.name, "true" if item.type == "bool" else "1") for item in fields(ServiceProfile)}
    given |= dict.fromkeys(("name", "answer_field", "id_field"), '"x"')

    profile = load_profile(PAYMENT, written(tmp_path, "\n".join(f"{name} = {value}" for name, value in given.items())))

    assert (profile.batch_size, profile.batch_path, profile.done_words) == (1, "/bulk", ("settled",))


@pytest.mark.parametrize(
    ("stated", "calls", "effects"),
    [
        ({}, None, None),
        ({"rate_per_second": 10.0}, 10.0, 10.0),
        ({"rate_per_second": 10.0, "batch_size": 100}, 10.0, 1000.0),
        ({"rate_per_second": 10.0, "batch_size": 10, "rate_counts_items": True}, 1.0, 10.0),
        ({"rate_per_second": 10.0, "batch_size": 4, "rate_counts_items": True}, 2.0, 8.0),
        ({"rate_per_second": 10.0, "batch_size": 6, "rate_counts_items": True}, 1.0, 6.0),
        ({"rate_per_second": 0.5, "rate_counts_items": True}, 0.5, 0.5),
    ],
)
def test_where_items_count_no_second_holds_more_of_them_than_the_limit(
    stated: dict[str, Any], calls: float | None, effects: float | None
):
    """A call of six items twice in a second would be twelve."""
    profile = ServiceProfile(**stated)

    assert (profile.calls_per_second, profile.effects_per_second) == (calls, effects)


@pytest.mark.parametrize(
    ("stated", "protects"),
    [
        ({}, False),
        ({"honours_keys": True}, True),
        ({"honours_keys": True, "batch_size": 10}, True),
        ({"honours_keys": True, "batch_size": 10, "batch_item_keys": False}, False),
        ({"batch_size": 10}, False),
    ],
)
def test_a_key_protects_only_where_it_travels_and_is_honoured(stated: dict[str, Any], protects: bool):
    assert ServiceProfile(**stated).sends_keys is protects


@pytest.mark.parametrize("source", ["", "no/such.toml", "."])
def test_a_file_that_is_not_there_is_refused(source: str):
    with pytest.raises(SettingRefused) as refused:
        load_profile(MAIL, source)

    assert refused.value.facts["variable"] == "NOTIFICATION_SERVICE_PROFILE"


def test_a_file_that_is_no_utf8_is_refused(tmp_path: Path):
    path = tmp_path / "profile.toml"
    path.write_bytes(b'name = "\xff"')

    with pytest.raises(SettingRefused):
        load_profile(MAIL, str(path))
