"""The job of a batch, from its file to its report."""

import dagster as dg

from orchestration.job_names import PROCESS_BATCH

process_batch = dg.define_asset_job(
    PROCESS_BATCH,
    selection=dg.AssetSelection.groups("bulk_orders"),
    # One process for all stages: four times faster than one each, and no orphaned step that pays after its run died.
    executor_def=dg.in_process_executor,
    # Run retries are off (the sensor takes unfinished batches up again); should somebody turn them on, then only so.
    tags={"dagster/retry_strategy": "FROM_ASSET_FAILURE"},
    description="""A batch from its file to its report: validate, create orders, pay and notify, reconcile.

Run it again whenever you like: each stage reads from the database what is still to do, and does nothing twice.""",
)
