"""Run the job for one batch in this process: ``python -m orchestration.run_batch BATCH``.

The command line starts this as a process of its own, with everything in the environment, where no ``up`` is running. It
is the same job with the same records as a run of the UI: Dagster's instance is the same, the partition is the batch.
"""

from __future__ import annotations

import sys

import dagster as dg

from assets.partitions import BATCHES
from orchestration.definitions import build_defs
from orchestration.job_names import PROCESS_BATCH
from orchestration.settings import Settings


def run(batch_id: str, launched_by: str) -> bool:
    """Materialize all stages of a batch; whether the run succeeded."""
    instance = dg.DagsterInstance.get()
    assert BATCHES.name is not None
    instance.add_dynamic_partitions(BATCHES.name, [batch_id])
    job = build_defs(Settings.from_environment()).resolve_job_def(PROCESS_BATCH)
    result = job.execute_in_process(
        partition_key=batch_id, instance=instance, raise_on_error=False, tags={"launched_by": launched_by}
    )
    return result.success


if __name__ == "__main__":
    sys.exit(0 if run(sys.argv[1], sys.argv[2]) else 1)
