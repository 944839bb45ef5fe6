"""The names of the job of a batch and of those by which people act on one."""

PROCESS_BATCH = "process_batch"
OPERATION_JOBS = frozenset(
    {"redrive_batch", "pause_batch", "continue_batch", "cancel_batch", "approve_batch", "decide_review"}
    | {"accept_near_duplicates"}
)
"""What people do with a batch (``orchestration/operation_jobs.py``): never queued, and no work on the batch."""
