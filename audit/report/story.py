"""The events of a batch as a story and as curves: what happened when, in sums where there is much of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from audit.pack.contents import Evidence
from audit.report import markup, pictures
from audit.report.markup import code, local, note, table
from audit.report.pictures import BAD, BLUE, GOOD, Curve, Mark, Part
from audit.report.words import of_event, shown

Events = Sequence[Mapping[str, Any]]
_OF_THE_BATCH = ("batch", "run", "decision", "client")
_LONGEST = 60


def section(evidence: Evidence) -> str:
    """What happened to the batch as a whole, and rows and effects in sums between."""
    told = steps(evidence.events)
    rows = [
        (
            step.numbers,
            local(step.at),
            f"{shown(of_event(step.event))}<br>{code(step.event)}",
            f"{step.subjects:,}" if step.subjects else "-",
            code(step.reason),
            code(step.actor),
        )
        for step in told[:_LONGEST]
    ]
    heads = ("number", "time", "event", "subjects", "reason", "actor")
    more = note("more", count=f"{len(told) - _LONGEST:,}") if len(told) > _LONGEST else ""
    return markup.section("story", table(heads, rows, ("t", "t", "", "n", "", "l")), more)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the story: one event of the batch, or many of one kind that follow each other."""

    numbers: str
    at: str
    event: str
    subjects: int
    reason: str | None
    actor: str


def steps(events: Events) -> list[Step]:
    """What happened, in order. Events of rows, payments and mails between two of the batch are summed by kind."""
    found: list[Step] = []
    between: dict[tuple[str, str | None, str], list[Mapping[str, Any]]] = {}
    for event in events:
        if event["event"].split(":")[0] in _OF_THE_BATCH:
            found += [_summed(kind, summed) for kind, summed in between.items()]
            between = {}
            found.append(_summed((event["event"], event["reason"], event["actor"]), [event]))
        else:
            between.setdefault((event["event"], event["reason"], event["actor"]), []).append(event)
    return found + [_summed(kind, summed) for kind, summed in between.items()]


def _summed(kind: tuple[str, str | None, str], found: Events) -> Step:
    first, last = found[0]["seq"], found[-1]["seq"]
    numbers = str(first) if first == last else f"{first}-{last}"
    event, reason, actor = kind
    return Step(numbers, str(found[0]["at"]), event, sum(len(one["subjects"]) for one in found), reason, actor)


# -- curves -----------------------------------------------------------------------------------------------------------


def progress(evidence: Evidence) -> str:
    """Payments, mails and failures over time, with marks where somebody or something stopped the batch."""
    events = evidence.events
    at = active_seconds([event["at_us"] for event in events])
    curves = [
        _curve(Part("payments_done", 0, BLUE), events, at, "payment", ":done"),
        _curve(Part("mails_sent", 0, GOOD), events, at, "notification", ":done"),
        _curve(Part("payments_failed", 0, BAD), events, at, "payment", ":rejected"),
    ]
    seen = [curve for curve in curves if curve.points]
    marks = [
        Mark(moment, of_event(event["event"]))
        for moment, event in zip(at, events, strict=True)
        if event["event"].startswith("decision:") or event["event"].endswith(":paused")
    ]
    ends = (local(events[0]["at"]), local(events[-1]["at"]))
    drawn = pictures.progress(seen, marks, max(evidence.books.orders, 1), at[-1], ends)
    return markup.section("progress", drawn, pictures.legend([curve.part for curve in seen]), note("progress_hint"))


def active_seconds(moments_us: Sequence[int]) -> list[float]:
    """When each event happened, in seconds of work since the first: of a longer rest little is left."""
    gaps = [(after - before) / 1_000_000 for before, after in pairwise(moments_us)]
    longest = max(2.0, sum(min(gap, 60.0) for gap in gaps) / 12)
    found = [0.0]
    for gap in gaps:
        found.append(found[-1] + min(max(gap, 0.0), longest))
    return found


def _curve(part: Part, events: Events, at: Sequence[float], word: str, ending: str) -> Curve:
    count, points = 0, []
    for moment, event in zip(at, events, strict=True):
        if event["event"].startswith(f"{word}:") and event["event"].endswith(ending):
            count += len(event["subjects"])
            points.append((moment, count))
    return Curve(Part(part.name, count, part.colour), points)
