"""Crash points: every border that a batch passes is found, and then a worker kills itself there.

All of them, for all four kinds of service, in the first life of a batch and in those that recover it.

A run without a kill shows the first points. A point is exercised when a forked worker has died of SIGKILL exactly
there, the batch was then brought to its end, and the checker has judged it. Then points are hunted: life after life of
a batch dies at the first it meets of those that are not exercised, or that nobody has seen before, a look-up after a
kill for instance: many are passed once in a thousand lives, when threads take turns in a certain way, and whoever waits
for the next time may wait for ever. After a hunt in vain, a batch goes the way by which one of them was last passed,
with the same kills before; some batches do one thing at a time, and after many hunts in vain they are longer. When all
points are done, kills at random points follow until there are enough; when some are left, hunts among them.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from evidence.boundaries import KILLED, START
from evidence.campaign import Budget, Line
from evidence.ledgers import asked_of
from evidence.life import FINISHED
from evidence.profiles import PROFILES
from evidence.scenario import EvidenceBatch, Ground, NotFinished, Scenario

POINTS_GOAL = 2_000
CRASHES_GOAL = 20_000
_SHORT_POINTS = 10  # per profile
_ROWS = (7, 2)  # and how many of them bad
_MANY_ROWS = (20, 2)  # where a border has not been passed five or six times with few
_ROWS_AT_RANDOM = (5, 1)
_IN_FLIGHT = 4  # per profile; most of their time they wait for settled answers
_MOST_KILLS = {"short": 3, "full": 10}  # of one batch
_MOST_NEW = 40  # of one batch, beyond those: points that nobody has seen before
_HUNTED_AT_ONCE = 5  # by half of the batches; all by the others
_MOST_VAIN_HUNTS = {"short": 10, "full": 100}  # batches in a row; each new point gives hope again
_VAIN_HUNTS_WITH_FEW_ROWS = 10
_HUNTS_WITHOUT_HOPE = 4  # every so many batches: a hunt in vain costs as long as ten kills
_PACES: tuple[dict[str, int], ...] = ({}, {"chunk": 1}, {"concurrency": 1, "chunk": 1})
"""One thing at a time, a life passes more borders: the sixth commit of a result, say."""
_LIFE_SECONDS = 90.0
_KILLED_STATUS = -9
_NOWHERE = "0"


def run(budget: Budget, seed: int) -> list[Line]:
    """The campaign on ground of its own."""
    with Ground() as ground:
        return explore(ground, budget, seed)


def explore(ground: Ground, budget: Budget, seed: int) -> list[Line]:
    """All four profiles side by side."""
    began = time.monotonic()
    crashes_goal = 0 if budget.is_short else CRASHES_GOAL // len(PROFILES)
    with ExitStack() as stack:
        explorations = [
            Exploration(stack.enter_context(ground.scenario(name, seed)), budget, seed, crashes_goal)
            for name in PROFILES
        ]
        for one in explorations:
            one.place.rehearse()
        with ThreadPoolExecutor(_IN_FLIGHT * len(explorations)) as workers:
            running = [workers.submit(one.work) for one in explorations for _ in range(_IN_FLIGHT)]
            for future in running:
                future.result()
        for one in explorations:
            one.judge_ledgers()
    return _lines(explorations, budget, seed, time.monotonic() - began)


def _lines(explorations: Sequence[Exploration], budget: Budget, seed: int, seconds: float) -> list[Line]:
    found = sum(len(one.to_do) for one in explorations)
    exercised = sum(len(one.exercised & one.to_do) for one in explorations)
    crashes = sum(one.crashes for one in explorations)
    violations = [text for one in explorations for text in one.violations]
    by_profile = ", ".join(f"{one.name} {len(one.exercised & one.to_do)}/{len(one.to_do)}" for one in explorations)
    deaths = sum((one.deaths for one in explorations), Counter[int]())
    depth = ", ".join(f"{count:,} with {kills}" for kills, count in sorted(deaths.items()))
    crashes_goal = 0 if budget.is_short else CRASHES_GOAL
    points_goal = max(found, 0 if budget.is_short else POINTS_GOAL)
    missed = [f"{one.name}: {point}" for one in explorations for point in sorted(one.to_do - one.exercised)]
    never = f"; not reached: {'; '.join(missed[:5])}" if missed else ""
    witnessed = "; ".join(f"{one.name} {_said(one.witnessed)}" for one in explorations)
    speed = f"{crashes / max(seconds, 1):.1f} crashes/s; batches by number of kills: {depth}; {witnessed}"
    return [
        Line(
            "crash points, found and killed at", points_goal, exercised, violations, seed, seconds, by_profile + never
        ),
        Line("crashes of forked workers", crashes_goal, crashes, [], seed, seconds, speed),
    ]


def _said(witnessed: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(witnessed.items()))


@dataclass(frozen=True, slots=True)
class _Task:
    """Where lives are killed, one after the other; then the batch is finished.

    Each also dies at points that are not exercised yet, of at most so many (``hunted``).
    """

    kills: tuple[str, ...] = ()
    hunted: int = 0
    rows: tuple[int, int] = _ROWS
    pace: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Exploration:
    """All points of one profile. ``work`` runs in several threads at once."""

    place: Scenario
    budget: Budget
    seed: int
    crashes_goal: int
    to_do: set[str] = field(default_factory=set)
    exercised: set[str] = field(default_factory=set)
    ways: dict[str, _Task] = field(default_factory=dict)  # how each of ``to_do`` was last passed, and would be again
    crashes: int = 0
    deaths: Counter[int] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    witnessed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.name = self.place.profile.name
        self._turn = threading.Condition()
        self._dry_runs = 1
        self._under_way = 0
        self._rng = random.Random(f"{self.seed} {self.name}")
        self._longest = 0
        self._vain_hunts = 0

    def work(self) -> None:
        """Take task after task until there is none."""
        while (task := self._next()) is not None:
            try:
                self._run(task)
            finally:
                with self._turn:
                    self._under_way -= 1
                    self._turn.notify_all()

    def judge_ledgers(self) -> None:
        """At the end, the ledgers as a whole; and what they say of how trivial all this was."""
        self.violations += [f"{self.name}: {found}" for found in self.place.violations()]
        for service in (self.place.payments, self.place.notifications):
            self.witnessed += asked_of(service.ledger)
        for table in ("payments", "notifications"):
            query = f"select count(*) from {table} where state = 'review'"
            self.witnessed["left for a person"] += self.place.execute(query)[0][0]
        if self.crashes and not self.witnessed["done"]:
            self.violations.append(f"{self.name}: I13: no charge and no mail at all")

    # -- what to do next ----------------------------------------------------------------------------------------------

    def _next(self) -> _Task | None:
        with self._turn:
            while True:
                if self.budget.is_over():
                    return None
                task = self._choose()
                if task is not None:
                    self._under_way += 1
                    return task
                if not self._under_way:
                    return None
                self._turn.wait(1.0)

    def _choose(self) -> _Task | None:
        if self._dry_runs:
            self._dry_runs -= 1
            return _Task()
        if not self._longest:
            return None  # the first of the dry runs is still under way
        open_points = sorted(self.to_do - self.exercised)
        has_hope = self._vain_hunts < _MOST_VAIN_HUNTS[self.budget.size]
        goes_on = self.crashes < self.crashes_goal
        if open_points and (has_hope or (goes_on and self._vain_hunts % _HUNTS_WITHOUT_HOPE == 0)):
            return self._hunt(open_points)
        if goes_on:
            return _Task(tuple(self._random_kills()), len(self.to_do), rows=_ROWS_AT_RANDOM)
        return None

    def _hunt(self, open_points: Sequence[str]) -> _Task:
        most_kills = _MOST_KILLS[self.budget.size]
        rows = _ROWS if self._vain_hunts < _VAIN_HUNTS_WITH_FEW_ROWS else _MANY_ROWS
        if self._vain_hunts % 2:
            way = self.ways[self._rng.choice(open_points)]
            return replace(way, kills=(*way.kills, *[_NOWHERE] * (most_kills - len(way.kills))), rows=rows)
        # Some points are met in the first life alone, some after a kill anywhere; and a campaign that is cut short has
        # been everywhere: who hunts all of them dies at the first.
        first = self._rng.choice((_NOWHERE, str(self._rng.randint(1, self._longest))))
        hunted = self._rng.choice((_HUNTED_AT_ONCE, len(self.to_do)))
        pace = {} if self.budget.is_short else self._rng.choice(_PACES)
        return _Task((first, *[_NOWHERE] * (most_kills - 1)), hunted, rows, pace)

    def _random_kills(self) -> Iterator[str]:
        """Numbers of points: the first life is the longest, a later one has less before it."""
        for life in range(self._rng.randint(2, _MOST_KILLS[self.budget.size])):
            yield str(self._rng.randint(1, self._longest // (2 if life else 1)))

    def _learn(self, task: _Task, killed: Sequence[str], passed: Sequence[str]) -> None:
        with self._turn:
            is_first, self._longest = not self._longest, self._longest or len(passed)
            if self.budget.is_short:
                # A sample of what the first life passes, drawn anew with every seed.
                passed = self._rng.sample(passed, min(_SHORT_POINTS, len(passed))) if is_first else []
            new = {point for point in passed if not point.startswith(f"{START}|")} - self.to_do
            self.to_do |= new
            self._vain_hunts = 0 if new else self._vain_hunts
            for point in self.to_do.difference(self.exercised).intersection(passed):
                self.ways[point] = replace(task, kills=(*killed, point), hunted=len(self.to_do))
            self._turn.notify_all()

    # -- one batch ----------------------------------------------------------------------------------------------------

    def _run(self, task: _Task) -> None:
        batch = self.place.batch(*task.rows, **task.pace)
        killed: list[str] = []
        try:
            for kill in task.kills:
                point = self._life(batch, task, {kill, *self._hunted(task, killed)}, killed)
                if point is None:
                    break
                killed.append(point)
            else:
                self._live_on(batch, task, killed)
            batch.finish(life_seconds=_LIFE_SECONDS)
            found = [f"{self.name}, kills at {killed}: {violation}" for violation in batch.violations()]
        except NotFinished as stuck:
            found = [f"{self.name}, kills at {killed}: stuck: {stuck}"]
        batch.remove()
        with self._turn:
            self.violations += found
            self._vain_hunts = 0 if set(killed) & self.to_do - self.exercised else self._vain_hunts + 1
            self.exercised |= set(killed)
            self.deaths[len(killed)] += 1

    def _live_on(self, batch: EvidenceBatch, task: _Task, killed: list[str]) -> None:
        """Nothing is hunted any more; but what is new is exercised at once."""
        for _ in range(_MOST_NEW):
            point = self._life(batch, task, set(), killed)
            if point is None:
                return
            killed.append(point)

    def _hunted(self, task: _Task, killed: Sequence[str]) -> list[str]:
        with self._turn:
            open_points = sorted(self.to_do - self.exercised - set(killed))
            return self._rng.sample(open_points, min(task.hunted, len(open_points)))

    def _life(self, batch: EvidenceBatch, task: _Task, kill: AbstractSet[str], before: Sequence[str]) -> str | None:
        """One life; the point it died at, or None when it ended by itself.

        Raises:
            NotFinished: it does neither.
        """
        trace = batch.folder / f"trace-{batch.lives}"
        life = batch.begin(kill=kill, trace=trace, known=self._known())
        status = life.wait(_LIFE_SECONDS)
        if status is None:
            life.signal()
            raise NotFinished(f"a life of more than {_LIFE_SECONDS:g} s")
        passed, died_at = _read(trace)
        self._learn(task, before, passed)
        if status == _KILLED_STATUS and died_at:
            with self._turn:
                self.crashes += 1
            return died_at
        if status not in (FINISHED, _KILLED_STATUS):
            with self._turn:
                self.violations.append(f"{self.name}, kills at {list(before)}: a life ended with {batch.reason()}")
        return None

    def _known(self) -> set[str] | None:
        """None: what is new is only noted."""
        with self._turn:
            return None if self.budget.is_short or not self._longest else set(self.to_do)


def _read(trace: Path) -> tuple[list[str], str | None]:
    """The points that a life passed, and the one it died at."""
    passed: list[str] = []
    died_at = None
    for line in trace.read_text(encoding="utf-8").splitlines():
        point, tab, _ = line.partition(KILLED)
        passed.append(point)
        died_at = point if tab else died_at
    return passed, died_at
