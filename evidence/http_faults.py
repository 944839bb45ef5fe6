"""Faults of HTTP before and after the effect: told to the services, and done to the connections by proxies between.

Each scenario has one of the four kinds of service, its own seed and its own batch; the faults that count are those that
really fired: the services' ledgers and the proxies say how many. In the end the checker compares the books.

``strike(ground, profile, seed, rows)`` does one batch of the campaign again.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evidence.campaign import Budget, Line
from evidence.pace import HURRY
from evidence.proxy.http import FAULTS, HttpHarm
from evidence.proxy.listener import Proxy
from evidence.scenario import Ground, NotFinished, Scenario
from evidence.together import labelled, until_goal

# Goal and rows of one batch.
_SHORT = (150, 12)
_FULL = (20_000, 150)
# One call may take this long, an effect may come this late, and only then does an absence mean anything. Scaled down
# from 30 s, with room for a busy machine.
_TIMEOUT_SECONDS = 0.6
_HANG_SECONDS = 1.0
_SETTLE_SECONDS = 2.0
_REPLICA_LAG_SECONDS = 0.4
_LIFE_SECONDS = 900.0

SENT = {
    "error_500_before": 0.05,
    "error_500_after": 0.05,
    "error_503": 0.03,
    "error_503_after": 0.03,
    "error_429": 0.004,  # each stops all calls for a second
    "timeout_before": 0.02,
    "timeout_after": 0.03,
    "late_effect": 0.03,
    "reset_before": 0.05,
    "reset_after": 0.05,
    "garbled": 0.04,
    "truncated": 0.03,
    "html": 0.03,
    "redirect": 0.02,
    "wrong_order": 0.03,
    "slow": 0.02,
}
"""Share of the requests for an effect that a service spoils, by kind."""

LOOKED_UP = {
    "error_500": 0.05,
    "error_503": 0.03,
    "error_429": 0.003,
    "timeout": 0.02,
    "reset": 0.05,
    "garbled": 0.03,
    "truncated": 0.03,
    "html": 0.03,
    "redirect": 0.02,
    "slow": 0.02,
}
"""Share of the look-ups. One that tells of another amount or order is for a person, rightly, and not here."""

CARRIED = {kind: 0.03 for kind in FAULTS if kind != "request_twice"} | {"answer_sliced": 0.02, "answer_delayed": 0.02}
"""Share of all exchanges that a proxy spoils."""

CARRIED_WITH_KEYS = CARRIED | {"request_twice": 0.03}
"""Where the service honours keys. Elsewhere a request that the network delivers twice is charged twice, by anybody."""


@dataclass(frozen=True, slots=True)
class Struck:
    """One batch under faults: ``fired`` by kind, and what the checker found."""

    profile: str
    seed: int
    rows: int
    fired: Counter[str]
    violations: list[str]


def run(budget: Budget, seed: int) -> Line:
    """Batch after batch, the four kinds of service in turn, until enough faults have fired."""
    began = time.monotonic()
    goal, rows = _SHORT if budget.is_short else _FULL
    with Ground() as ground:
        struck = until_goal(
            lambda profile, its_seed: strike(ground, profile, its_seed, rows),
            lambda one: one.fired.total(),
            goal,
            budget,
            seed,
        )
    return _line(struck, goal, seed, time.monotonic() - began)


def _line(struck: list[Struck], goal: int, seed: int, seconds: float) -> Line:
    fired = sum((one.fired for one in struck), Counter[str]())
    violations = [
        text for one in struck for text in labelled(f"{one.profile}, seed {one.seed}, {one.rows} rows", one.violations)
    ]
    rows = sum(one.rows for one in struck)
    done = fired.total()
    detail = f"{len(struck)} batches, {rows:,} rows, {len(fired)} kinds of fault, {done / seconds:.1f}/s"
    return Line("HTTP faults that fired", goal, done, violations, seed, seconds, detail)


def strike(ground: Ground, profile: str, seed: int, rows: int, bad_rows: int = 2) -> Struck:
    """One batch of one kind of service, under all faults, to its end."""
    stated = {"faults": SENT, "lookup_faults": LOOKED_UP}
    with ground.scenario(profile, seed, payments=options(stated), notifications=options(stated)) as place:
        batch = place.batch(rows, bad_rows, **patient(place), concurrency=48, chunk=48)
        with proxied(place, seed) as harms:
            try:
                batch.finish(most_lives=200, life_seconds=_LIFE_SECONDS)
                found = [str(violation) for violation in (*batch.violations(), *place.violations())]
            except NotFinished as stuck:
                found = [f"stuck: {stuck}"]
        fired = told(place) + sum((_harmful(harm) for harm in harms), Counter[str]())
        return Struck(profile, seed, rows, fired, found)


def options(stated: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The words for a service of the sandbox that spoils what it is asked, at these rates."""
    words = ["--hang-seconds", str(_HANG_SECONDS), "--lookup-delay", str(_REPLICA_LAG_SECONDS), "--faults-repeat"]
    words += [w for kind, rate in stated.get("faults", {}).items() for w in ("--fault", f"{kind}={rate}")]
    words += [w for kind, rate in stated.get("lookup_faults", {}).items() for w in ("--lookup-fault", f"{kind}={rate}")]
    return words


def patient(place: Scenario) -> dict[str, Any]:
    """What the engine is told of such services: the fields of a life's plan."""
    stated = {**place.profile.engine_profile(), "settle_seconds": _SETTLE_SECONDS}
    return {
        "payments_profile": stated,
        "notifications_profile": {**stated, "rate_per_second": None},
        "timeout_seconds": _TIMEOUT_SECONDS,
        "prepare": HURRY,
    }


@contextmanager
def proxied(place: Scenario, seed: int, rates: Mapping[str, float] | None = None) -> Iterator[list[HttpHarm]]:
    """Both services of a scenario behind proxies of ours, while the block lasts."""
    if rates is None:
        rates = CARRIED_WITH_KEYS if place.profile.honours_keys else CARRIED
    before = place.addresses
    harms = [HttpHarm(rates, seed), HttpHarm(rates, seed + 1)]
    with ExitStack() as stack:
        ports = [
            stack.enter_context(Proxy(_target(url), harm)).port
            for url, harm in zip((before.payments, before.notifications), harms, strict=True)
        ]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        place.addresses = replace(before, payments=urls[0], notifications=urls[1])
        try:
            yield harms
        finally:
            place.addresses = before


def told(place: Scenario) -> Counter[str]:
    """The faults that the services themselves testify to."""
    return _in_ledger(place.payments.ledger) + _in_ledger(place.notifications.ledger)


def _target(url: str) -> Callable[[], tuple[str, int]]:
    where = urlsplit(url)
    return lambda: (str(where.hostname), int(where.port or 0))


def _harmful(harm: HttpHarm) -> Counter[str]:
    return Counter({kind: count for kind, count in harm.fired.items() if kind in FAULTS})


def _in_ledger(path: Path) -> Counter[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
        query = "select fault, count(*) from requests where fault is not null group by 1"
        return Counter({f"service {kind}": count for kind, count in ledger.execute(query)})
