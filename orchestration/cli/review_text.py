"""Rows in review as people and programs read them. Ids, codes, times and yen; nothing of a customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from domain import catalogue
from domain.decisions import Decision, choices
from domain.guards import NEAR_DUPLICATE
from domain.profiles import ServiceProfile
from domain.states import EffectKind
from orchestration.reviews import RowDecision, may_double
from resources.database.reviews import ReviewRow

Profiles = Mapping[EffectKind, ServiceProfile]


def as_json(row: ReviewRow, profile: ServiceProfile) -> dict[str, Any]:
    """One row for programs, with the commands that settle it; ``send_again_may_double`` where nothing prevents it."""
    told = {item.name: _plain(getattr(row, item.name)) for item in fields(row)}
    remedy = catalogue.fill(row.reason, {}, "en").remedy
    commands = [_command(row, decision) for decision in choices(row.reason)]
    return told | {"remedy": remedy, "decide": commands, "send_again_may_double": may_double(profile)}


def as_text(rows: Sequence[ReviewRow], profiles: Profiles, language: str) -> str:
    """All rows for a person, and at the end what can be done about each."""
    words = catalogue.words("review", language)
    if not rows:
        return words["none"]
    lines = [line for row in rows for line in _row(row, words, language)]
    alike = [row for row in rows if row.reason == NEAR_DUPLICATE]
    asked = [row for row in rows if row.reason != NEAR_DUPLICATE]
    if asked:
        lines += ["", words["actions"], *(f"  {words[choice]}" for choice in ("done", "rejected", "send-again"))]
        lines += [f"  {words['command']}", f"    {_command(asked[0], Decision.DONE)}"]
    if alike:
        lines += ["", words["alike_actions"], *(f"  {words[choice]}" for choice in ("accept", "alike_rejected"))]
        lines += [f"  {words['command']}", f"    {_command(alike[0], Decision.ACCEPT)}"]
        lines += [f"    bulk-orders review accept {alike[0].batch_id} --all --reason TEXT"]
    kinds = sorted({row.kind for row in asked if may_double(profiles[row.kind])})
    lines += [f"  {words['doubling']} ({', '.join(words[kind.value] for kind in kinds)})"] if kinds else []
    return "\n".join(lines)


def doubling(language: str) -> str:
    """Said whenever something is sent again that nothing keeps from being done twice."""
    return catalogue.words("review", language)["doubling"]


def decided(decision: RowDecision, batch: str, language: str) -> str:
    """What was written down, and what comes next."""
    words = catalogue.words("review", language)
    return words["decided"].format(
        batch=batch, row=decision.row, kind=words[decision.kind.value], decision=decision.decision.value
    )


def accepted(rows: Sequence[int], batch: str, language: str) -> str:
    """What was written down about near duplicates, and what comes next."""
    return catalogue.words("review", language)["accepted"].format(batch=batch, count=len(rows))


def _row(row: ReviewRow, words: Mapping[str, str], language: str) -> list[str]:
    text = catalogue.fill(row.reason, {}, language)
    statuses = " ".join(str(status) for status in row.http_statuses) or "-"
    return [
        words["head"].format(
            batch=row.batch_id, row=row.import_row_number, line=row.line_number, kind=words[row.kind.value]
        ),
        words["order"].format(order=row.order_id, number=row.order_number, jpy=row.amount_jpy),
        f"    {row.reason}: {text.message}",
        f"    {text.remedy}",
        *_alike(row, words),
        words["known"].format(
            sends=row.sends,
            looks=row.look_ups,
            statuses=statuses,
            first=_time(row.first_sent_at),
            last=_time(row.last_call_at),
            request=row.service_request_id or "-",
        ),
    ]


def _alike(row: ReviewRow, words: Mapping[str, str]) -> list[str]:
    """Which order it resembles."""
    if row.alike_batch_id is None:
        return []
    other = {"batch": row.alike_batch_id, "row": row.alike_row_number, "number": row.alike_order_number}
    return [words["alike"].format(**other, days=row.days_apart)]


def _command(row: ReviewRow, decision: Decision) -> str:
    place = f"{row.batch_id} --row {row.import_row_number} --kind {row.kind.value}"
    return f"bulk-orders review decide {place} --as {decision.value} --reason TEXT"


def _time(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _plain(value: object) -> object:
    if isinstance(value, EffectKind):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else value
