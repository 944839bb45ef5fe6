"""PostgreSQL stopped, killed and cut off while batches are under way: what was committed, and do we know it?

Restarts: the server is shut down, stopped immediately or killed in mid-stream, and it comes back. Cuts: a proxy before
it loses COMMITs and their answers, so that the outcome of a transaction is unknown to the one who made it. A life may
survive that or end with "try again later"; any other end is a finding too.
``cut(ground, profile, seed, cuts)`` does one scenario of the cuts again.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from sqlalchemy import make_url

from evidence.campaign import Budget, Line
from evidence.kills import finished, plan_of
from evidence.life import FAILED, FINISHED
from evidence.profiles import PROFILES
from evidence.proxy.listener import Proxy
from evidence.proxy.postgres import PostgresHarm
from evidence.scenario import EvidenceBatch, Ground, Scenario
from evidence.together import labelled, share, until_goal

# Goals of restarts and of cuts; cuts of one batch.
_SHORT = (4, 12, 6)
_FULL = (100, 300, 25)
_ROWS = 30
_SERVICES = ("--latency", "0.02", "--jitter", "0.05")
_SETTLE_SECONDS = 1.0
_BETWEEN_SECONDS = (0.3, 1.5)
_LIFE_SECONDS = 120.0
_CUT_RATES = {"commit_lost": 0.03, "commit_answer_lost": 0.04, "commit_raced": 0.03, "statement_lost": 0.004}


@dataclass(frozen=True, slots=True)
class Cut:
    """Batches behind a proxy that cuts: how often it did, in which ways, and the findings."""

    where: str
    batches: int
    fired: Counter[str]
    violations: list[str]


def run(budget: Budget, seed: int) -> list[Line]:
    """Both: restarts, then cuts."""
    restarts, cuts, of_one = _SHORT if budget.is_short else _FULL
    with Ground() as ground:
        first = _restarts(ground, share(budget, 0.6), restarts, seed)
        began = time.monotonic()
        found = until_goal(
            lambda profile, its_seed: cut(ground, profile, its_seed, of_one),
            lambda one: one.fired.total(),
            cuts,
            share(budget, 0.4),
            seed,
        )
        return [first, _cuts_line(found, cuts, seed, time.monotonic() - began)]


# -- restarts ---------------------------------------------------------------------------------------------------------


def _restarts(ground: Ground, budget: Budget, goal: int, seed: int) -> Line:
    """One server, batch after batch of each kind of service on it, and somebody who restarts it."""
    began, ways, enough = time.monotonic(), Counter[str](), threading.Event()
    with ExitStack() as stack:
        places = [
            stack.enter_context(ground.scenario(profile, seed + number, payments=_SERVICES, notifications=_SERVICES))
            for number, profile in enumerate(PROFILES)
        ]
        with ThreadPoolExecutor(len(places), thread_name_prefix="evidence") as pool:
            lived = [pool.submit(_live_until, place, enough) for place in places]
            try:
                _restart_again_and_again(ground, budget, goal, random.Random(seed), ways)
            finally:
                enough.set()
        batches = [batch for future in lived for batch in future.result()]
        violations = [text for batch in batches for text in labelled(batch.where, batch.judged())]
        violations += [str(violation) for place in places for violation in place.violations()]
    detail = f"{len(batches)} batches of {_ROWS} rows; " + ", ".join(f"{n} {way}" for way, n in sorted(ways.items()))
    return Line("restarts of PostgreSQL", goal, ways.total(), violations, seed, time.monotonic() - began, detail)


def _restart_again_and_again(ground: Ground, budget: Budget, goal: int, rng: random.Random, ways: Counter[str]) -> None:
    while ways.total() < goal and not budget.is_over():
        time.sleep(rng.uniform(*_BETWEEN_SECONDS))
        way = rng.choice(list(_WAYS))
        _WAYS[way](ground)
        ways[way] += 1


def _shut_down(ground: Ground) -> None:
    ground.server.stop()
    ground.server.start(ends_with_us=True)


def _stop_at_once(ground: Ground) -> None:
    os.kill(ground.server.pid, signal.SIGQUIT)
    ground.server.start(ends_with_us=True)


def _kill(ground: Ground) -> None:
    os.kill(ground.server.pid, signal.SIGKILL)
    ground.server.start(ends_with_us=True)


_WAYS: Mapping[str, Callable[[Ground], None]] = {
    "shut down": _shut_down,
    "stopped at once": _stop_at_once,
    "killed": _kill,
}


@dataclass
class _Lived:
    """A batch, and what must not have been the end of one of its lives."""

    where: str
    batch: EvidenceBatch
    findings: list[str]

    def judged(self) -> list[str]:
        """Everything that is wrong, once nobody disturbs any more."""
        return [*self.findings, *finished(self.batch)]


def _live_until(place: Scenario, enough: threading.Event) -> list[_Lived]:
    """Batches of one kind of service, one after the other."""
    lived: list[_Lived] = []
    while not enough.is_set():
        batch = place.batch(_ROWS, **plan_of(place, _SETTLE_SECONDS))
        findings = _live_through(batch, enough.is_set)
        lived.append(_Lived(f"restarts, {place.profile.name}, seed {place.seed}", batch, findings))
    return lived


def _live_through(batch: EvidenceBatch, is_enough: Callable[[], bool]) -> list[str]:
    """Life after life until the batch is finished or it is enough; what must not be the end of a life."""
    findings: list[str] = []
    while not is_enough():
        life = batch.begin()
        status = life.wait(_LIFE_SECONDS)
        if status == FINISHED:
            break
        if status is None:
            life.signal(signal.SIGKILL)
            findings.append(f"a life did not end within {_LIFE_SECONDS:g} s")
        elif status == FAILED:
            findings.append(f"a life ended with {batch.reason()}")
        time.sleep(0.1)
    return findings


# -- cuts -------------------------------------------------------------------------------------------------------------


def cut(ground: Ground, profile: str, seed: int, cuts: int, rows: int = _ROWS) -> Cut:
    """Batches whose sessions are cut so often, above all in COMMIT, and then no more."""
    harm, findings = PostgresHarm(_CUT_RATES, seed), list[str]()
    with ground.scenario(profile, seed, payments=_SERVICES, notifications=_SERVICES) as place:
        where = make_url(place.database_url)
        with Proxy(lambda: (str(where.host), int(where.port or 0)), harm) as proxy:
            by_proxy = where.set(port=proxy.port).render_as_string(hide_password=False)
            batches: list[EvidenceBatch] = []
            while harm.fired.total() < cuts:
                batches.append(place.batch(rows, database_url=by_proxy, **plan_of(place, _SETTLE_SECONDS)))
                findings += _live_through(batches[-1], lambda: harm.fired.total() >= cuts)
            harm.rates = {}
            findings += [text for batch in batches for text in finished(batch)]
        findings += map(str, place.violations())
    return Cut(f"cut {profile}, seed {seed}, {cuts} cuts, {rows} rows", len(batches), harm.fired, findings)


def _cuts_line(found: list[Cut], goal: int, seed: int, seconds: float) -> Line:
    fired = sum((one.fired for one in found), Counter[str]())
    violations = [text for one in found for text in labelled(one.where, one.violations)]
    ways = ", ".join(f"{count} {way}" for way, count in sorted(fired.items()))
    detail = f"{sum(one.batches for one in found)} batches of {_ROWS} rows; {ways}; {fired.total() / seconds:.1f}/s"
    return Line("sessions cut in a transaction", goal, fired.total(), violations, seed, seconds, detail)
