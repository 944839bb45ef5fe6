"""The campaign: canaries through files, services, webhooks, errors and crashes; then every sink is searched for them.

At the end one leak is planted into each sink, and has to be found there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from evidence.campaign import Budget, Line
from evidence.leaks import paths, planting, sinks
from evidence.leaks.canaries import Flock, letters
from evidence.leaks.place import Place
from evidence.leaks.search import Found

CANARIES_GOAL = 100_000
FULL = {"files": 2, "rows": 5_000, "bad_percent": 5, "kills": 6, "every_hostile_file": 1}
SHORT = {"files": 1, "rows": 40, "bad_percent": 20, "kills": 0, "every_hostile_file": 3}


@dataclass(frozen=True, slots=True)
class Searched:
    """What came of it."""

    canaries: int
    found: list[Found]
    missed: list[str]
    odd_answers: int
    processes: int
    looks: int
    states: Counter[str]
    octets: int


def run(budget: Budget, seed: int) -> list[Line]:
    """Canaries and the planted leaks, a line each."""
    began = time.monotonic()
    flock = Flock()
    searched = through_everything(flock, SHORT if budget.is_short else FULL)
    seconds = time.monotonic() - began
    goal = 0 if budget.is_short else CANARIES_GOAL
    states = ", ".join(f"{count} {state}" for state, count in sorted(searched.states.items()))
    detail = (
        f"batches {states}; {searched.odd_answers:,} odd answers; {searched.looks} looks at"
        f" {searched.processes} processes; {searched.octets / 1e6:,.0f} MB searched"
    )
    return [
        Line(
            "canaries, none where none may be",
            goal,
            searched.canaries,
            _said(flock, searched.found),
            seed,
            seconds,
            detail,
        ),
        Line(
            "planted leaks, each found in its sink",
            len(planting.PLANTED),
            len(planting.PLANTED) - len(searched.missed),
            [f"not found in {sink}" for sink in searched.missed],
            seed,
            seconds,
        ),
    ]


def _said(flock: Flock, found: list[Found]) -> list[str]:
    return sorted({one.said(flock) for one in found})


def through_everything(
    flock: Flock, size: Mapping[str, int], meanwhile: Callable[[Place], None] = lambda _: None
) -> Searched:
    """One installation from its start to its end; ``meanwhile`` is done with it before it is searched."""
    with Place(flock) as place:
        _work(place, size)
        meanwhile(place)
        octets = 0

        def counted() -> Iterator[sinks.Piece]:
            nonlocal octets
            for piece in place.pieces():
                octets += len(piece.octets)
                yield piece

        found = [*sinks.look(flock, counted()), *place.watch.found]
        states = Counter(dict(place.ask("select state, count(*) from batches group by 1")))
        canaries = len(flock)
        missed = _planted(place)
        place.stop()
        found += sinks.look(
            flock, (piece for piece in sinks.home(place.home, place.server.data) if piece.sink == "logs")
        )
        odd = place.payments.odd_answers + place.notifications.odd_answers
        found = [one for one in found if one.number < canaries]
        return Searched(canaries, found, missed, odd, len(place.watch.processes), place.watch.looks, states, octets)


def _work(place: Place, size: Mapping[str, int]) -> None:
    paths.whole_files(place, size["files"], size["rows"], size["bad_percent"])
    dropped = size["files"] + paths.hostile_files(place, size["every_hostile_file"])
    if size["kills"]:
        paths.killed(place, size["kills"])
    paths.webhooks(place)
    paths.database_errors(place)
    paths.wait(place, dropped)
    [[batch]] = place.ask("select batch_id from batches where source_name = 'batch-1.csv'")
    paths.key_errors(place, batch)
    paths.commands(place, batch)
    paths.asked_in_the_ui(place, batch)
    paths.repaired(place, batch)
    paths.wait(place, dropped + 1)


def _planted(place: Place) -> list[str]:
    """The sinks in which a planted leak was not found."""
    numbers, began = {}, time.time() - 1
    for sink, plant in planting.PLANTED.items():
        numbers[sink] = place.flock.fresh("planted", sink)
        plant(place, f"{letters(numbers[sink])}@leak.example")
    found = {(one.sink, one.number) for one in [*sinks.look(place.flock, place.pieces(began)), *place.watch.found]}
    return [sink for sink, number in numbers.items() if (sink, number) not in found]
