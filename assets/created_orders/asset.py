"""The asset `created_orders`: one order per accepted row, or of several rows that belong together."""

import time

import dagster as dg

from assets.boundary import stage_boundary
from assets.created_orders.work import create_orders
from assets.effects.work import EffectLimits
from assets.metadata import data_version, stage_metadata
from assets.partitions import BATCHES, CODE_VERSION, GROUP, OWNERS
from checks import reconciliation
from checks.finding import specs
from resources.database import near_duplicates
from resources.database.database import Database

_NAME = "created_orders"
_DESCRIPTION = """One order per accepted row, made as one set. Each carries its batch, file, group and row number;
an order of several rows that of the first.

Run again, it finds the same orders and makes none. Before any money moves, the check `orders_match_file` compares the
orders with the file in count and in yen, and stops the batch if they differ. Orders that resemble another of the same
client (same customer, amount and items, few days apart) are counted; they wait for a person before they are paid.

正しい行ごとに注文を1件作成します。再実行しても二重には作られません。決済の前に、件数と金額をファイルと照合します。
同じお客様・商品・金額の注文が近い日付にあるものは、決済の前に担当者の確認を待ちます。"""


@dg.asset(
    name=_NAME,
    deps=["validated_csv"],
    partitions_def=BATCHES,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"postgres", "table"},
    code_version=CODE_VERSION,
    description=_DESCRIPTION,
    check_specs=specs(_NAME, reconciliation.DESCRIPTIONS, [reconciliation.ORDERS_MATCH_FILE], reconciliation.BLOCKING),
)
def created_orders(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[Database],
    effect_limits: dg.ResourceParam[EffectLimits],
) -> dg.MaterializeResult:
    """Materialize one batch's orders."""
    started = time.monotonic()
    with stage_boundary():
        books = create_orders(database, context.partition_key, effect_limits.guards.near_duplicate_days)
        alike = database.read(lambda tx: near_duplicates.count(tx, context.partition_key))
        figures = {"orders": books.orders, "near_duplicates": alike}
        return dg.MaterializeResult(
            metadata=stage_metadata(
                books, rows=books.orders, jpy=books.orders_jpy, seconds=time.monotonic() - started, figures=figures
            ),
            check_results=[reconciliation.orders_match_file(books).to_dagster(_NAME)],
            data_version=data_version(books, _NAME),
        )
