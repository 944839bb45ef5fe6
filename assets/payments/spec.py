"""The asset `payments` as people see it. It is made by assets/effects/asset.py, as one stream with `notifications`."""

import dagster as dg

from assets.partitions import BATCHES, CODE_VERSION, GROUP, OWNERS
from checks import reconciliation
from checks.finding import specs

NAME = "payments"
_DESCRIPTION = """One payment per order, each **exactly once**, many at a time (LIM-003).

The intent is written down before each call. An answer that leaves doubt (timeout, broken connection, 5xx) is never read
as a failure and never sent again: it is looked up first. A declined payment puts its order back to PENDING; the rest go
on. While payments run, the mails of paid orders already leave (`notifications`). When the payment service is out of
order the batch pauses, loses nothing, and goes on by itself.

注文ごとに1回だけ決済を行います。結果が不明な場合は再送せず、必ず照会してから判断します。"""

SPEC = dg.AssetSpec(
    NAME,
    deps=["created_orders"],
    partitions_def=BATCHES,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"http", "postgres"},
    code_version=CODE_VERSION,
    description=_DESCRIPTION,
    skippable=True,
)
CHECK_SPECS = specs(
    NAME,
    reconciliation.DESCRIPTIONS,
    [reconciliation.PAYMENTS_MATCH_ORDERS, reconciliation.ALL_ORDERS_PAID],
    reconciliation.BLOCKING,
)
