"""What became of the batch: its rows, the books beside each other, and why rows failed."""

from __future__ import annotations

from collections import Counter
from html import escape

from audit.pack.contents import Evidence, findings
from audit.report import markup, pictures
from audit.report.markup import code, table
from audit.report.pictures import BAD, GOOD, WAIT, Part
from audit.report.words import both, of_code, shown
from checks.finding import Finding
from domain.states import EffectState
from resources.database.row_ledger import LedgerRow


def of_row(row: LedgerRow) -> str:
    """Where a row belongs, by what became of it: as in the result files."""
    effects = (row.payment_state, row.mail_state)
    if row.state == "rejected" or {EffectState.REJECTED.value, EffectState.REVIEW.value} & {*effects}:
        return "failed"
    return "succeeded" if effects == ("done", "done") else "not_processed"


def section(evidence: Evidence) -> str:
    """In figures and as one bar."""
    counted = Counter(of_row(row) for row in evidence.rows)
    colours = {"succeeded": ("good", GOOD), "failed": ("bad", BAD), "not_processed": ("wait", WAIT)}
    cards = [
        ("", "rows_of_file", f"{len(evidence.rows):,}"),
        *((kind if counted[name] else "", name, f"{counted[name]:,}") for name, (kind, _) in colours.items()),
        ("", "yen_paid", f"{evidence.books.paid_jpy:,}"),
    ]
    drawn = "".join(
        f'<div class="card {kind}"><b>{value}</b><span>{both(name)}</span></div>' for kind, name, value in cards
    )
    parts = [Part(name, counted[name], colour) for name, (_, colour) in colours.items()]
    return markup.section("outcome", f"<div class=cards>{drawn}</div>", pictures.whole(parts), pictures.legend(parts))


def reconciliation(evidence: Evidence) -> str:
    """File, orders, payments and mails, each counted on its own, and what the checks say of them."""
    now, done = evidence.books, EffectState.DONE
    books = [
        ("accepted_rows", now.rows_accepted, now.accepted_jpy),
        ("orders", now.orders, now.orders_jpy),
        ("payments_planned", now.payments.count(), now.payments.amount_jpy()),
        ("paid_orders", now.paid_orders, now.paid_jpy),
        ("completed_payments", now.payments.count(done), now.payments.amount_jpy(done)),
        ("mails_sent", now.notifications.count(done), None),
    ]
    rows = [(both(name), f"{count:,}", "-" if jpy is None else f"{jpy:,}") for name, count, jpy in books]
    checks = [(_mark(found), code(found.name), escape(found.compared)) for found in findings(now)]
    return markup.section(
        "reconciliation",
        table(("book", "count", "yen"), rows, ("", "n", "n")),
        table(("", "check", "compared"), checks, ("", "l")),
    )


def _mark(found: Finding) -> str:
    kind, sign = ("ok", "✓") if found.passed else ("no", "✗") if found.blocking else ("warn", "!")
    return f'<span class="{kind}">{sign}</span>'


_MOST_REASONS = 25


def reasons(evidence: Evidence) -> str:
    """Why rows were rejected and effects failed, by code."""
    counted: Counter[str] = Counter()
    for row in evidence.rows:
        counted.update(codes_of(row))
    if not counted:
        return markup.section("reasons", markup.note("nothing_failed"))
    listed = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:_MOST_REASONS]
    most = listed[0][1]
    bars = "".join(
        f"<div><p>{code(name)} {shown(of_code(name))}</p>{pictures.bar(count / most)}<b>{count:,}</b></div>"
        for name, count in listed
    )
    return markup.section("reasons", f"<div class=bars>{bars}</div>")


def codes_of(row: LedgerRow) -> set[str]:
    """The codes of a row's issues and of its effects."""
    issues = {issue.partition(":")[2] for issue in (row.issues or "").split()}
    return issues | {found for found in (row.payment_reason, row.mail_reason) if found}
