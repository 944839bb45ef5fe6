"""The asset `notifications` as people see it. It is made by assets/effects/asset.py, as one stream with `payments`."""

import dagster as dg

from assets.partitions import BATCHES, CODE_VERSION, GROUP, OWNERS
from checks import reconciliation
from checks.finding import specs

NAME = "notifications"
_DESCRIPTION = """One mail per **paid** order, none for any other, never two (LIM-004).

A mail is planned in the transaction that settles its payment and leaves while other orders still pay. All batches share
the limit of the service (ten mails per second): 10,000 mails take at least 1,000 seconds, whatever else is fast.

決済が完了した注文ごとに1通だけメールを送信します。全バッチ合計で毎秒10通の上限を守ります。"""

SPEC = dg.AssetSpec(
    NAME,
    deps=["payments"],
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
    [reconciliation.MAILS_MATCH_PAID_ORDERS, reconciliation.ALL_MAILS_SENT],
    reconciliation.BLOCKING,
)
