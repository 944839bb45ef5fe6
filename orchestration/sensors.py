"""The import folder is watched here (U-2), and unfinished batches are taken up again.

What has been processed is known by the batch table and the partitions, never by the cursor: the cursor only remembers
files that are still growing. One file that cannot be taken never keeps the others waiting.
"""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.boundary import resource_boundary
from assets.effects.work import PAUSE_CODES
from assets.partitions import BATCHES, PARENT_TAG
from domain.errors import BulkOrdersError, DatabaseUnavailable, FileRefused
from domain.identity import client_slug
from domain.states import BatchState
from orchestration.admission import admit, beside_dropped
from orchestration.bindings import client_profiles, kept_database, open_batch_files
from orchestration.job_names import OPERATION_JOBS, PROCESS_BATCH
from orchestration.settings import Settings
from orchestration.version import code_version
from resources.batch_files import BatchFiles
from resources.database import batches, limits
from resources.database.batches import Batch
from resources.database.connection import Actor
from resources.database.database import Database
from resources.import_folder import DroppedFile

IMPORT_SENSOR = "import_folder"
_FIRST_WAIT_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 600.0
_RUNS_LOOKED_AT = 100  # more than anybody looks back; people's own runs are among them
_LIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def import_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor on ``IMPORT_DIR``; on by default."""

    @dg.sensor(
        name=IMPORT_SENSOR,
        job_name=PROCESS_BATCH,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes settled files from the import folder, one sub-folder per client, and takes up unfinished "
        "batches again. 取込フォルダーを監視し、中断したバッチを再開します。",
    )
    def import_folder(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with resource_boundary(settings.language):
            return _tick(context, settings)

    return import_folder


def _tick(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    files = open_batch_files(settings)
    database = kept_database(settings, Actor(f"sensor:{IMPORT_SENSOR}", "", code_version()))
    look = files.settled(
        json.loads(context.cursor or "{}"), settle_seconds=settings.file_settle_seconds, now=time.time()
    )
    left = settings.files_per_tick
    for dropped in look.settled:
        if left:  # of those that can be taken: others lie there for hours, and in front
            left -= _take(context, database, files, dropped, settings)
    for totals in look.alone:
        if time.time() - totals.arrived > settings.totals_wait_seconds:
            _quarantine(context, files, totals, FileRefused("FILE-SIDE-ALONE"))
    requests = _requests(context, database, settings.files_per_tick)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[BATCHES.build_add_request([r.partition_key for r in requests if r.partition_key])],
        cursor=json.dumps(look.memory),
        skip_reason=None if requests else f"nothing to do; {look.waiting} files still being written",
    )


def _take(
    context: dg.SensorEvaluationContext,
    database: Database,
    files: BatchFiles,
    dropped: DroppedFile,
    settings: Settings,
) -> bool:
    """Take one file, or set it aside; whatever is wrong with it is said in the log and never keeps the others waiting.

    False: it lies where it was.
    """
    try:
        profile = client_profiles(settings).of(client_slug(dropped.client))
        may_come = time.time() - dropped.arrived <= settings.totals_wait_seconds
        found = beside_dropped(dropped, profile, may_come)
        admission = admit(database, files, dropped.path, dropped.client, beside=found)
        word = "seen before" if admission.duplicate else "taken"
        context.log.info(f"file {word}: batch {admission.batch.batch_id}")
    except DatabaseUnavailable:
        raise
    except FileRefused as error:
        if error.code == "FILE-NOT-FOUND":  # what has its name by now is another file
            context.log.info("a file was taken away before it could be read")
        else:
            return _quarantine(context, files, dropped, error)
    except Exception as error:  # also what nobody thought of: it would come again with every tick
        context.log.warning(f"a file waits for the next look: {_code(error)}")
    else:
        return True
    return False


def _quarantine(context: dg.SensorEvaluationContext, files: BatchFiles, dropped: DroppedFile, why: FileRefused) -> bool:
    try:
        for side in dropped.sides:
            files.quarantine(side, dropped.client, why)
        files.quarantine(dropped.path, dropped.client, why)
        context.log.warning(f"a file went to quarantine: {why.code}")
        return True
    except (BulkOrdersError, OSError) as error:
        context.log.warning(f"a file cannot be taken ({why.code}) nor set aside ({_code(error)})")
        return False


def _code(error: Exception) -> str:
    return error.code if isinstance(error, BulkOrdersError) else type(error).__name__


def _requests(context: dg.SensorEvaluationContext, database: Database, limit: int) -> list[dg.RunRequest]:
    """A run for every batch that is unfinished and that no run works on.

    Of those that wait for a service one at a time, when the service may be asked again: it finds out for all of them.
    """
    with database.begin() as tx:
        waiting = batches.unfinished(tx)
        breakers = {code: limits.breaker(tx, kind.value) for kind, code in PAUSE_CODES.items()}
    left_alone = {code for code, breaker in breakers.items() if breaker.probing or breaker.seconds_to_probe > 0}
    requests: list[dg.RunRequest] = []
    for batch in waiting:
        if len(requests) == limit:
            break
        why = batch.reason if batch.state is BatchState.PAUSED else None
        key = None if why in left_alone else _run_key(context.instance, batch)
        if key is not None:
            if why in breakers and breakers[why].open:
                left_alone.add(why)
            tags = {"bulk_orders/client": batch.client}
            if batch.parent_batch_id is not None:  # known once its first run has read the file
                tags[PARENT_TAG] = batch.parent_batch_id
            requests.append(dg.RunRequest(run_key=key, partition_key=batch.batch_id, tags=tags))
    return requests


def _run_key(instance: dg.DagsterInstance, batch: Batch) -> str | None:
    """A key never used before; None while a run works on the batch, or should not for a while.

    A run that a person terminated is not followed by another until a person continues the batch; then it is followed at
    once, as every batch that a person has just continued.
    """
    records = _runs_of(instance, batch)
    if not records:
        return batch.batch_id
    last = records[0]
    if any(record.dagster_run.status in _LIVE for record in records):
        return None
    terminated = last.dagster_run.status is dg.DagsterRunStatus.CANCELED
    too_early = datetime.now(UTC) < last.update_timestamp + _wait(batch, records)
    if (terminated or too_early) and not _continued_since(batch, last):
        return None
    return f"{batch.batch_id}:{last.dagster_run.run_id}"


def _runs_of(instance: dg.DagsterInstance, batch: Batch) -> list[dg.RunRecord]:
    """The newest runs that worked on the batch, however many of people's own came after them."""
    of_batch, cursor = dg.RunsFilter(tags={"dagster/partition": batch.batch_id}), None
    while found := instance.get_run_records(of_batch, limit=_RUNS_LOOKED_AT, cursor=cursor):
        if records := [record for record in found if record.dagster_run.job_name not in OPERATION_JOBS]:
            return records
        cursor = found[-1].dagster_run.run_id
    return []


def _continued_since(batch: Batch, last: dg.RunRecord) -> bool:
    """Whether a person said that the batch goes on after its last run had begun."""
    return batch.continued_at is not None and batch.continued_at > last.create_timestamp


def _wait(batch: Batch, records: Sequence[dg.RunRecord]) -> timedelta:
    """Longer after every run in vain: a batch that cannot go on must not fill the history with runs.

    One that its last run has paused has waited already, for the service that was out of order.
    """
    paused_by_it = batch.resume_at is None or batch.resume_at > records[0].create_timestamp
    if batch.state is BatchState.PAUSED and paused_by_it:
        return timedelta(0)
    return timedelta(seconds=min(_FIRST_WAIT_SECONDS * 2 ** (len(records) - 1), _LONGEST_WAIT_SECONDS))
