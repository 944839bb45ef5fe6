"""What happened to one line: looked up on the page itself, in its own data, by line, order, payment or mail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from audit.pack.contents import Evidence, moment
from audit.report import markup, words
from audit.report.markup import local, note
from audit.report.outcome import codes_of, of_row
from audit.report.words import both
from domain.states import EffectKind

_COLUMNS = (
    "row",
    "line",
    "state",
    "order_number",
    "amount_jpy",
    "order_row",
    "issues",
    "order_id",
    "order_jpy",
    "order_status",
    "alike_order_id",
    "payment_state",
    "payment_id",
    "payment_reason",
    "mail_state",
    "mail_id",
    "mail_reason",
)
_SAID = (
    *_COLUMNS,
    "actor",
    "calls",
    "event",
    "events",
    "http_status",
    "line",
    "not_found",
    "number",
    "outcome_of_call",
    "proved",
    "purpose",
    "reason",
    "repair_of",
    "repaired_with",
    "request_id",
    "time",
    "who_allowed",
)
_ALLOWING = ("approve", "continue", "redrive", "accept")


def section() -> str:
    """The question; the script of the page answers it."""
    return markup.section(
        "look_up",
        '<form id="find"><input id="what" placeholder="4812" autocomplete="off" aria-label="4812">'
        f'<button>{both("look_up_do")}</button></form>{note("look_up_hint")}<div id="found"></div>',
        note("look_up_rows"),
    )


def data(evidence: Evidence) -> str:
    """JSON that cannot end the script element it stands in."""
    events = [
        [e["seq"], local(e["at"]), e["actor"], e["event"], e["reason"] or "", ranges(e["subjects"])]
        for e in evidence.events
        if e["subjects"]
    ]
    calls = [
        [c.order_id, local(moment(c.started_at_us)), c.kind, c.purpose, c.outcome, c.http_status, c.service_request_id]
        for c in evidence.calls
    ]
    told = {
        "columns": _COLUMNS,
        "rows": [[*(getattr(row, name) for name in _COLUMNS), of_row(row)] for row in evidence.rows],
        "events": events,
        "calls": calls,
        "allowed": _allowed(evidence),
        "repairs": [list(repair) for repair in evidence.repairs],
        "batch": evidence.batch_id,
        "words": {
            "report": {name: words.said(name) for name in _SAID},
            "events": {event: words.of_event(event) for event in {str(e[3]) for e in events}},
            "states": {state: words.of_state(state) for state in _states(evidence)},
            "codes": {code: words.of_code(code) for row in evidence.rows for code in codes_of(row)},
        },
    }
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")


def _allowed(evidence: Evidence) -> list[list[Any]]:
    """Who brought it about, of the batch and of single orders: time, what, person, reason and words, order."""
    batch = evidence.books.batch
    found: list[list[Any]] = [[local(batch.created_at), words.said("batch_given"), batch.started_by, "", None]]
    found += [
        [local(run.started_at), words.said("run_launched"), run.launched_by, run.job, None] for run in evidence.runs
    ]
    found += [
        [
            local(decided["decided_at"]),
            words.of_state(decided["decision"].value),
            decided["decided_by"],
            " · ".join(filter(None, (decided["code"], decided["note"]))),
            decided["order_id"],
        ]
        for decided in evidence.decisions
        if decided["order_id"] is not None or decided["decision"].value in _ALLOWING
    ]
    return sorted(found, key=lambda one: str(one[0]))


def _states(evidence: Evidence) -> Iterable[str]:
    """Every state and every outcome of a call that a row can show."""
    found: set[str | None] = {kind.value for kind in EffectKind}
    for row in evidence.rows:
        found |= {row.state, row.order_status, row.payment_state, row.mail_state}
    for call in evidence.calls:
        found |= {call.purpose, call.outcome}
    return sorted(state for state in found if state)


def ranges(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers as (from, to), those that follow each other taken together."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
