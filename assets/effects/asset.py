"""The assets `payments` and `notifications`: one step, because a mail leaves while other orders still pay (LIM-005).

Each has its own lineage, materialization and checks, and can be selected alone.
"""

from collections.abc import Iterator

import dagster as dg

from assets.boundary import stage_boundary
from assets.effects.progress import ProgressReporter
from assets.effects.stream import LaneEnded
from assets.effects.work import EffectLimits, Services, effect_work
from assets.metadata import data_version, stage_metadata
from assets.notifications import spec as notifications_spec
from assets.partitions import BATCHES
from assets.payments import spec as payments_spec
from checks import reconciliation
from domain.profiles import ServiceProfile
from domain.states import EffectKind, EffectState
from resources.database.books import Books
from resources.database.database import Database
from resources.encryption import Vault


@dg.multi_asset(
    name="payments_and_notifications",
    specs=[payments_spec.SPEC, notifications_spec.SPEC],
    check_specs=[*payments_spec.CHECK_SPECS, *notifications_spec.CHECK_SPECS],
    partitions_def=BATCHES,
    can_subset=True,
)
def payments_and_notifications(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[Database],
    vault: dg.ResourceParam[Vault],
    services: dg.ResourceParam[Services],
    effect_limits: dg.ResourceParam[EffectLimits],
) -> Iterator[dg.MaterializeResult]:
    """Pay and notify one batch; progress goes to the log and the asset's observations while it runs."""
    selected = frozenset(EffectKind(key.to_user_string()) for key in context.selected_asset_keys)
    with (
        stage_boundary(),
        effect_work(database, vault, services, effect_limits, context.partition_key, selected) as work,
    ):
        progress = ProgressReporter(context)
        for report in work.reports():
            if not isinstance(report, LaneEnded):
                progress.show(report)
            elif report.complete:
                yield _materialized(report, work.books(), services)


def _materialized(ended: LaneEnded, books: Books, services: Services) -> dg.MaterializeResult:
    if ended.kind is EffectKind.PAYMENT:
        return _payments_made(books, ended, services.payments.profile)
    return _notifications_made(books, ended, services.notifications.profile)


def _floor(ended: LaneEnded, profile: ServiceProfile) -> dict[str, int | float | str]:
    """How near the run came to the time that the service's limit alone makes necessary; how far it was narrowed."""
    width = {"lowest_concurrency": ended.lowest_concurrency}
    if profile.effects_per_second is None or ended.settled == 0:
        return {**width}
    floor_seconds = ended.settled / profile.effects_per_second
    floor = {"floor_seconds": round(floor_seconds, 1), "times_the_floor": round(ended.seconds / floor_seconds, 3)}
    return {**width, **floor}


def _payments_made(books: Books, ended: LaneEnded, profile: ServiceProfile) -> dg.MaterializeResult:
    findings = [reconciliation.payments_match_orders(books), reconciliation.all_orders_paid(books)]
    jpy = books.payments.amount_jpy(EffectState.DONE)
    figures = {f"payments_{state.value}": count for state, (count, _) in sorted(books.payments.by_state.items())}
    return dg.MaterializeResult(
        payments_spec.NAME,
        metadata=stage_metadata(
            books, rows=ended.settled, jpy=jpy, seconds=ended.seconds, figures={**figures, **_floor(ended, profile)}
        ),
        check_results=[finding.to_dagster(payments_spec.NAME) for finding in findings],
        data_version=data_version(books, payments_spec.NAME),
    )


def _notifications_made(books: Books, ended: LaneEnded, profile: ServiceProfile) -> dg.MaterializeResult:
    findings = [reconciliation.mails_match_paid_orders(books), reconciliation.all_mails_sent(books)]
    mails = books.notifications
    figures = {f"notifications_{state.value}": count for state, (count, _) in sorted(mails.by_state.items())}
    return dg.MaterializeResult(
        notifications_spec.NAME,
        metadata=stage_metadata(
            books,
            rows=ended.settled,
            jpy=mails.amount_jpy(),
            seconds=ended.seconds,
            figures={**figures, **_floor(ended, profile)},
        ),
        check_results=[finding.to_dagster(notifications_spec.NAME) for finding in findings],
        data_version=data_version(books, notifications_spec.NAME),
    )
