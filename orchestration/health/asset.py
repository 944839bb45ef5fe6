"""The asset `service_health` with its checks, the sensor that keeps watch, and the schedule that verifies the trail.

The sensor looks every minute. Dagster's history gets a look when a check has changed, and once an hour all the same: an
event costs 10 to 30 ms and some kilobytes for ever, and what changed is what people want to find again.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from assets.boundary import resource_boundary, stage_boundary
from assets.partitions import OWNERS
from audit.verification import verify
from domain import catalogue
from domain.alerts import HealthCheck
from domain.health import Measured, judge
from orchestration.bindings import kept_database
from orchestration.health import shown
from orchestration.health.loop import DAGSTER
from orchestration.health.measuring import health_limits, measure
from orchestration.health.shown import CheckResult
from orchestration.health.watch import look
from orchestration.settings import Settings
from orchestration.version import code_version
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import trusted_keys
from resources.database import trail_verifications
from resources.database.connection import Actor
from resources.database.database import Database

SERVICE_HEALTH = "service_health"
HEALTH_SENSOR = "service_health_watch"
VERIFY_TRAIL = "verify_trail"
GROUP = "health"

_DESCRIPTION = """Whether the system keeps its service levels: each check compares what was measured with its limit.

A sensor looks every minute and alerts; here stands each look at which something changed, and one an hour. Materialize
it to measure now. Limits are settings (`BULK_ORDERS_MAX_...`); what to do about each alert: `docs/runbook.md`.

サービスレベルの状態です。1分ごとに計測し、変化があったときと1時間ごとに記録します。
対処は `docs/runbook.md` を参照してください。"""


def check_specs() -> list[dg.AssetCheckSpec]:
    """One per check; what each compares stands in the catalogue's words, in both languages."""
    english, japanese = catalogue.words("health_checks", "en"), catalogue.words("health_checks", "ja")
    return [
        dg.AssetCheckSpec(
            check.value, asset=SERVICE_HEALTH, description=f"{english[check.value]}\n\n{japanese[check.value]}"
        )
        for check in HealthCheck
    ]


def health_asset(settings: Settings) -> dg.AssetsDefinition:
    """The asset; not part of any batch."""

    @dg.asset(
        name=SERVICE_HEALTH,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"postgres"},
        description=_DESCRIPTION,
        check_specs=check_specs(),
    )
    def service_health(database: dg.ResourceParam[Database]) -> dg.MaterializeResult:
        """Measure now."""
        with stage_boundary():
            measured = measure(database, settings)
            found = _results(measured, settings)
            return dg.MaterializeResult(
                metadata=_summary(found),
                check_results=[
                    dg.AssetCheckResult(
                        asset_key=SERVICE_HEALTH,
                        check_name=result.check.value,
                        passed=result.passed,
                        severity=_severity(result),
                        description=_said(result, settings.language),
                        metadata=_metadata(result),
                    )
                    for result in found
                ],
            )

    return service_health


def health_sensor(settings: Settings) -> dg.SensorDefinition:
    """Watches, alerts, and shows what changed; on by default."""

    @dg.sensor(
        name=HEALTH_SENSOR,
        asset_selection=dg.AssetSelection.assets(SERVICE_HEALTH),
        minimum_interval_seconds=max(5, int(settings.health_every_seconds)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Measures the service levels every minute, and alerts. サービスレベルを計測し、異常を通知します。",
    )
    def service_health_watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with resource_boundary(settings.language):
            return _tick(context, settings)

    return service_health_watch


def _tick(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    database = kept_database(settings, Actor(f"sensor:{HEALTH_SENSOR}", "", code_version()))
    seen = look(database, settings, DAGSTER)
    measured = measure(database, settings) if seen is None else seen.measured
    found = _results(measured, settings)
    memory = {result.check.value: list(result.codes) for result in found}
    before = json.loads(context.cursor or "{}")
    now = time.time()
    is_news = before.get("checks") != memory
    is_time = now - float(before.get("shown_at", 0)) >= settings.health_history_seconds
    if not (is_news or is_time):
        return dg.SensorResult(skip_reason=_in_short(found), cursor=context.cursor)
    cursor = json.dumps({"checks": memory, "shown_at": now})
    return dg.SensorResult(
        skip_reason=_in_short(found), cursor=cursor, asset_events=list(_events(found, settings.language))
    )


def _results(measured: Measured, settings: Settings) -> list[CheckResult]:
    limits = health_limits(settings)
    return shown.results(measured, judge(measured, limits), limits, settings.language)


def _events(found: Sequence[CheckResult], language: str) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
    yield dg.AssetMaterialization(SERVICE_HEALTH, metadata=_summary(found))
    for result in found:
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(SERVICE_HEALTH),
            check_name=result.check.value,
            passed=result.passed,
            severity=_severity(result),
            description=_said(result, language),
            metadata=_metadata(result),
        )


def _severity(result: CheckResult) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if result.urgent else dg.AssetCheckSeverity.WARN


def _said(result: CheckResult, language: str) -> str:
    return "\n\n".join(result.lines) if result.lines else catalogue.words("health", language)["kept"]


def _metadata(result: CheckResult) -> dict[str, dg.MetadataValue]:
    """Dagster draws a curve of each number: a limit is none."""
    return {
        name: dg.MetadataValue.text(str(value))
        if "limit" in name or isinstance(value, str)
        else dg.MetadataValue.float(float(value))
        for name, value in result.figures.items()
    }


def _summary(found: Sequence[CheckResult]) -> Mapping[str, dg.MetadataValue]:
    """Figures that are worth a curve over days, and the checks as a table."""
    figures = {name: value for result in found for name, value in result.figures.items() if name in _PLOTTED}
    table = ["| | check | |", "|---|---|---|"]
    for result in found:
        mark = "✓" if result.passed else "✗" if result.urgent else "!"
        table.append(f"| {mark} | `{result.check.value}` | {', '.join(result.codes)} |")
    return {
        "checks": dg.MetadataValue.md("\n".join(table)),
        "checks_not_passed": dg.MetadataValue.int(sum(not result.passed for result in found)),
        **{name: dg.MetadataValue.float(float(value)) for name, value in figures.items()},
    }


_PLOTTED = frozenset(
    {
        "mean_ms",
        "payments_p95_ms",
        "notifications_p95_ms",
        "payments_error_percent",
        "notifications_error_percent",
        "rows_in_review",
        "rows_in_doubt",
        "oldest_open_effect_minutes",
        "free_gb",
        "percent_of_30_days",
    }
)


def _in_short(found: Sequence[CheckResult]) -> str:
    codes = [code for result in found for code in result.codes]
    return ", ".join(codes) if codes else "every service level is kept"


def verification_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The whole trail is verified every night, and what was found is kept."""

    @dg.op(description="Verifies the whole trail. 証跡全体を検証します。")
    def verify_whole_trail(context: dg.OpExecutionContext, database: dg.ResourceParam[Database]) -> None:
        with stage_boundary():
            keys = trusted_keys(settings.signing_key_file)
            found = verify(database, AnchorFolder(settings.anchors_dir), keys)
            first = found.faults[0].kind.value if found.faults else None
            kept = trail_verifications.Verified(
                found.chains, found.events, found.anchors, found.seconds, len(found.faults), first
            )
            database.run(lambda tx: trail_verifications.keep(tx, kept))
            context.add_output_metadata({"chains": found.chains, "events": found.events, "faults": len(found.faults)})

    @dg.job(name=VERIFY_TRAIL, executor_def=dg.in_process_executor)
    def verify_trail() -> None:
        """Verify the whole trail: every event, link, head and anchor, and the tables beside it.

        証跡のすべてのイベントとアンカーを検証し、結果を記録します。
        """
        verify_whole_trail()

    return dg.ScheduleDefinition(
        name=f"{VERIFY_TRAIL}_nightly",
        job=verify_trail,
        cron_schedule="23 3 * * *",
        execution_timezone="Asia/Tokyo",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night. 毎晩実行します。",
    )
