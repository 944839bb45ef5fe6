"""What people do with a batch, as jobs of the Dagster UI beside `process_batch`; the partition is the batch.

Thin: the work is in ``orchestration/operations.py`` and ``reviews.py``, as for the command line. A refusal is a failed
run with the one line that says why. What is unfinished afterwards is taken up by the sensor. Dagster keeps a run's
configuration for ever, so there is no free text in it: reasons are chosen from a list.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

import dagster as dg
from pydantic import Field

from assets.boundary import stage_boundary
from assets.effects.work import EffectLimits
from assets.partitions import BATCHES
from domain import guards
from domain.decisions import Decision
from domain.errors import OperationRefused
from domain.states import EffectKind
from orchestration import operations, reviews
from orchestration.access import JOB_DUTIES, Access
from orchestration.reviews import RowDecision
from resources.database import books
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.interventions import Counted
from resources.encryption import Vault


class Person(dg.Config):
    """Who acts. The UI has no users of its own: say your account's name, it is written into the trail."""

    person: str = ""


class DryRun(Person):
    """``dry_run``: only say what would be tried again."""

    dry_run: bool = False


class Kind(Enum):
    """What is in review. Dagster shows an enum's names."""

    payments = EffectKind.PAYMENT
    notifications = EffectKind.NOTIFICATION


class Choice(Enum):
    """What a person can decide about it."""

    done = Decision.DONE
    send_again = Decision.SEND_AGAIN
    rejected = Decision.REJECTED
    accept = Decision.ACCEPT


class Reason(Enum):
    """How the person knows."""

    found_at_service = "found at the service"
    not_found_at_service = "not found at the service"
    told_by_service = "told by the people who run the service"
    told_by_customer = "told by the customer"
    agreed_in_team = "agreed in the team"
    compared_with_the_other = "compared with the order that it resembles"


class RowToDecide(Person):
    """One row in review (its import row number), what was decided, and how it is known."""

    row: int
    kind: Kind
    decision: Choice
    reason: Reason
    remote_id: str | None = None


class RowsToAccept(Person):
    """Rows that resemble other orders (their import row numbers; none: all of them), and how it is known."""

    rows: list[int] = Field(default_factory=list)
    reason: Reason


@contextmanager
def _acting(context: dg.OpExecutionContext, database: Database, person: str, access: Access) -> Iterator[Database]:
    """The database in the person's name, if they may; refusals become one line.

    Where a proxy says who is in front of the UI, that name counts, whatever the person gives.
    """
    with stage_boundary():
        if person and not guards.is_account(person):
            raise OperationRefused("BATCH-PERSON-UNKNOWN")
        launched_by = context.run.tags.get("launched_by", "")
        claimed = f"ui:{person}" if person else database.actor.name
        name = launched_by if guards.person_of(launched_by) is not None else claimed
        acting = Database(database.url, Actor(name, context.run_id, database.actor.code_version))
        try:
            access.require(acting, JOB_DUTIES[context.job_name], context.partition_key)
            yield acting
        finally:
            acting.dispose()


def _show(context: dg.OpExecutionContext, database: Database, figures: Mapping[str, int | str]) -> None:
    """What was done, and where the batch stands now: figures and codes."""
    now = database.read(lambda tx: books.read(tx, context.partition_key))
    context.add_output_metadata(
        {"batch": context.partition_key, "state": now.batch.state.value, "reason": now.batch.reason or "-", **figures}
    )


def _counted(word: str, counted: Counted) -> dict[str, int | str]:
    return {word: counted.effects, f"{word}_jpy": counted.amount_jpy}


@dg.op(description="What failed and may be tried again goes back into the queue. 再試行できる失敗をやり直します。")
def redrive(
    context: dg.OpExecutionContext,
    config: DryRun,
    database: dg.ResourceParam[Database],
    access: dg.ResourceParam[Access],
) -> None:
    """Redrive the batch of the partition."""
    with _acting(context, database, config.person, access) as acting:
        redriven = operations.redrive(acting, context.partition_key, dry_run=config.dry_run)
        figures = _counted("payments", redriven.payments) | _counted("notifications", redriven.notifications)
        _show(context, acting, {"dry_run": str(config.dry_run), **figures})


@dg.op(description="No further call begins; those under way come home. 新しい呼び出しを止めます。")
def pause(
    context: dg.OpExecutionContext,
    config: Person,
    database: dg.ResourceParam[Database],
    access: dg.ResourceParam[Access],
) -> None:
    """Pause the batch of the partition."""
    with _acting(context, database, config.person, access) as acting:
        operations.pause(acting, context.partition_key)
        _show(context, acting, {})


@dg.op(name="continue_", description="The batch goes on where it stopped. 停止したところから再開します。")
def continue_(
    context: dg.OpExecutionContext,
    config: Person,
    database: dg.ResourceParam[Database],
    access: dg.ResourceParam[Access],
) -> None:
    """Continue the batch of the partition."""
    with _acting(context, database, config.person, access) as acting:
        operations.continue_(acting, context.partition_key)
        _show(context, acting, {})


@dg.op(description="What was never sent is cancelled; what is paid stays paid. 未送信の決済を取り消します。")
def cancel(
    context: dg.OpExecutionContext,
    config: Person,
    database: dg.ResourceParam[Database],
    access: dg.ResourceParam[Access],
) -> None:
    """Cancel the batch of the partition."""
    with _acting(context, database, config.person, access) as acting:
        cancelled = operations.cancel(acting, context.partition_key)
        _show(context, acting, _counted("cancelled_payments", cancelled))


@dg.op(description="A second person allows an amount above the limit. 上限を超える金額を、別の人が承認します。")
def approve(
    context: dg.OpExecutionContext,
    config: Person,
    database: dg.ResourceParam[Database],
    access: dg.ResourceParam[Access],
    effect_limits: dg.ResourceParam[EffectLimits],
) -> None:
    """Approve the batch of the partition."""
    with _acting(context, database, config.person, access) as acting:
        batch = operations.approve(acting, context.partition_key, effect_limits.guards)
        _show(context, acting, {"approved_jpy": batch.accepted_jpy or 0})


@dg.op(description="One row in review is settled as a person decided. 確認待ちの1行を、担当者の判断で確定します。")
def decide(
    context: dg.OpExecutionContext,
    config: RowToDecide,
    database: dg.ResourceParam[Database],
    access: dg.ResourceParam[Access],
    vault: dg.ResourceParam[Vault],
) -> None:
    """Decide one row of the batch of the partition."""
    with _acting(context, database, config.person, access) as acting:
        if guards.person_of(acting.actor.name) is None:
            raise OperationRefused("BATCH-PERSON-UNKNOWN")
        decided = RowDecision(
            config.row, config.kind.value, config.decision.value, config.reason.value, config.remote_id
        )
        reviews.decide(acting, vault, context.partition_key, decided)
        _show(context, acting, {"row": config.row, "kind": decided.kind.value, "decision": decided.decision.value})


@dg.op(description="Orders that resemble others are paid after all. 似ている注文を、別の注文として受け付けます。")
def accept(
    context: dg.OpExecutionContext,
    config: RowsToAccept,
    database: dg.ResourceParam[Database],
    access: dg.ResourceParam[Access],
    vault: dg.ResourceParam[Vault],
) -> None:
    """Accept near duplicates of the batch of the partition."""
    with _acting(context, database, config.person, access) as acting:
        if guards.person_of(acting.actor.name) is None:
            raise OperationRefused("BATCH-PERSON-UNKNOWN")
        accepted = reviews.accept(acting, vault, context.partition_key, config.rows, config.reason.value)
        _show(context, acting, {"accepted": len(accepted)})


@dg.job(partitions_def=BATCHES, executor_def=dg.in_process_executor)
def redrive_batch() -> None:
    """Try again what failed and may be tried again. What is in doubt stays in review: see `decide_review`.

    失敗のうち再試行できるものをやり直します。結果不明で確認待ちの行はそのまま残ります(`decide_review` で判断します)。
    """
    redrive()


@dg.job(partitions_def=BATCHES, executor_def=dg.in_process_executor)
def pause_batch() -> None:
    """Pause a batch: nothing new is sent, what is under way comes home, and nothing goes on by itself.

    バッチを一時停止します。送信中のものは完了を待ち、自動では再開しません。
    """
    pause()


@dg.job(partitions_def=BATCHES, executor_def=dg.in_process_executor)
def continue_batch() -> None:
    """Let a paused batch go on, past the guard that stopped it; also one whose run was terminated.

    一時停止したバッチ、または実行を中止したバッチを再開します。
    """
    continue_()


@dg.job(partitions_def=BATCHES, executor_def=dg.in_process_executor)
def cancel_batch() -> None:
    """End a batch for good. What is paid stays paid and gets its mail; what is in doubt is looked up first.

    バッチを取り消します。決済済みのものはそのままメールを送信し、結果不明のものは先に照会します。
    """
    cancel()


@dg.job(partitions_def=BATCHES, executor_def=dg.in_process_executor)
def approve_batch() -> None:
    """Allow a batch above the yen limit to be paid. Whoever started it cannot approve it.

    上限を超える金額のバッチを承認します。開始した本人は承認できません。
    """
    approve()


@dg.job(partitions_def=BATCHES, executor_def=dg.in_process_executor)
def decide_review() -> None:
    """Settle one row in review after looking it up at the service: done, send-again or rejected, with the reason.

    確認待ちの1行を、サービス側で調べた結果にもとづいて確定します(done / send-again / rejected と理由)。
    """
    decide()


@dg.job(partitions_def=BATCHES, executor_def=dg.in_process_executor)
def accept_near_duplicates() -> None:
    """Let orders be paid that wait because they resemble others: same customer, amount and items, few days apart.

    同じお客様・商品・金額の注文が近い日付にあるために確認待ちの行を、別の注文として受け付け、決済します。
    """
    accept()


JOBS = [redrive_batch, pause_batch, continue_batch, cancel_batch, approve_batch, decide_review, accept_near_duplicates]
