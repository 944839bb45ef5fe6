"""A service that is out of order is noticed by all processes together, probed by one, and no row pays for it (R-36)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest

from domain.errors import BatchPaused
from domain.outcomes import Outcome, OutcomeClass
from resources.database import limits as shared
from resources.database.connection import Actor
from resources.database.database import Database
from resources.services import breaker as breaker_module
from resources.services.breaker import Breaker
from tests.integration.batches import Installation, limits, services, work_through

WORKS = Outcome(OutcomeClass.DONE, http_status=201)
DECLINED = Outcome(OutcomeClass.REFUSED, "PAY-DECLINED", 402)
BROKEN = Outcome(OutcomeClass.AMBIGUOUS, "PAY-OUTCOME-UNKNOWN", 500, systemic=True)
FORBIDDEN = Outcome(OutcomeClass.NOT_DONE, "PAY-ACCESS-DENIED", 403, systemic=True)

Probe = Callable[[], Awaitable[Outcome]]


class Probing:
    """A service that is asked whether it works."""

    def __init__(self, outcome: Outcome, seconds: float = 0.0) -> None:
        self.asked = 0
        self._outcome = outcome
        self._seconds = seconds

    async def __call__(self) -> Outcome:
        self.asked += 1
        await asyncio.sleep(self._seconds)
        return self._outcome


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question goes to the database."""
    monkeypatch.setattr(breaker_module, "_VIEW_SECONDS", -1.0)


def breakers(installation: Installation, number: int, cooldown_seconds: float = 30.0) -> list[Breaker]:
    """As of so many processes."""
    return [Breaker(installation.database, "payments", cooldown_seconds) for _ in range(number)]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def nobody() -> Outcome:
    raise AssertionError("no probe is due")


async def allowed(of: list[Breaker], probe: Probe = nobody) -> list[bool]:
    return [await one.allows(probe) for one in of]


def test_failures_of_all_processes_count_together(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five each, of which none alone would say anything."""
    at_once(monkeypatch)

    async def main() -> None:
        several = breakers(installation, 4)
        for one in several:
            for _ in range(5):
                await one.observe(BROKEN)
        before_any_told = [one.opened for one in several]
        first, *_, last = await allowed(several)
        again = await allowed(several)

        assert before_any_told == [None] * 4
        assert (first, last) == (True, False), "the twentieth failure opens it"
        assert again == [False] * 4

    run(main())


@pytest.mark.parametrize(
    ("outcomes", "works"),
    [
        ([BROKEN, WORKS] * 10, False),
        ([BROKEN, WORKS, WORKS] * 20, True),
        ([BROKEN] * 9 + [WORKS] + [BROKEN] * 9, True),
        ([BROKEN] * 12, False),
        ([DECLINED] * 40, True),
        ([WORKS, FORBIDDEN], False),
    ],
    ids=["half of twenty", "a third", "too few", "twelve in a row", "declined cards", "one 403"],
)
def test_what_opens_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], works: bool
) -> None:
    at_once(monkeypatch)

    async def main() -> None:
        [one] = breakers(installation, 1)
        for outcome in outcomes:
            await one.observe(outcome)

        assert await one.allows(nobody) == works

    run(main())


def test_of_all_who_ask_one_probes_and_all_go_on(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    probe = Probing(WORKS, seconds=0.4)

    async def main() -> None:
        several = breakers(installation, 5, cooldown_seconds=0.1)
        await several[0].observe(FORBIDDEN)
        await asyncio.sleep(0.15)

        assert await asyncio.gather(*(one.allows(probe) for one in several)) == [True] * 5

    run(main())
    assert probe.asked == 1


def test_a_probe_that_fails_keeps_everybody_waiting_for_longer(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    probe = Probing(BROKEN, seconds=0.3)

    async def main() -> None:
        several = breakers(installation, 3, cooldown_seconds=5.0)
        await several[0].observe(FORBIDDEN)
        installation.execute("update breakers set probe_at = clock_timestamp()")
        answers = await asyncio.gather(*(one.allows(probe) for one in several))

        assert answers == [False] * 3
        assert all(one.opened is not None and one.opened.seconds_to_probe > 8.0 for one in several)

    run(main())
    assert probe.asked == 1


def test_a_prober_that_dies_leaves_the_probe_to_the_next(installation: Installation) -> None:
    with installation.database.begin() as tx:
        shared.open_breaker(tx, "payments", "PAY-ACCESS-DENIED", 0.0, probe_failed=False)
        taken = [shared.take_probe(tx, "payments", seconds) for seconds in (0.1, 0.1)]
    time.sleep(0.15)
    with installation.database.begin() as tx:
        taken.append(shared.take_probe(tx, "payments", 0.1))

    assert taken == [True, False, True]


def test_a_clock_that_was_set_back_keeps_no_service_waiting(installation: Installation) -> None:
    """3.26: what was written by a clock that ran a day ahead would stop every payment for that day."""
    with installation.database.begin() as tx:
        shared.open_breaker(tx, "payments", "PAY-ACCESS-DENIED", 5.0, probe_failed=False)
        shared.take_probe(tx, "payments", 30.0)
    installation.execute("""update breakers set opened_at = opened_at + interval '1 day',
                                probe_at = probe_at + interval '1 day', probing_until = probe_at + interval '1 day'""")

    with installation.database.begin() as tx:
        seen = shared.breaker(tx, "payments")
        taken = [shared.take_probe(tx, "payments", seconds) for seconds in (0.1, 0.1)]
    time.sleep(0.15)
    with installation.database.begin() as tx:
        taken.append(shared.take_probe(tx, "payments", 0.1))

    assert (seen.open, seen.seconds_to_probe, seen.probing) == (True, 0.0, False)
    assert taken == [True, False, True]


def test_what_was_counted_before_a_recovery_is_forgotten(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the first failure after it would open it again."""
    at_once(monkeypatch)

    async def main() -> None:
        [one] = breakers(installation, 1, cooldown_seconds=0.0)
        for _ in range(40):
            await one.observe(BROKEN)
        assert await one.allows(Probing(WORKS))
        await one.observe(BROKEN)

        assert await one.allows(nobody)

    run(main())


def test_only_the_last_minute_counts(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once(monkeypatch)
    installation.execute(
        "insert into breaker_windows values ('payments', floor(extract(epoch from now()) / 6) - 12, 100, 100)"
    )

    async def main() -> None:
        [one] = breakers(installation, 1)
        await one.observe(BROKEN)

        assert await one.allows(nobody)

    run(main())
    assert installation.execute("select calls, failures from breaker_windows") == [(1, 1)], "and what is old is gone"


def test_what_a_call_has_told_is_not_lost_with_the_database() -> None:
    """Its outcome is settled after this; nothing may be raised in between."""

    async def main() -> None:
        one = Breaker(Database("postgresql://u:p@127.0.0.1:9/d", Actor("test"), 0.1), "payments", 30.0)
        await one.observe(FORBIDDEN)

        assert one.opened is not None

    run(main())


def test_two_batches_at_one_broken_service_make_one_probe_and_both_go_on(
    installation: Installation, sandbox_services: Any
) -> None:
    """The service answers nothing but errors, then works again; no row has failed for it."""
    sandbox = sandbox_services(payments=["--set", "unique_orders=false"], notifications=["--notification-rate", "0"])
    batches = [installation.ordered(15), installation.ordered(15)]
    sandbox.payments.stop()
    both_pause = worked(installation, batches, sandbox)
    states = [state for batch in batches for state, _ in installation.states("payments", batch).values()]
    installation.execute("update breakers set probe_at = clock_timestamp()")
    sandbox.payments.start(ends_with_us=True)
    none_pauses = worked(installation, batches, sandbox)

    assert (both_pause, none_pauses) == (sorted(batches), [])
    assert set(states) <= {"planned", "retry_wait"}
    with closing(sqlite3.connect(sandbox.payments.ledger)) as ledger:
        assert ledger.execute("SELECT count(*) FROM requests WHERE order_id IS NULL").fetchall() == [(1,)]
    paid = [state for batch in batches for state in installation.states("payments", batch).values()]
    assert paid == [("done", None)] * 30


def worked(installation: Installation, batches: list[str], sandbox: Any) -> list[str]:
    """Both at the same time; those that paused."""
    paused: list[str] = []

    def work(batch: str) -> None:
        try:
            of = services(sandbox.payments.url, sandbox.notifications.url)
            work_through(installation, batch, of, limits(cooldown_seconds=0.3))
        except BatchPaused:
            paused.append(batch)

    threads = [threading.Thread(target=work, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(paused)
