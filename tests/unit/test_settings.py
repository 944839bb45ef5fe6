"""Settings are read once, checked once, and never show a secret."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from domain.errors import SettingRefused
from orchestration.local_services import local_services
from orchestration.settings import Settings

VARIABLES = [item.metadata["variable"] for item in fields(Settings)]


def test_without_any_variable_everything_has_a_value():
    settings = Settings.from_environment({})

    assert settings.home == Path(".bulk-orders").absolute()
    assert settings.watched_dir == settings.home / "import"
    assert settings.database_url is None


def test_every_setting_has_a_variable_of_its_own_and_says_what_it_means():
    assert len(set(VARIABLES)) == len(VARIABLES)
    assert all(item.metadata["meaning"] for item in fields(Settings))


def test_only_the_variables_of_the_design_have_no_prefix():
    outside = {"DATABASE_URL", "IMPORT_DIR", "PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL"}
    outside |= {"PAYMENT_SERVICE_PROFILE", "NOTIFICATION_SERVICE_PROFILE"}
    outside |= {"PAYMENT_SERVICE_NAME", "NOTIFICATION_SERVICE_NAME"}
    outside |= {"PAYMENT_WEBHOOK_SECRET", "PAYMENT_WEBHOOK_SECRET_BEFORE"}

    assert {name for name in VARIABLES if not name.startswith("BULK_ORDERS_")} == outside


def test_the_environment_of_settings_gives_the_same_settings_again(tmp_path: Path):
    """Child processes are started with it, wherever they run."""
    given = {
        "BULK_ORDERS_HOME": str(tmp_path / "a b ü"),
        "IMPORT_DIR": str(tmp_path / "drop"),
        "DATABASE_URL": "postgresql://u:p%20w@h/d",
        "BULK_ORDERS_MAX_ROWS": "7",
        "BULK_ORDERS_PAYMENT_TIMEOUT_SECONDS": "1.5",
        "PAYMENT_SERVICE_PROFILE": str(tmp_path / "p.toml"),
    }
    settings = Settings.from_environment(given)

    assert Settings.from_environment(settings.as_environment()) == settings


def test_what_is_not_set_is_not_handed_on_from_our_own_environment_either():
    """A password that only the owner of the schema has must not reach a worker by the back door."""
    environment = Settings.from_environment({}).as_environment()

    assert environment["BULK_ORDERS_OWNER_DATABASE_URL"] == ""
    assert environment.keys() == set(VARIABLES)


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("BULK_ORDERS_APPROVAL_ABOVE_YEN", "BULK_ORDERS_APPROVAL_ABOVE_JPY"),
        ("BULK_ORDERS_CANARY_PAYMENT", "BULK_ORDERS_CANARY_PAYMENTS"),
        ("BULK_ORDERS_HOMe", "BULK_ORDERS_HOME"),
    ],
)
def test_a_misspelt_setting_is_refused_with_what_may_be_meant(variable: str, nearest: str):
    """A guard on money would be off, and nobody would know."""
    with pytest.raises(SettingRefused) as refused:
        Settings.from_environment({variable: "5"})

    assert (refused.value.code, refused.value.facts["variable"]) == ("SYS-SETTING-UNKNOWN", variable)
    assert refused.value.facts["nearest"] == nearest


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL"),
        ("NOTIFICATION_SERVICE_URL", "PAYMENT_SERVICE_URL"),
        ("PAYMENT_SERVICE_NAME", "PAYMENT_SERVICE_URL"),
        ("NOTIFICATION_SERVICE_NAME", "PAYMENT_SERVICE_URL"),
    ],
)
def test_a_sandbox_never_stands_in_for_one_of_two_services(tmp_path: Path, given: str, missing: str):
    """Real mails would tell of payments that nobody made."""
    settings = Settings.from_environment({given: "https://real.example", "BULK_ORDERS_HOME": str(tmp_path / "home")})

    with pytest.raises(SettingRefused) as refused, local_services(settings):
        pass

    assert refused.value.code == "SYS-SERVICE-MISSING"
    assert refused.value.facts == {"given": given, "missing": missing}
    assert list(tmp_path.iterdir()) == []


def test_relative_paths_mean_the_folder_of_the_first_process():
    settings = Settings.from_environment({"BULK_ORDERS_HOME": "h", "IMPORT_DIR": "i", "PAYMENT_SERVICE_PROFILE": "p"})

    assert settings.home.is_absolute()
    assert settings.watched_dir.is_absolute()
    assert Path(settings.payment_profile).is_absolute()
    assert settings.notification_profile == "legacy"


def test_an_empty_variable_counts_as_not_given():
    assert Settings.from_environment({"DATABASE_URL": "  ", "BULK_ORDERS_MAX_ROWS": ""}) == Settings.from_environment(
        {}
    )


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("BULK_ORDERS_MAX_ROWS", "ten"),
        ("BULK_ORDERS_MAX_ROWS", "10.5"),
        ("BULK_ORDERS_MAX_ROWS", "0"),
        ("BULK_ORDERS_MAX_ROWS", "-1"),
        ("BULK_ORDERS_PAYMENT_TIMEOUT_SECONDS", "0"),
        ("BULK_ORDERS_PAYMENT_TIMEOUT_SECONDS", "-3"),
        ("BULK_ORDERS_PAYMENT_TIMEOUT_SECONDS", "nan"),
        ("BULK_ORDERS_PAYMENT_TIMEOUT_SECONDS", "inf"),
        ("BULK_ORDERS_FILE_SETTLE_SECONDS", "-0.1"),
        ("BULK_ORDERS_UI_PORT", "65536"),
        ("BULK_ORDERS_POSTGRES_PORT", "70000"),
        ("BULK_ORDERS_POSTGRES_PORT", "-1"),
        ("BULK_ORDERS_LANGUAGE", "fr"),
        ("BULK_ORDERS_CANARY_PAYMENTS", "-1"),
        ("BULK_ORDERS_CANARY_FAILED_PERCENT", "100.1"),
        ("BULK_ORDERS_TOLERATED_FAILED_PERCENT", "-1"),
        ("BULK_ORDERS_APPROVAL_ABOVE_JPY", "1.5"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_variable(variable: str, text: str):
    with pytest.raises(SettingRefused) as refused:
        Settings.from_environment({variable: text})

    assert refused.value.code == "SYS-SETTING-INVALID"
    assert refused.value.facts["variable"] == variable
    assert text not in str(refused.value.facts["expected"])


def test_zero_is_allowed_where_it_means_something():
    settings = Settings.from_environment({"BULK_ORDERS_POSTGRES_PORT": "0", "BULK_ORDERS_FILE_SETTLE_SECONDS": "0"})

    assert (settings.postgres_port, settings.file_settle_seconds) == (0, 0.0)


def test_a_secret_is_not_shown():
    settings = Settings.from_environment(
        {"DATABASE_URL": "postgresql://u:pw-canary@h/d", "BULK_ORDERS_ENCRYPTION_KEY": "key-canary"}
    )

    assert not re.search("(pw|key)-canary", f"{settings!r} {settings} {settings:}")


def test_the_secrets_of_the_webhook_are_not_shown_and_not_short():
    secret = "webhook-canary-0123456789-0123456789"
    names = ("PAYMENT_WEBHOOK_SECRET", "PAYMENT_WEBHOOK_SECRET_BEFORE")

    assert "webhook-canary" not in repr(Settings.from_environment(dict.fromkeys(names, secret)))
    for name in names:
        for weak in ("canary-too-short", "鍵" * 40, "x" * 40 + "\x07"):
            with pytest.raises(SettingRefused) as refused:
                Settings.from_environment({name: weak})
            assert refused.value.facts["variable"] == name
            assert weak not in str(refused.value.facts)


def test_a_password_in_a_service_address_is_not_shown_either():
    settings = Settings.from_environment({"PAYMENT_SERVICE_URL": "https://user:pw-canary@pay.example"})

    assert "pw-canary" not in repr(settings)
