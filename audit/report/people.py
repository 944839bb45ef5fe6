"""Who did what: every actor of the trail, the runs and who launched them, the decisions of people in their words."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from audit.pack.contents import Evidence
from audit.report import markup
from audit.report.markup import code, local, note, table
from audit.report.words import both, of_state, shown


def section(evidence: Evidence) -> str:
    """Actors, runs, decisions."""
    return markup.section("people", _actors(evidence), _runs(evidence), _decisions(evidence))


def _actors(evidence: Evidence) -> str:
    times: dict[str, list[str]] = {}
    for event in evidence.events:
        times.setdefault(event["actor"], []).append(event["at"])
    rows = [(code(actor), f"{len(at):,}", local(at[0]), local(at[-1])) for actor, at in sorted(times.items())]
    return table(("actor", "events", "first", "last"), rows, ("", "n", "t", "t"))


def _runs(evidence: Evidence) -> str:
    """As the trail noted them when they began, with what Dagster says of their end."""
    noted = {run.run_id: run for run in evidence.runs}
    recorded: Mapping[str, Mapping[str, Any]] = {str(run["run_id"]): run for run in evidence.history}
    rows = []
    for run_id in dict.fromkeys((*noted, *recorded)):
        run, known = noted.get(run_id), recorded.get(run_id, {})
        rows.append(
            (
                code(run_id),
                escape(run.job if run else str(known.get("job", "-"))),
                code(run.launched_by if run else known.get("launched_by")),
                local(run.started_at if run else known.get("started")),
                escape(str(known.get("status", "-"))),
                code(run.configuration_sha256[:12] if run else None),
            )
        )
    heads = ("run", "job", "launched_by", "started", "status", "settings")
    return f"<h3>{both('runs')}</h3>{table(heads, rows, ('', '', '', 't'))}" if rows else ""


def _decisions(evidence: Evidence) -> str:
    title = f"<h3>{both('decisions')}</h3>"
    if not evidence.decisions:
        return title + note("no_decisions")
    rows = [
        (
            local(decided["decided_at"]),
            shown(of_state(decided["decision"].value)),
            code(decided["decided_by"]),
            escape(str(decided["order_id"] or "-")),
            code(decided["code"]),
            escape(decided["note"] or "-"),
        )
        for decided in evidence.decisions
    ]
    heads = ("time", "decision", "person", "order_id", "about", "in_their_words")
    return title + table(heads, rows, ("t", "", "", "n"))
