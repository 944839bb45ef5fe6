"""The limit of a service holds over all processes: measured where it counts, at the service (R-23)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from domain.errors import DatabaseUnavailable
from resources.database import limits as shared
from resources.database.connection import Actor
from resources.database.database import Database
from resources.services.rate_limit import RateLimit
from sandbox.arrivals import most_in_one_second
from tests.integration.batches import Installation, limits, services, working

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 4.0

# One of several processes that call the service as often as they are let.
CALLER = """
import asyncio, sys, time
import httpx
from resources.database.connection import Actor
from resources.database.database import Database
from resources.services.rate_limit import RateLimit

url, service, seconds, first_order = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])

async def call(http, rate, order, end):
    await rate.wait()
    if time.monotonic() < end:
        await http.post("/api/v1/notifications/email",
                        json={"order_id": order, "to": "a@example.jp", "subject": "s", "body": "b"})

async def main():
    rate = RateLimit(Database(url, Actor("test")), "mails", 10.0)
    async with httpx.AsyncClient(base_url=service, trust_env=False) as http:
        await http.get("/health")
        print("ready", flush=True)
        sys.stdin.readline()
        end = time.monotonic() + seconds
        await asyncio.gather(*(call(http, rate, first_order + i, end) for i in range(int(seconds * 8))))
    rate.close()

asyncio.run(main())
"""


def test_processes_that_share_a_limit_never_exceed_it_in_any_second(
    installation: Installation, notifications: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = notifications.new_order() + 10_000
    command = [sys.executable, "-c", CALLER, installation.url, str(notifications.http.base_url), str(SECONDS)]
    pipe = subprocess.PIPE
    callers = [
        subprocess.Popen([*command, str(first + 1_000 * i)], cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        for i in range(2)
    ]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
        caller.stdin.flush()
    assert [caller.communicate(timeout=60) and caller.returncode for caller in callers] == [0, 0]

    query = "SELECT arrived_us FROM requests WHERE order_id BETWEEN ? AND ? ORDER BY 1"
    arrivals = [at for (at,) in notifications.rows(query, first, first + 2_000)]
    with capsys.disabled():
        print(f"\n  {(len(arrivals) - 1) / ((arrivals[-1] - arrivals[0]) / 1e6):.1f} calls per second")  # noqa: T201
    assert most_in_one_second(arrivals) <= 10
    assert len(arrivals) > 20


def test_the_mails_of_two_batches_at_once_keep_the_limit_together(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    """Through the whole engine, each batch in a thread of its own."""
    batches = [installation.ordered(14), installation.ordered(14)]
    ids = [i for batch in batches for i in installation.order_ids(batch)]
    faults: list[BaseException] = []

    def work(batch: str) -> None:
        of = services(
            str(payments.http.base_url), str(notifications.http.base_url), notifications={"rate_per_second": 10.0}
        )
        try:
            with working(installation, batch, of, limits()) as worked:
                list(worked.reports())
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    query = "SELECT arrived_us FROM requests WHERE order_id BETWEEN ? AND ? ORDER BY 1"
    arrivals = [at for (at,) in notifications.rows(query, min(ids), max(ids))]
    assert faults == []
    assert len(arrivals) == 28
    assert most_in_one_second(arrivals) <= 10


def limited(database: Database, rate_per_second: float | None) -> RateLimit:
    return RateLimit(database, "mails", rate_per_second)


def test_a_frozen_service_is_left_alone_by_everybody(installation: Installation) -> None:
    """429: also by another process, and also where no limit is known."""

    async def waited(rate_per_second: float | None) -> float:
        freezing, other = (limited(installation.database, rate_per_second) for _ in range(2))
        await freezing.freeze(0.6)
        begun = time.monotonic()
        await other.wait()
        freezing.close()
        other.close()
        return time.monotonic() - begun

    assert asyncio.run(waited(10.0)) > 0.5
    installation.execute("delete from rate_permits")
    assert asyncio.run(waited(None)) > 0.5


def test_a_freeze_is_never_shortened_by_a_later_one(installation: Installation) -> None:
    async def freeze() -> None:
        rate = limited(installation.database, 10.0)
        await rate.freeze(50.0)
        await rate.freeze(0.1)
        rate.close()

    asyncio.run(freeze())
    [(left,)] = installation.execute("select extract(epoch from max(next_at) - clock_timestamp()) from rate_permits")
    assert left > 45


def test_a_clock_that_was_set_back_freezes_no_service_for_longer_than_any_asks(installation: Installation) -> None:
    """3.26."""
    with installation.database.begin() as tx:
        shared.freeze(tx, "payments", 60.0)
    installation.execute("update rate_permits set next_at = next_at + interval '1 day'")

    with installation.database.begin() as tx:
        assert shared.seconds_frozen(tx, "payments") == 150.0


def test_without_the_database_nothing_leaves(installation: Installation) -> None:
    """The limit fails closed."""

    async def wait() -> None:
        unreachable = Database("postgresql://u:p@127.0.0.1:9/d", Actor("test"), patience_seconds=0.5)
        rate = limited(unreachable, 10.0)
        try:
            await rate.wait()
        finally:
            rate.close()

    with pytest.raises(DatabaseUnavailable):
        asyncio.run(wait())


def test_a_waiter_that_is_cancelled_keeps_nobody_waiting(installation: Installation) -> None:
    async def main() -> None:
        rate = limited(installation.database, 10.0)
        waiting = [asyncio.create_task(rate.wait()) for _ in range(5)]
        await asyncio.sleep(0.15)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(5):
            await rate.wait()
        rate.close()

    asyncio.run(main())
