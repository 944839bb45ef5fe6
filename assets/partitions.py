"""What all assets share: one dynamic partition per batch (its key is the batch id), group, owners, code version."""

import dagster as dg

BATCHES = dg.DynamicPartitionsDefinition(name="batches")
GROUP = "bulk_orders"
OWNERS = ["team:data"]

PARENT_TAG = "bulk_orders/parent_batch"
"""Of a run: the batch whose repair file it works on."""

CODE_VERSION = "1"
"""Of what the stages make: raised when the same file would give something else."""
