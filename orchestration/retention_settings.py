"""The settings of retention and of cold storage: a part of ``Settings``, which inherits them."""

from __future__ import annotations

from dataclasses import dataclass

from domain.errors import SettingRefused
from domain.retention import Periods, RetentionRules, parse_periods
from orchestration.health_settings import HealthSettings
from orchestration.setting import setting


@dataclass(frozen=True, slots=True)
class RetentionSettings(HealthSettings):
    """How long what is kept, and where (R-47)."""

    retention_trail: str = setting(
        "BULK_ORDERS_RETENTION_TRAIL", "12/36/96", "months that the trail is hot, warm and cold: kept until the last"
    )
    retention_attempts: str = setting("BULK_ORDERS_RETENTION_ATTEMPTS", "12/36/96", "the same for calls of services")
    retention_personal_months: int = setting(
        "BULK_ORDERS_RETENTION_PERSONAL_MONTHS", 96, "months after its end that a batch's personal data can be read"
    )
    retention_files_months: int = setting(
        "BULK_ORDERS_RETENTION_FILES_MONTHS", 96, "months after its end that a batch's files are kept"
    )
    warm_tablespace: str | None = setting(
        "BULK_ORDERS_WARM_TABLESPACE", None, "tablespace of warm months; empty: they stay where they are"
    )
    cold_url: str | None = setting(
        "BULK_ORDERS_COLD_URL", None, "where cold months go: a folder or s3://bucket/prefix; default: home/cold"
    )
    cold_kms_key: str | None = setting(
        "BULK_ORDERS_COLD_KMS_KEY", None, "key of SSE-KMS in S3; empty: as the bucket says"
    )
    cold_object_lock: int = setting(
        "BULK_ORDERS_COLD_OBJECT_LOCK", 0, "1: objects of S3 are locked until their time is over; 0: not"
    )

    @property
    def retention_rules(self) -> RetentionRules:
        """As rules."""
        return RetentionRules(
            trail=parse_periods(self.retention_trail) or Periods(),
            attempts=parse_periods(self.retention_attempts) or Periods(),
            personal_months=self.retention_personal_months,
            files_months=self.retention_files_months,
            warm_tablespace=self.warm_tablespace,
        )


def check_periods(settings: RetentionSettings) -> None:
    """Periods that are none are refused before anything is kept by them.

    Raises:
        SettingRefused: naming the variable.
    """
    for variable, text in (
        ("BULK_ORDERS_RETENTION_TRAIL", settings.retention_trail),
        ("BULK_ORDERS_RETENTION_ATTEMPTS", settings.retention_attempts),
    ):
        if parse_periods(text) is None:
            expected = "hot/warm/cold in months, none shorter than the one before, such as 12/36/96"
            raise SettingRefused("SYS-SETTING-INVALID", variable=variable, expected=expected)
