"""Nothing is assumed that a profile does not state, and a profile that cannot be understood stops the start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from domain.errors import SettingRefused
from domain.outcomes import LookUp
from domain.profiles import LEGACY, load_profile
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
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_name(tmp_path: Path, text: str, variable: str):
    with pytest.raises(SettingRefused) as refused:
        load_profile(PAYMENT, written(tmp_path, text))

    assert refused.value.code == "SYS-SETTING-INVALID"
    assert refused.value.facts["variable"] == variable


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
