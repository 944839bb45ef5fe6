"""The asset `batch_report`: the result files, and whether the books agree."""

import time

import dagster as dg

from assets.batch_report.work import close_batch, refresh_ancestors, write_repair_files, write_report
from assets.boundary import stage_boundary
from assets.metadata import data_version, lineage_figures, stage_metadata
from assets.partitions import BATCHES, CODE_VERSION, GROUP, OWNERS
from checks import reconciliation, row_accounting
from checks.finding import specs
from resources.batch_files import BatchFiles
from resources.database.database import Database
from resources.encryption import Vault

_NAME = "batch_report"
_DESCRIPTION = """What became of every row, and whether the books agree.

`succeeded.csv`, `failed.csv` and `not_processed.csv` together hold every row of the file exactly once. `errors.csv`
holds the rejected rows with line, column, fault and remedy; `repair.csv` and `repair.xlsx` hold those that may be
mended, as the client's own file has them: mended and put into the import folder again, only these rows are taken, as a
batch of their own. The blocking check `three_books_agree` compares file,
orders and payments in count and in yen, and paid orders with mails.

全行の結果ファイルと修正用ファイル、ファイル・注文・決済・メールの照合結果です。
修正用ファイルを直して取込フォルダーに戻すと、その行だけを取り込みます。"""

_CHECKS = {**reconciliation.DESCRIPTIONS, **row_accounting.DESCRIPTIONS}
_NAMES = [reconciliation.THREE_BOOKS_AGREE, *row_accounting.AT_REPORT]


@dg.asset(
    name=_NAME,
    deps=["validated_csv", "payments", "notifications"],
    partitions_def=BATCHES,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"csv", "postgres"},
    code_version=CODE_VERSION,
    description=_DESCRIPTION,
    check_specs=specs(_NAME, _CHECKS, _NAMES, reconciliation.BLOCKING | row_accounting.BLOCKING),
)
def batch_report(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[Database],
    vault: dg.ResourceParam[Vault],
    batch_files: dg.ResourceParam[BatchFiles],
) -> dg.MaterializeResult:
    """Materialize one batch's report and close its books."""
    started = time.monotonic()
    with stage_boundary():
        batch_id = context.partition_key
        folder = batch_files.report_dir(batch_id)
        report = write_report(database, vault, batch_id, folder)
        to_repair = write_repair_files(database, vault, batch_files, batch_id, folder)
        findings = [
            reconciliation.three_books_agree(report.books),
            row_accounting.every_row_reported(report.books, report.rows_per_file),
        ]
        refresh_ancestors(database, vault, batch_files, batch_id)
        agreed = all(finding.passed for finding in findings)
        books = close_batch(database, batch_id, report.books) if agreed else report.books
        rows = sum(report.rows_per_file.values())
        figures: dict[str, int | float | str] = {f"rows_{name}": count for name, count in report.rows_per_file.items()}
        figures |= {"batch_state": books.batch.state.value, "rows_to_repair": to_repair, **lineage_figures(books)}
        seconds = time.monotonic() - started
        metadata = stage_metadata(books, rows=rows, jpy=books.paid_jpy, seconds=seconds, figures=figures)
        return dg.MaterializeResult(
            metadata=metadata | {"result_files": dg.MetadataValue.path(str(folder))},
            check_results=[finding.to_dagster(_NAME) for finding in findings],
            data_version=data_version(books, _NAME),
        )
