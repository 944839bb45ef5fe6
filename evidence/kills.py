"""SIGKILL of real workers at random instants, again and again until the batch is finished; and the undead.

The undead are workers that are stopped, lose their connection to the database and are replaced, and wake up while their
successor works. ``hunt(ground, profile, seed, batches, kills)`` and ``undead(ground, profile, seed)`` do one of its
scenarios again.
"""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import make_url

from evidence.campaign import Budget, Line
from evidence.life import FINISHED
from evidence.pace import HURRY
from evidence.proxy.listener import Proxy
from evidence.proxy.raw import Harm, raw_relay
from evidence.scenario import EvidenceBatch, Ground, NotFinished, Scenario
from evidence.together import labelled, share, until_goal
from evidence.zygote import Life

# Goals of kills and of undead workers; batches and kills of one scenario.
_SHORT = (24, 2, 1, 12)
_FULL = (3_000, 50, 25, 40)
# Calls take a moment, so that there are some in flight whenever somebody dies.
_SERVICES = ("--latency", "0.01", "--jitter", "0.05")
_SETTLE_SECONDS = 1.0
_ROWS = 30
_EARLY = 3  # the power of a share of a run: its mean is a quarter
# A worker that is cut off from the database believes in its hold for three seconds more: whoever takes over must not
# believe in an absence before that time is over.
_UNDEAD_SETTLE_SECONDS = 6.0
_LONGEST_SLEEP_SECONDS = 5.0
_LIFE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Hunted:
    """One scenario: how often a living worker was struck, over how many batches, and what the checker found."""

    where: str
    struck: int
    batches: int
    violations: list[str]


def run(budget: Budget, seed: int) -> list[Line]:
    """Both: kills, then the undead."""
    kills, sleeps, batches, per_batch = _SHORT if budget.is_short else _FULL
    with Ground() as ground:
        began = time.monotonic()
        killed = until_goal(
            lambda profile, its_seed: hunt(ground, profile, its_seed, batches, per_batch),
            _struck,
            kills,
            share(budget, 0.7),
            seed,
        )
        killing = time.monotonic() - began
        woken = until_goal(
            lambda profile, its_seed: undead(ground, profile, its_seed), _struck, sleeps, share(budget, 0.3), seed
        )
        waking = time.monotonic() - began - killing
    return [
        _line("SIGKILLs of workers", kills, killed, seed, killing),
        _line("workers that slept past their lease", sleeps, woken, seed, waking),
    ]


def _struck(hunted: Hunted) -> int:
    return hunted.struck


def _line(name: str, goal: int, found: list[Hunted], seed: int, seconds: float) -> Line:
    done = sum(map(_struck, found))
    violations = [text for one in found for text in labelled(one.where, one.violations)]
    detail = f"{sum(one.batches for one in found)} batches of {_ROWS} rows, {done / seconds:.1f}/s"
    return Line(name, goal, done, violations, seed, seconds, detail)


# -- kills ------------------------------------------------------------------------------------------------------------


def hunt(ground: Ground, profile: str, seed: int, batches: int, kills: int, rows: int = _ROWS) -> Hunted:
    """Batches of one kind of service; the workers of each are killed up to ``kills`` times."""
    rng = random.Random(seed)
    with ground.scenario(profile, seed, payments=_SERVICES, notifications=_SERVICES) as place:
        typical = _undisturbed_seconds(place.batch(rows, **plan_of(place, _SETTLE_SECONDS)))
        killed, found = 0, list[str]()
        for _ in range(batches):
            batch = place.batch(rows, **plan_of(place, _SETTLE_SECONDS))
            count, lasted = _kill_again_and_again(batch, _instants(rng, typical, kills))
            killed, typical = killed + count, lasted or typical
            found += finished(batch)
        found += map(str, place.violations())
    return Hunted(
        f"hunt {profile}, seed {seed}, {batches} batches of {rows}, {kills} kills", killed, batches + 1, found
    )


def _undisturbed_seconds(batch: EvidenceBatch) -> float:
    began = time.monotonic()
    batch.finish()
    return time.monotonic() - began


def _instants(rng: random.Random, typical: float, kills: int) -> list[float]:
    """Seconds that each life lasts: half of them anywhere in a run, half of them close around one place of it.

    Short ones are more likely: many lives, each of which recovers from the one before, are worth more than long ones.
    """
    centre = typical * rng.random() ** _EARLY
    close = [abs(rng.gauss(centre, 0.015)) for _ in range(kills // 2)]
    anywhere = [typical * rng.random() ** _EARLY for _ in range(kills - len(close))]
    instants = close + anywhere
    rng.shuffle(instants)
    return instants


def _kill_again_and_again(batch: EvidenceBatch, instants: list[float]) -> tuple[int, float | None]:
    """Begin a life for each instant and kill it then, unless the batch finishes before.

    How many were killed, and the seconds of the first life if that was enough: the machine is faster than was thought.
    """
    killed = 0
    for seconds in instants:
        began = time.monotonic()
        life = batch.begin()
        if life.wait(seconds) == FINISHED:
            return killed, None if killed else time.monotonic() - began
        life.signal(signal.SIGKILL)
        killed += life.wait() == -signal.SIGKILL
    return killed, None


# -- the undead -------------------------------------------------------------------------------------------------------


def undead(ground: Ground, profile: str, seed: int) -> Hunted:
    """One worker stopped, cut off, replaced, and woken up beside its successor."""
    rng = random.Random(seed)
    with ground.scenario(profile, seed, payments=_SERVICES, notifications=_SERVICES) as place:
        where = make_url(place.database_url)
        with Proxy(lambda: (str(where.host), int(where.port or 0)), raw_relay(Harm)) as proxy:
            by_proxy = where.set(port=proxy.port).render_as_string(hide_password=False)
            batch = place.batch(_ROWS, database_url=by_proxy, **plan_of(place, _UNDEAD_SETTLE_SECONDS))
            sleeper = batch.begin()
            _wait_for_effects(place, sleeper, rng.randrange(2 * _ROWS))
            sleeper.signal(signal.SIGSTOP)
            proxy.cut_all()
            successor = batch.begin()
            ended = successor.wait(rng.uniform(0.0, _LONGEST_SLEEP_SECONDS))
            sleeper.signal(signal.SIGCONT)
            woken = int(sleeper.status is None and ended is None)
            found = [] if sleeper.wait(_LIFE_SECONDS) is not None else ["the one that slept never ended"]
            found += [] if successor.wait(_LIFE_SECONDS) is not None else ["the successor never ended"]
            found += finished(batch)
        found += map(str, place.violations())
    return Hunted(f"undead {profile}, seed {seed}", woken, 1, found)


def _wait_for_effects(place: Scenario, life: Life, count: int) -> None:
    """Until so many payments and mails are settled, or the life has ended."""
    settled = "(select count(*) from {0} where state in ('done', 'rejected', 'review'))"
    query = f"select {settled.format('payments')} + {settled.format('notifications')}"
    while life.wait(0.01) is None and place.execute(query)[0][0] < count:
        pass


# -- both -------------------------------------------------------------------------------------------------------------


def plan_of(place: Scenario, settle_seconds: float) -> dict[str, Any]:
    """What the engine is told of the services of a scenario, in a hurry: the fields of a life's plan."""
    stated = {**place.profile.engine_profile(), "settle_seconds": settle_seconds}
    return {
        "payments_profile": stated,
        "notifications_profile": {**stated, "rate_per_second": None},
        "prepare": HURRY,
    }


def finished(batch: EvidenceBatch) -> list[str]:
    """Live undisturbed to the end; what is wrong then."""
    try:
        batch.finish(life_seconds=_LIFE_SECONDS)
    except NotFinished as stuck:
        return [f"stuck: {stuck}"]
    return [str(violation) for violation in batch.violations()]
