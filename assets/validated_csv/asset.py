"""The asset `validated_csv`: every row of the client's file, checked and stored."""

import time

import dagster as dg

from assets.boundary import stage_boundary
from assets.metadata import data_version, lineage_figures, stage_metadata
from assets.partitions import BATCHES, CODE_VERSION, GROUP, OWNERS, PARENT_TAG
from assets.validated_csv.limits import ReadingLimits
from checks import row_accounting
from checks.finding import specs
from resources.batch_files import BatchFiles
from resources.client_profiles import ClientProfiles
from resources.database.database import Database
from resources.encryption import Vault

_NAME = "validated_csv"
_DESCRIPTION = """Every row of the client's file, checked and stored: **accepted** or **rejected** with all its faults.

Accepted rows go on to become orders. Rejected rows wait for a person: `errors.csv` of the batch names line, column,
fault and remedy. No order is made here and no service is called.

取引先のファイルの全行を検査して保存します。正しい行は注文になり、
誤りのある行は行番号・列・理由・対処とともに errors.csv に載ります。"""


@dg.asset(
    name=_NAME,
    partitions_def=BATCHES,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"csv", "pandas", "postgres"},
    code_version=CODE_VERSION,
    description=_DESCRIPTION,
    check_specs=specs(_NAME, row_accounting.DESCRIPTIONS, row_accounting.AT_VALIDATION, row_accounting.BLOCKING),
)
def validated_csv(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[Database],
    vault: dg.ResourceParam[Vault],
    batch_files: dg.ResourceParam[BatchFiles],
    reading_limits: dg.ResourceParam[ReadingLimits],
    client_profiles: dg.ResourceParam[ClientProfiles],
) -> dg.MaterializeResult:
    """Materialize one batch's rows."""
    # Imported here: pandas and Pandera cost every process that loads the definitions half a second and 55 MB.
    from assets.validated_csv.work import validate_batch

    started = time.monotonic()
    with stage_boundary():
        validated = validate_batch(database, vault, batch_files, context.partition_key, reading_limits, client_profiles)
        books = validated.books
        if books.batch.parent_batch_id is not None:
            _lead_to_each_other(context, books.batch.parent_batch_id)
        findings = [row_accounting.every_row_stored(books), row_accounting.all_rows_accepted(books)]
        rows = books.rows_accepted + books.rows_rejected
        figures: dict[str, int | float | str] = {
            "rows_accepted": books.rows_accepted,
            "rows_rejected": books.rows_rejected,
            "faults": validated.faults_table(),
            "reading": validated.reading(),
            **lineage_figures(books),
        }
        return dg.MaterializeResult(
            metadata=stage_metadata(
                books, rows=rows, jpy=books.accepted_jpy, seconds=time.monotonic() - started, figures=figures
            ),
            check_results=[finding.to_dagster(_NAME) for finding in findings],
            data_version=data_version(books, _NAME),
        )


def _lead_to_each_other(context: dg.AssetExecutionContext, parent: str) -> None:
    """The run of a repaired file names its parent, and the parent's partition the repaired file."""
    context.instance.add_run_tags(context.run.run_id, {PARENT_TAG: parent})
    metadata = {"child_batch": dg.MetadataValue.md(f"`{context.partition_key}`")}
    context.log_event(dg.AssetObservation(_NAME, partition=parent, metadata=metadata))
