"""What Dagster recorded of the runs on a batch: who launched each, how it went, what it made and checked.

Read straight from Dagster's storage: no instance, no daemon and no web server is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster import DagsterEventType

from orchestration import dagster_home
from orchestration.dagster_storage import PooledPostgresStorage

_TOLD = {DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_CHECK_EVALUATION}


def of_batch(database_url: str, batch_id: str) -> list[dict[str, Any]]:
    """The runs on a batch, oldest first, as JSON; none where Dagster never ran."""
    if not dagster_home.has_tables(database_url):
        return []
    storage = PooledPostgresStorage(dagster_home.storage_url(database_url))
    records = storage.run_storage.get_run_records(dg.RunsFilter(tags={"dagster/partition": batch_id}))
    return [_run(storage, record) for record in sorted(records, key=lambda record: record.create_timestamp)]


def _run(storage: PooledPostgresStorage, record: dg.RunRecord) -> dict[str, Any]:
    run = record.dagster_run
    events = storage.event_log_storage.get_records_for_run(run.run_id, of_type=_TOLD).records
    return {
        "run_id": run.run_id,
        "job": run.job_name,
        "status": run.status.value,
        "launched_by": _launched_by(run.tags),
        "asked_for": _moment(record.create_timestamp.timestamp()),
        "started": _moment(record.start_time),
        "ended": _moment(record.end_time),
        "tags": {name: value for name, value in sorted(run.tags.items()) if not name.startswith(".")},
        "run_config": json.loads(json.dumps(run.run_config, default=str)),
        "made": [told for event in events if (told := _told(event)) is not None],
    }


def _launched_by(tags: Mapping[str, str]) -> str | None:
    """As in the trail: the tag of a person's command, else the sensor or schedule."""
    sensor, schedule = tags.get("dagster/sensor_name"), tags.get("dagster/schedule_name")
    return tags.get("launched_by") or (f"sensor:{sensor}" if sensor else f"schedule:{schedule}" if schedule else None)


def _told(record: dg.EventLogRecord) -> dict[str, Any] | None:
    event = record.event_log_entry.dagster_event
    if event is None:
        return None
    at = _moment(record.timestamp)
    if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        name = f"{check.asset_key.to_user_string()}:{check.check_name}"
        return {"at": at, "check": name, "passed": check.passed, "severity": check.severity.value}
    made = event.step_materialization_data.materialization
    return {"at": at, "asset": made.asset_key.to_user_string(), "versions": dict(sorted((made.tags or {}).items()))}


def _moment(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
