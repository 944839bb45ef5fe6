"""What goes into the evidence of a batch: every part but the source, the report and the signatures, as bytes.

All of one moment, and nothing of the moment of packing: the same batch gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from checks import reconciliation, row_accounting
from checks.finding import Finding
from domain.trail import Event
from resources.database import books, decisions, row_ledger, runs, trail
from resources.database.books import Books
from resources.database.row_ledger import LedgerCall, LedgerRepair, LedgerRow
from resources.database.runs import BatchRun

History = Sequence[Mapping[str, Any]]
"""The runs of Dagster on a batch, oldest first, as JSON: see ``orchestration/dagster_history.py``."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a batch at one moment."""

    books: Books
    rows: Sequence[LedgerRow]
    calls: Sequence[LedgerCall]
    repairs: Sequence[LedgerRepair]
    events: Sequence[Mapping[str, Any]]
    runs: Sequence[BatchRun]
    history: History
    decisions: Sequence[Mapping[str, Any]]
    webhooks: Sequence[Mapping[str, Any]]
    installation: str

    @property
    def batch_id(self) -> str:
        """Whose evidence it is."""
        return self.books.batch.batch_id

    @property
    def as_of(self) -> str:
        """The time of the last thing that happened to the batch."""
        return str(self.events[-1]["at"])


def gather(tx: Connection, batch_id: str, history: History) -> Evidence:
    """Read everything; ``tx`` sees one moment.

    Raises:
        NotFound: there is no such batch.
    """
    return Evidence(
        books=books.read(tx, batch_id),
        rows=list(row_ledger.rows(tx, batch_id)),
        calls=list(row_ledger.calls(tx, batch_id)),
        repairs=list(row_ledger.repairs(tx, batch_id)),
        events=[_event(Event(*fields)) for fields in trail.events(tx, batch_id)],
        runs=runs.of_batch(tx, batch_id),
        history=history,
        decisions=[asdict(decided) for decided in decisions.of_batch(tx, batch_id)],
        webhooks=_webhooks(tx, batch_id),
        installation=trail.installation_id(tx),
    )


def findings(now: Books) -> list[Finding]:
    """What the checks say of the batch as it stands."""
    checks = (
        row_accounting.every_row_stored,
        row_accounting.all_rows_accepted,
        reconciliation.orders_match_file,
        reconciliation.payments_match_orders,
        reconciliation.all_orders_paid,
        reconciliation.mails_match_paid_orders,
        reconciliation.all_mails_sent,
        reconciliation.three_books_agree,
    )
    return [check(now) for check in checks]


def parts(evidence: Evidence) -> dict[str, bytes]:
    """The parts by name."""
    return {
        "rows.csv": _csv(LedgerRow._fields, evidence.rows),
        "attempts.csv": _csv(LedgerCall._fields, evidence.calls),
        "repairs.csv": _csv(LedgerRepair._fields, evidence.repairs),
        "chain.jsonl": b"".join(_compact(event) + b"\n" for event in evidence.events),
        "batch.json": _pretty(_batch(evidence.books)),
        "configuration.json": _pretty({run.configuration_sha256: dict(run.settings) for run in evidence.runs}),
        "decisions.json": _pretty({"decisions": evidence.decisions, "events_of_the_service": evidence.webhooks}),
        "runs.json": _pretty(
            {"noted_by_the_trail": [_run(run) for run in evidence.runs], "recorded_by_dagster": evidence.history}
        ),
        "checks.json": _pretty([_finding(found) for found in findings(evidence.books)]),
        "reconciliation.json": _pretty(_reconciled(evidence.books)),
    }


def _event(event: Event) -> dict[str, Any]:
    """As JSON, with the time as a person reads it beside the one that is hashed."""

    def said(value: bytes | None) -> str | None:
        return None if value is None else value.decode()

    return {
        "seq": int(event.seq),
        "at": moment(int(event.at_us)),
        "actor": said(event.actor),
        "event": said(event.event),
        "reason": said(event.reason),
        "subjects": [int(subject) for subject in event.subjects.split()],
        "amount_jpy": None if event.amount_jpy is None else int(event.amount_jpy),
        "run_id": said(event.run_id),
        "code_version": said(event.code_version),
        "chain": said(event.chain),
        "at_us": int(event.at_us),
        "facts": said(event.facts),
        "prev_hash": said(event.prev_hash),
        "hash": said(event.hash),
    }


def moment(at_us: int) -> str:
    """A time in UTC from microseconds since 1970."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_us % 1_000_000:06}Z"


def _batch(now: Books) -> dict[str, Any]:
    batch = asdict(now.batch)
    batch["file_sha256"] = now.batch.file_sha256.hex()
    return {name: value for name, value in batch.items() if name not in ("continued_at", "resume_at")}


def _run(run: BatchRun) -> dict[str, Any]:
    known = asdict(run)
    del known["settings"]
    return known


def _webhooks(tx: Connection, batch_id: str) -> list[dict[str, Any]]:
    rows = tx.execute(
        text("""select event_id, type, order_id, payment_id, amount_jpy, currency, occurred_at, received_at, outcome,
                       reason, encode(content_sha256, 'hex') as content_sha256
                from webhook_inbox where batch_id = :b order by received_at, event_id"""),
        {"b": batch_id},
    )
    return [dict(row._mapping) for row in rows]


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "check": found.name,
        "passed": found.passed,
        "blocking": found.blocking,
        "compared": found.compared,
        "figures": dict(found.figures),
    }


def _reconciled(now: Books) -> dict[str, Any]:
    return {
        "file": {"rows": now.batch.file_rows, "yen": now.batch.file_jpy},
        "accepted": {"rows": now.rows_accepted, "yen": now.accepted_jpy},
        "rejected": {"rows": now.rows_rejected},
        "orders": {"count": now.orders, "yen": now.orders_jpy},
        "paid_orders": {"count": now.paid_orders, "yen": now.paid_jpy},
        "payments": {
            state.value: {"count": n, "yen": jpy} for state, (n, jpy) in sorted(now.payments.by_state.items())
        },
        "mails": {state.value: {"count": n} for state, (n, _) in sorted(now.notifications.by_state.items())},
    }


_MARKED = ("'", "=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """UTF-8 with its mark and CRLF, for Excel."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return b"\xef\xbb\xbf" + lines.getvalue().encode()


def _cell(value: Any) -> Any:
    """With an apostrophe before what a spreadsheet would run, and before an apostrophe: it can be taken off again."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_MARKED) else value


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _pretty(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=_plain) + "\n").encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)
