"""Workers that are killed, and workers that come back from the dead. The long form is `python -m evidence`."""

from __future__ import annotations

import random
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import make_url

from evidence.kills import finished, hunt, plan_of
from evidence.life import FINISHED
from evidence.pace import HURRY, SLEEP
from evidence.profiles import PROFILES
from evidence.proxy.listener import Proxy
from evidence.proxy.raw import Harm, raw_relay
from evidence.scenario import Ground
from resources.local import children

# Where a call's intent is committed, where it has left, where it has had its effect, and where that is written down.
_COMMITS = r"commit\|(select o\.order_id|copy effect_attempts|insert into notifications|update orders)[^|]*\|after\|1"
_CALLS = r"http\|POST[^|]*\|(sent|answered)\|1"
_BORDERS = re.compile(rf"effects\|({_COMMITS}|{_CALLS})")
_UNFORGIVING = "look_up_only"


def test_killed_at_every_border_of_a_call_nothing_is_lost_and_nothing_doubled(ground: Ground, tmp_path: Path) -> None:
    """A batch for each border, killed exactly there; all borders of everything are in `python -m evidence`."""
    trace = tmp_path / "trace"
    with ground.scenario(_UNFORGIVING) as place, ThreadPoolExecutor(4) as pool:

        def killed_at(point: str) -> tuple[int | None, list[str]]:
            batch = place.batch(2, 0, **plan_of(place, 0.5))
            life = batch.begin(kill={point})
            life.wait(60)
            return life.status, finished(batch)

        assert place.batch(2, 0).begin(trace=trace).wait(60) == FINISHED
        points = sorted({line for line in trace.read_text().splitlines() if _BORDERS.fullmatch(line)})
        ends = dict(zip(points, pool.map(killed_at, points), strict=True))

        assert ends == {point: (-signal.SIGKILL, []) for point in points}
        assert len(points) >= 7
        assert [str(violation) for violation in place.violations()] == []


def test_killed_at_random_instants_nothing_is_lost_and_nothing_doubled(ground: Ground) -> None:
    seed = random.randrange(1_000_000)

    with ThreadPoolExecutor(len(PROFILES)) as pool:
        hunted = list(pool.map(lambda profile: hunt(ground, profile, seed, batches=2, kills=6, rows=6), PROFILES))

    assert {one.where: one.violations for one in hunted} == {one.where: [] for one in hunted}
    assert sum(one.struck for one in hunted) >= 2


def test_a_worker_that_wakes_up_after_its_successor_sends_nothing_more(ground: Ground) -> None:
    """Its claims are committed and their calls about to leave; it sleeps, and somebody else does all of the work."""
    with ground.scenario(_UNFORGIVING) as place:
        where = make_url(place.database_url)
        plan = plan_of(place, 4.0)
        del plan["prepare"]
        with Proxy(lambda: (str(where.host), int(where.port or 0)), raw_relay(Harm)) as proxy:
            by_proxy = where.set(port=proxy.port).render_as_string(hide_password=False)
            batch = place.batch(4, 0, database_url=by_proxy, **plan)
            sleeper = batch.begin(prepare=SLEEP)
            assert children.wait_until(lambda: _sleeps(sleeper.pid), 30)
            proxy.cut_all()
            assert batch.begin(prepare=HURRY).wait(60) == FINISHED, batch.reason()
            sleeper.signal(signal.SIGCONT)
            assert sleeper.wait(60) not in (None, FINISHED)

        assert [str(violation) for violation in (*batch.violations(), *place.violations())] == []


def _sleeps(pid: int) -> bool:
    """Whether a process was stopped by a signal."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
