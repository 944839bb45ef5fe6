"""What the trail is told of a run of Dagster: who launched it on which batch, with which settings.

When the run of a batch ends, all chains are anchored. A run that cannot be noted does not begin. An anchor that cannot
be made keeps no run from ending: the schedule makes the next one.
"""

from __future__ import annotations

import json
import logging

import dagster as dg

from audit.anchoring import make_anchor
from audit.restored import refuse_rolled_back
from domain.errors import BulkOrdersError
from orchestration import access
from orchestration.job_names import PROCESS_BATCH
from orchestration.settings import Settings
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import open_signing_key
from resources.database import runs
from resources.database.database import Database
from resources.database.runs import RunStart

_PARTITION = "dagster/partition"
CODE_VERSION_TAG = "bulk-orders/code_version"


def begin_run(
    settings: Settings, database: Database, run: dg.DagsterRun | None, instance: dg.DagsterInstance | None
) -> None:
    """Note the settings and, where the run is about a batch, the run; Dagster's own record is told which code runs.

    Two transactions: the system's chain and the batch's are never locked at once.
    """
    refuse_rolled_back(database, AnchorFolder(settings.anchors_dir))
    shown = settings.shown() | access.shown(settings)
    database.run(lambda tx: runs.note_settings(tx, shown))
    if run is None or _PARTITION not in run.tags:
        return
    start = RunStart(
        run_id=run.run_id,
        batch_id=run.tags[_PARTITION],
        job=run.job_name,
        launched_by=database.actor.name,
        run_config=json.dumps(run.run_config, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        code_version=database.actor.code_version,
    )
    database.run(lambda tx: runs.note_start(tx, start, shown))
    if instance is not None:
        instance.add_run_tags(run.run_id, {CODE_VERSION_TAG: start.code_version})


def end_run(settings: Settings, database: Database, run: dg.DagsterRun | None, log: logging.Logger | None) -> None:
    """Anchor all chains when the run of a batch has ended."""
    if run is None or run.job_name != PROCESS_BATCH:
        return
    try:
        make_anchor(database, AnchorFolder(settings.anchors_dir), open_signing_key(settings.signing_key_file))
    except BulkOrdersError as error:
        if log is not None:
            log.warning(f"no anchor of the trail: {error}")
