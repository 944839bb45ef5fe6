"""Start reading here: everything Dagster knows of us, put together by one function (U-1, U-3).

Nothing is read from the environment and nothing is connected when this module is imported; settings are read when
Dagster loads the definitions, connections are made when a run needs them.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.batch_report.asset import batch_report
from assets.created_orders.asset import created_orders
from assets.effects.asset import payments_and_notifications
from assets.validated_csv.asset import validated_csv
from orchestration import operation_jobs
from orchestration.health.asset import health_asset, health_sensor, verification_schedule
from orchestration.jobs import process_batch
from orchestration.run_resources import make_resources
from orchestration.schedules import anchor_schedule, retention_schedule
from orchestration.sensors import import_sensor
from orchestration.settings import Settings
from orchestration.trace_job import trace_payment


def build_defs(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The whole system; ``resources`` replaces parts of it by name."""
    return dg.Definitions(
        assets=[
            validated_csv,
            created_orders,
            payments_and_notifications,
            batch_report,
            health_asset(settings),
        ],
        jobs=[process_batch, *operation_jobs.JOBS, trace_payment],
        sensors=[import_sensor(settings), health_sensor(settings)],
        schedules=[anchor_schedule(settings), verification_schedule(settings), retention_schedule(settings)],
        resources={**make_resources(settings), **(resources or {})},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What the code location `bulk_orders` loads."""
    return build_defs(Settings.from_environment())
