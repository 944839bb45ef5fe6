"""Every setting of the system, each named once: meaning, unit, default, environment variable.

Those of alerts and service levels stand in ``health_settings.py``, those of retention in ``retention_settings.py``.

Nothing here is read at import time. ``Settings.from_environment`` is called once by each entry point (the command line,
the code location) and handed down; no other module reads the environment.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from domain.catalogue import languages
from domain.errors import SettingRefused
from domain.guards import NEAR_DUPLICATE_DAYS
from orchestration.health_settings import HEALTH_PERCENTAGES, HEALTH_SECRETS, check_addresses
from orchestration.retention_settings import RetentionSettings, check_periods
from orchestration.setting import setting
from resources.file_labels import safe_label

_OURS, _OF_TESTS = "BULK_ORDERS_", "BULK_ORDERS_FUZZ_"


@dataclass(frozen=True, slots=True)
class Settings(RetentionSettings):
    """All settings, validated. Immutable; ``repr`` shows no secret.

    Raises:
        SettingRefused: from ``from_environment``, naming the variable and what it should be.
    """

    home: Path = setting("BULK_ORDERS_HOME", Path(".bulk-orders"), "folder of everything this installation keeps")
    import_dir: Path | None = setting(
        "IMPORT_DIR", None, "watched folder, one sub-folder per client; default: home/import"
    )
    profiles_dir: Path | None = setting(
        "BULK_ORDERS_PROFILES_DIR", None, "folder of the clients' profiles, <client>.yaml; default: home/profiles"
    )
    anchor_dir: Path | None = setting(
        "BULK_ORDERS_ANCHOR_DIR", None, "folder of the trail's anchors, best on another machine; default: home/anchors"
    )
    anchor_key_file: Path | None = setting(
        "BULK_ORDERS_ANCHOR_KEY_FILE", None, "private key that signs anchors and packs; default: home/keys/anchors.key"
    )
    roles_file: Path | None = setting(
        "BULK_ORDERS_ROLES_FILE", None, "who may do what; default: home/roles.toml, and without it everybody everything"
    )
    test_system: int = setting(
        "BULK_ORDERS_TEST_SYSTEM", 0, "1: a test system, which takes de-identified files; 0: production, which does not"
    )
    language: str = setting("BULK_ORDERS_LANGUAGE", "ja", "language of messages for people: ja, en")

    database_url: str | None = setting("DATABASE_URL", None, "PostgreSQL 16 or newer; empty: our own server under home")
    database_owner_url: str | None = setting(
        "BULK_ORDERS_OWNER_DATABASE_URL",
        None,
        "the same database as the schema's owner, for `db upgrade`; empty: as above",
    )
    encryption_key: str | None = setting(
        "BULK_ORDERS_ENCRYPTION_KEY", None, "256-bit keys, base64, the newest first; empty: the key file"
    )
    encryption_key_file: Path | None = setting(
        "BULK_ORDERS_ENCRYPTION_KEY_FILE",
        None,
        "file of these keys, one a line, the newest first; default: home/keys/personal-data.key",
    )
    key_command: str | None = setting(
        "BULK_ORDERS_KEY_COMMAND", None, "command that unwraps each key, from standard input to standard output (a KMS)"
    )
    key_sheets_dir: Path | None = setting(
        "BULK_ORDERS_KEY_SHEETS_DIR", None, "folder of the keys of single rows; default: home/keys/sheets"
    )
    postgres_port: int = setting("BULK_ORDERS_POSTGRES_PORT", 0, "port of our own server; 0: any free one")
    ui_port: int = setting("BULK_ORDERS_UI_PORT", 3000, "port of the Dagster UI on loopback")
    audit_ui_port: int = setting(
        "BULK_ORDERS_AUDIT_UI_PORT",
        0,
        "port of a second Dagster UI on loopback, in which nothing can be changed; 0: none",
    )
    proxy_secret: str | None = setting(
        "BULK_ORDERS_PROXY_SECRET", None, "shared with the proxy that says who is in front of the UI; empty: no proxy"
    )

    payment_service_url: str | None = setting("PAYMENT_SERVICE_URL", None, "base URL; empty: the sandbox")
    notification_service_url: str | None = setting("NOTIFICATION_SERVICE_URL", None, "base URL; empty: the sandbox")
    payment_service_name: str | None = setting(
        "PAYMENT_SERVICE_NAME", None, "its name, kept when its address changes; empty: its host, port and path"
    )
    notification_service_name: str | None = setting(
        "NOTIFICATION_SERVICE_NAME", None, "its name, kept when its address changes; empty: its host, port and path"
    )
    payment_profile: str = setting(
        "PAYMENT_SERVICE_PROFILE", "legacy", "what the payment service can do: a profile's name or a TOML file"
    )
    notification_profile: str = setting(
        "NOTIFICATION_SERVICE_PROFILE",
        "legacy",
        "what the notification service can do: a profile's name or a TOML file",
    )

    payment_webhook_secret: str | None = setting(
        "PAYMENT_WEBHOOK_SECRET", None, "shared with the payment service, which signs its events; empty: no webhook"
    )
    payment_webhook_secret_before: str | None = setting(
        "PAYMENT_WEBHOOK_SECRET_BEFORE", None, "the secret before, accepted too while it is being exchanged"
    )
    webhook_port: int = setting("BULK_ORDERS_WEBHOOK_PORT", 3001, "port of the webhook on loopback")

    max_file_rows: int = setting("BULK_ORDERS_MAX_ROWS", 10_000, "rows; a larger file is refused as a whole (R-07)")
    max_file_bytes: int = setting("BULK_ORDERS_MAX_BYTES", 50_000_000, "bytes; a larger file is refused as a whole")
    max_file_columns: int = setting("BULK_ORDERS_MAX_COLUMNS", 200, "columns; a wider file is refused as a whole")
    max_cell_characters: int = setting(
        "BULK_ORDERS_MAX_CELL_CHARACTERS", 4_000, "characters of one cell; a longer one costs its row"
    )
    max_file_seconds: float = setting("BULK_ORDERS_MAX_FILE_SECONDS", 60.0, "seconds that reading one file may take")
    max_workbook_entries: int = setting(
        "BULK_ORDERS_MAX_WORKBOOK_ENTRIES", 1_000, "files within an Excel file; with more it is refused"
    )
    max_workbook_unpacked_bytes: int = setting(
        "BULK_ORDERS_MAX_WORKBOOK_UNPACKED_BYTES", 300_000_000, "bytes an Excel file may unpack to"
    )
    max_workbook_ratio: int = setting(
        "BULK_ORDERS_MAX_WORKBOOK_RATIO", 100, "times its packed size that an Excel file may unpack to, beyond 10 MB"
    )
    max_workbook_memory_bytes: int = setting(
        "BULK_ORDERS_MAX_WORKBOOK_MEMORY_BYTES",
        2_000_000_000,
        "bytes of memory of the process that reads an Excel file",
    )
    file_settle_seconds: float = setting(
        "BULK_ORDERS_FILE_SETTLE_SECONDS", 2.0, "seconds a dropped file must keep its size and time before it is taken"
    )
    totals_wait_seconds: float = setting(
        "BULK_ORDERS_TOTALS_WAIT_SECONDS",
        600.0,
        "seconds a dropped file waits for its file of totals, or that for its orders, where it has to",
    )
    files_per_tick: int = setting("BULK_ORDERS_FILES_PER_TICK", 20, "files the sensor takes at one tick")

    payment_concurrency: int = setting(
        "BULK_ORDERS_PAYMENT_CONCURRENCY", 100, "payment calls in flight, per batch (LIM-003)"
    )
    notification_concurrency: int = setting(
        "BULK_ORDERS_NOTIFICATION_CONCURRENCY", 20, "mail calls in flight, per batch (LIM-004)"
    )
    payment_timeout_seconds: float = setting(
        "BULK_ORDERS_PAYMENT_TIMEOUT_SECONDS", 30.0, "seconds for one payment call in all (R-13)"
    )
    notification_timeout_seconds: float = setting(
        "BULK_ORDERS_NOTIFICATION_TIMEOUT_SECONDS", 10.0, "seconds for one mail call in all (R-21)"
    )
    claim_chunk: int = setting(
        "BULK_ORDERS_CLAIM_CHUNK", 100, "intents committed together before their calls: what a kill leaves to look up"
    )
    max_attempts: int = setting("BULK_ORDERS_MAX_ATTEMPTS", 6, "calls for one effect before a person is asked")
    pause_seconds: float = setting(
        "BULK_ORDERS_PAUSE_SECONDS", 30.0, "seconds a service that is out of order is left alone"
    )
    canary_payments: int = setting(
        "BULK_ORDERS_CANARY_PAYMENTS", 0, "payments of a batch that go alone before the rest; 0: none"
    )
    canary_failed_percent: float = setting(
        "BULK_ORDERS_CANARY_FAILED_PERCENT", 20.0, "percent of the canary that may fail; above it, the rest waits"
    )
    tolerated_failures: int = setting(
        "BULK_ORDERS_TOLERATED_FAILURES", 1_000_000, "payments of a batch that may fail; above it, the rest waits"
    )
    tolerated_failed_percent: float = setting(
        "BULK_ORDERS_TOLERATED_FAILED_PERCENT", 100.0, "the same in percent of the batch's payments"
    )
    approval_above_jpy: int = setting(
        "BULK_ORDERS_APPROVAL_ABOVE_JPY", 10_000_000_000, "yen of a batch above which a second person approves"
    )
    near_duplicate_days: int = setting(
        "BULK_ORDERS_NEAR_DUPLICATE_DAYS",
        NEAR_DUPLICATE_DAYS,
        "days within which an order of the same customer, amount and items waits for a person; 0: never",
    )
    max_concurrent_batches: int = setting("BULK_ORDERS_MAX_CONCURRENT_BATCHES", 4, "batches worked on at the same time")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check all settings; an empty variable counts as not set."""
        source = os.environ if environment is None else environment
        _refuse_unknown(source, [item.metadata["variable"] for item in fields(cls)])
        values: dict[str, Any] = {}
        for item in fields(cls):
            text = source.get(item.metadata["variable"], "").strip()
            if text:
                values[item.name] = _parsed(item.metadata["variable"], text, item.default)
        settings = cls(**values)
        settings._check_ranges()
        check_addresses(settings)
        check_periods(settings)
        return settings._with_absolute_paths()

    def as_environment(self) -> dict[str, str]:
        """The variables that give another process these settings, wherever it runs.

        What is not set is given as empty: the process must not have it from us by another way, such as an owner's
        password.
        """
        values = ((item.metadata["variable"], getattr(self, item.name)) for item in fields(self))
        return {variable: "" if value is None else str(value) for variable, value in values}

    @property
    def watched_dir(self) -> Path:
        """The import folder."""
        return self.import_dir or self.home / "import"

    @property
    def client_profiles_dir(self) -> Path:
        """The folder of the clients' profiles."""
        return self.profiles_dir or self.home / "profiles"

    @property
    def roles_path(self) -> Path:
        """The file of roles, which need not be there."""
        return self.roles_file or self.home / "roles.toml"

    @property
    def master_key_file(self) -> Path:
        """The file of the keys for personal data."""
        return self.encryption_key_file or self.home / "keys" / "personal-data.key"

    @property
    def sheets_dir(self) -> Path:
        """The folder of the keys of single rows."""
        return self.key_sheets_dir or self.home / "keys" / "sheets"

    @property
    def anchors_dir(self) -> Path:
        """The folder of anchors."""
        return self.anchor_dir or self.home / "anchors"

    @property
    def signing_key_file(self) -> Path:
        """The private key that signs anchors and evidence packs."""
        return self.anchor_key_file or self.home / "keys" / "anchors.key"

    def shown(self) -> dict[str, str | None]:
        """All settings by their variables, for the trail: a secret as ``set``, an address without user and password."""
        return {item.metadata["variable"]: _shown(item.name, getattr(self, item.name)) for item in fields(self)}

    def _with_absolute_paths(self) -> Settings:
        return replace(
            self,
            home=self.home.absolute(),
            import_dir=None if self.import_dir is None else self.import_dir.absolute(),
            profiles_dir=None if self.profiles_dir is None else self.profiles_dir.absolute(),
            anchor_dir=None if self.anchor_dir is None else self.anchor_dir.absolute(),
            roles_file=None if self.roles_file is None else self.roles_file.absolute(),
            anchor_key_file=None if self.anchor_key_file is None else self.anchor_key_file.absolute(),
            encryption_key_file=None if self.encryption_key_file is None else self.encryption_key_file.absolute(),
            key_sheets_dir=None if self.key_sheets_dir is None else self.key_sheets_dir.absolute(),
            payment_profile=_absolute_profile(self.payment_profile),
            notification_profile=_absolute_profile(self.notification_profile),
        )

    def _check_ranges(self) -> None:
        if self.language not in languages():
            expected = " | ".join(languages())
            raise SettingRefused("SYS-SETTING-INVALID", variable="BULK_ORDERS_LANGUAGE", expected=expected)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in _SHARED_SECRETS and value is not None and not _is_strong(value):
                expected = f"at least {_SHORTEST_SECRET} plain characters"
                raise SettingRefused("SYS-SETTING-INVALID", variable=item.metadata["variable"], expected=expected)
            if isinstance(value, int | float) and not _is_in_range(item.name, value):
                expected = _expected(item.name)
                raise SettingRefused("SYS-SETTING-INVALID", variable=item.metadata["variable"], expected=expected)

    def __repr__(self) -> str:
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.name not in _SECRET)
        return f"Settings({', '.join(shown)})"


# Addresses too: they may hold a password.
_SHARED_SECRETS = frozenset(
    {"payment_webhook_secret", "payment_webhook_secret_before", "proxy_secret", "alert_webhook_secret"}
)
_SECRET = (
    _SHARED_SECRETS
    | HEALTH_SECRETS
    | {
        "database_url",
        "database_owner_url",
        "encryption_key",
        "payment_service_url",
        "notification_service_url",
    }
)
_SHORTEST_SECRET = 32
_PATHS = frozenset(
    {
        "IMPORT_DIR",
        "BULK_ORDERS_PROFILES_DIR",
        "BULK_ORDERS_ANCHOR_DIR",
        "BULK_ORDERS_ANCHOR_KEY_FILE",
        "BULK_ORDERS_ROLES_FILE",
        "BULK_ORDERS_ENCRYPTION_KEY_FILE",
        "BULK_ORDERS_KEY_SHEETS_DIR",
    }
)
_PERCENTAGES = frozenset({"canary_failed_percent", "tolerated_failed_percent"}) | HEALTH_PERCENTAGES
_MAY_BE_ZERO = _PERCENTAGES | {
    "test_system",
    "postgres_port",
    "audit_ui_port",
    "file_settle_seconds",
    "canary_payments",
    "tolerated_failures",
    "approval_above_jpy",
    "near_duplicate_days",
    "cold_object_lock",
}
_PORTS = frozenset({"postgres_port", "ui_port", "audit_ui_port", "webhook_port"})
_LAST_PORT = 65_535


def _shown(name: str, value: object) -> str | None:
    if value is None:
        return None
    if name not in _SECRET:
        return str(value)
    if not name.endswith("_url"):
        return "set"
    try:
        address = urlsplit(str(value))
        port = f":{address.port}" if address.port else ""
    except ValueError:
        return "set"
    return f"{address.scheme}://{address.hostname or ''}{port}{address.path}"


def _is_in_range(name: str, value: float) -> bool:
    lowest = 0 if name in _MAY_BE_ZERO else 1e-9
    highest = _LAST_PORT if name in _PORTS else 100.0 if name in _PERCENTAGES else sys.float_info.max
    return lowest <= value <= highest  # neither nan nor infinity


def _expected(name: str) -> str:
    if name in _PORTS:
        return f"a port, at most {_LAST_PORT}"
    if name in _PERCENTAGES:
        return "a percentage, 0 to 100"
    return "zero or a positive number" if name in _MAY_BE_ZERO else "a positive number"


def _is_strong(secret: str) -> bool:
    return len(secret) >= _SHORTEST_SECRET and secret.isascii() and secret.isprintable()


def _refuse_unknown(source: Mapping[str, str], variables: Sequence[str]) -> None:
    """A guard on money that is misspelt would be off, and nobody would know."""
    for variable in sorted(source):
        if variable.startswith(_OURS) and variable not in variables and not variable.startswith(_OF_TESTS):
            nearest = difflib.get_close_matches(variable, variables, n=1, cutoff=0.0)[0]
            raise SettingRefused("SYS-SETTING-UNKNOWN", variable=safe_label(variable), nearest=nearest)


def _absolute_profile(profile: str) -> str:
    return profile if profile == "legacy" else str(Path(profile).absolute())


def _parsed(variable: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except ValueError:
        raise SettingRefused("SYS-SETTING-INVALID", variable=variable, expected="a number") from None
    if isinstance(default, Path) or variable in _PATHS:
        return Path(text).expanduser()
    return text
