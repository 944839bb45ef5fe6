"""What happens by the clock: every hour all chains of the trail are anchored, every night what is over is put away."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.boundary import stage_boundary
from audit import retention
from audit.anchoring import make_anchor
from domain.errors import TransientError
from orchestration import erasing
from orchestration.bindings import installed, keeping
from orchestration.settings import Settings
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import open_signing_key
from resources.database.database import Database

ANCHOR_TRAIL = "anchor_trail"
KEEP_RECORDS = "keep_records"
_CUT_SHORT = timedelta(hours=1)  # after that nobody is at it any more


def anchor_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule with its job; on by default."""

    @dg.op(description="Signs where all chains of the trail end now. 証跡の現在の末尾に署名します。")
    def anchor(context: dg.OpExecutionContext, database: dg.ResourceParam[Database]) -> None:
        with stage_boundary():
            key = open_signing_key(settings.signing_key_file)
            made = make_anchor(database, AnchorFolder(settings.anchors_dir), key)
            context.add_output_metadata({"anchor": made.number, "chains": made.chains, "key_id": key.key_id})

    @dg.job(name=ANCHOR_TRAIL, executor_def=dg.in_process_executor)
    def anchor_trail() -> None:
        """Anchor the trail: a signed statement about all chains, in a file outside the database.

        証跡のアンカーを作成し、データベースの外に保存します。
        """
        anchor()

    return dg.ScheduleDefinition(
        name=f"{ANCHOR_TRAIL}_hourly",
        job=anchor_trail,
        cron_schedule="7 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every hour. 1時間ごとに実行します。",
    )


def retention_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule with its job; on by default."""

    @dg.op(description="Exports, drops and destroys what is over. 保存期間を過ぎた記録を移動・廃棄します。")
    def keep(context: dg.OpExecutionContext, database: dg.ResourceParam[Database]) -> None:
        with stage_boundary():
            done = retention.run(database, keeping(settings, datetime.now(UTC)))
            failed = [one for one in done if one.failed is not None]
            kept = sum(one.step.kept_by is not None for one in done)
            context.add_output_metadata({"done": len(done) - len(failed) - kept, "kept": kept, "failed": len(failed)})
            if failed:
                raise TransientError("SYS-RETENTION-UNFINISHED", steps=len(failed), first=failed[0].step.subject)

    @dg.op(description="Carries out erasures that were cut short. 中断した消去を最後まで実行します。")
    def finish_erasures(context: dg.OpExecutionContext, database: dg.ResourceParam[Database]) -> None:
        with stage_boundary():
            finished = erasing.finish(installed(settings, database), datetime.now(UTC) - _CUT_SHORT)
            context.add_output_metadata({"finished": len(finished)})

    @dg.job(name=KEEP_RECORDS, executor_def=dg.in_process_executor)
    def keep_records() -> None:
        """Put away what is over: months into cold storage, later destroyed; personal data and files of old batches.

        Erasures that somebody decided and that were cut short are carried out.

        保存期間に従って、記録を移動または廃棄します。中断した消去も最後まで実行します。
        """
        keep()
        finish_erasures()

    return dg.ScheduleDefinition(
        name=f"{KEEP_RECORDS}_daily",
        job=keep_records,
        cron_schedule="40 3 * * *",
        execution_timezone="Asia/Tokyo",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night. 毎晩実行します。",
    )
