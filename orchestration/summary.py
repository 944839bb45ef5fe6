"""What is said about a batch: one JSON object for programs, a few lines for people, an exit code for both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from domain import catalogue
from domain.errors import BulkOrdersError, TransientError
from domain.progress import StageProgress
from domain.repair import REPAIR
from domain.states import BatchState, EffectState
from resources.database.books import Books, EffectBook

_EXIT_CODES = {BatchState.DONE: 0, BatchState.PARTIAL: 1, BatchState.CANCELLED: 1, BatchState.REFUSED: 2}
INTERRUPTED = 3


def exit_code(books: Books) -> int:
    """0 everything done; 1 done with rejected, failed or cancelled rows; 2 refused; 3 not finished: run again."""
    return _EXIT_CODES.get(books.batch.state, INTERRUPTED)


def as_json(books: Books, report_dir: str | None, duplicate: bool) -> dict[str, Any]:
    """The object of ``--json``. Amounts are yen, counts are rows."""
    batch = books.batch
    return {
        "batch_id": batch.batch_id,
        "status": batch.state.value,
        "reason": batch.reason,
        "file": {
            "name": batch.source_name,
            "sha256": batch.file_sha256.hex(),
            "rows": batch.file_rows,
            "amount_jpy": batch.file_jpy,
        },
        "rows": {"accepted": books.rows_accepted, "rejected": books.rows_rejected},
        "orders": {"created": books.orders},
        "payments": _effects(books.payments) | {"amount_jpy": books.payments.amount_jpy(EffectState.DONE)},
        "notifications": _effects(books.notifications),
        "cancelled": {
            "payments": books.payments.count(EffectState.CANCELLED),
            "amount_jpy": books.payments.amount_jpy(EffectState.CANCELLED),
        },
        "repair": {
            "files": _repair_files(report_dir),
            "parent_batch": batch.parent_batch_id,
            "child_batches": list(books.child_batch_ids),
            "rows_repaired": books.rows_repaired,
        },
        "report_dir": report_dir,
        "duplicate_of": batch.batch_id if duplicate else None,
        "run_id": batch.run_id,
    }


def stage_text(stage: StageProgress, language: str) -> str:
    """How far one stage is, and how long it still takes."""
    words, left = catalogue.words("stages", language), stage.seconds_left
    is_over = left is None or stage.processed >= stage.total
    tail = "" if is_over else f" ({words['left'].format(seconds=round(left or 0))})"
    return f"{words[stage.stage]} {stage.processed:,}/{stage.total:,}{tail}"


def refused_json(name: str, error: BulkOrdersError) -> dict[str, Any]:
    """The same object for a file of which there is no batch to tell about, or one that was interrupted."""
    interrupted = isinstance(error, TransientError)
    status = "interrupted" if interrupted else BatchState.REFUSED.value
    unknown = ("rows", "orders", "payments", "notifications", "cancelled", "repair")
    nothing = dict.fromkeys((*unknown, "report_dir", "duplicate_of", "run_id"))
    file = {"name": name, "sha256": None, "rows": None, "amount_jpy": None}
    return {
        "batch_id": error.facts.get("batch") if interrupted else None,
        "status": status,
        "reason": error.code,
        "file": file,
    } | nothing


def as_text(summary: Mapping[str, Any], books: Books, language: str) -> str:
    """The summary for people."""
    words = catalogue.words("summary", language)
    payments, mails, rows = summary["payments"], summary["notifications"], summary["rows"]
    lines = [
        f"{words['batch']}: {summary['batch_id']}   {words[summary['status']]}",
        f"{words['file']}: {summary['file']['name']}   {_number(summary['file']['rows'])} {words['rows']}"
        f" / {_number(summary['file']['amount_jpy'])} {words['yen']}",
        f"{words['accepted']}: {rows['accepted']:,}   {words['rejected']}: {rows['rejected']:,}"
        f"   {words['orders']}: {summary['orders']['created']:,}",
        f"{words['payments']}: {_states(payments, words)}   {payments['amount_jpy']:,} {words['yen']}",
        f"{words['notifications']}: {_states(mails, words)}",
    ]
    if cancelled := summary["cancelled"]["payments"]:
        amount_jpy = summary["cancelled"]["amount_jpy"]
        lines.append(f"{words['cancelled_payments']}: {cancelled:,}   {amount_jpy:,} {words['yen']}")
    if summary["duplicate_of"]:
        lines.append(words["duplicate"])
    if books.batch.reason:
        lines.append(catalogue.describe(BulkOrdersError(books.batch.reason, **books.batch.reason_facts), language))
    lines += _repair_lines(summary["repair"], words)
    if summary["report_dir"]:
        lines.append(f"{words['report']}: {summary['report_dir']}")
    return "\n".join(lines)


def _repair_files(report_dir: str | None) -> list[str]:
    return [] if report_dir is None else sorted(str(path) for path in Path(report_dir).glob(f"{REPAIR}.*"))


def _repair_lines(repair: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    if repair["parent_batch"]:
        yield f"{words['repair_of']}: {repair['parent_batch']}"
    if repair["child_batches"]:
        children = ", ".join(repair["child_batches"])
        yield f"{words['repaired_with']}: {children}   {repair['rows_repaired']:,} {words['repaired']}"
    for path in repair["files"]:
        yield f"{words['repair']}: {path}"


def as_line(books: Books, language: str) -> str:
    """One batch in one line, for a list."""
    words, batch = catalogue.words("summary", language), books.batch
    done = books.payments.count(EffectState.DONE)
    figures = f"{done:,}/{books.orders:,} {words['payments']}  {books.paid_jpy:,} {words['yen']}"
    of = f"  {words['repair_of']} {batch.parent_batch_id}" if batch.parent_batch_id else ""
    place = f"{batch.created_at.astimezone():%Y-%m-%d %H:%M}  {batch.batch_id}"
    return f"{place}  {words[batch.state.value]}  {figures}{of}"


def _effects(book: EffectBook) -> dict[str, int]:
    return {
        "done": book.count(EffectState.DONE),
        "rejected": book.count(EffectState.REJECTED),
        "review": book.count(EffectState.REVIEW),
        "waiting": book.waiting,
    }


def _states(counts: Mapping[str, int], words: Mapping[str, str]) -> str:
    shown = [f"{words[name]} {counts[name]:,}" for name in ("done", "rejected", "review", "waiting")]
    return " / ".join(shown)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
