"""Payments and mails, against what the services' latency and limits alone make necessary.

    python -m benchmarks.effects [CASE ...] [--orders N] [--mail-rate R] [--scale S]

The bound is computed in the same run: max(N x latency / concurrency, N / rate) over both services. Cases:

scaled   10,000 orders: payments of 10 s, 100 at once; mails 10/s. Time is scaled 1:2 (5 s, 20/s): bound 500 s. Scaled
         further, what is set in milliseconds weighs more: how far calls leave apart, and how late they may be.
real     2,000 orders in real time: payments of 0.5 s, 10 at once; 20 mails/s (--mail-rate 10 for the contract's own).
bulk     10,000 orders through batch endpoints of 100, no rate limit: the ceiling, against the same calls made bare.
cost     2,000 orders in single calls that are answered at once: CPU of this process for the calls, and beside them.
         Made bare, the same calls have the machine for themselves, and take a third less each than beside a database at
         work: so what is inside the calls is counted in our run, and only what the loop adds to it is taken from bare.

Postgres and both services run beside us on the same machine; the services write their ledgers. Read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from assets.created_orders.work import create_orders
from assets.effects.lane import LaneLimits
from assets.effects.stream import LaneEnded
from assets.effects.work import EffectLimits, Services, effect_work
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from benchmarks.bench_database import bench_database
from benchmarks.bench_folder import bench_folder
from domain.identity import DEFAULT_CLIENT
from domain.outcomes import Outcome
from domain.profiles import ServiceProfile
from domain.states import EffectKind
from orchestration.admission import admit
from orchestration.sample import make_sample, write_csv
from resources.batch_files import BatchFiles
from resources.database.database import Database
from resources.encryption import Vault
from resources.local.sandbox_service import SandboxService
from resources.services.batch_calls import BatchItem
from resources.services.notifications import NotificationService, mail_body
from resources.services.payments import PaymentService, payment_body
from resources.services.service import EffectService

_TIMEOUT_SECONDS = 30.0
_CHUNK = 100
_seeds = count(1)


@dataclass(frozen=True)
class Case:
    """One setting of both services and of ours."""

    orders: int
    latency: float = 0.0
    payments_at_once: int = 100
    mails_at_once: int = 20
    mail_rate: float | None = None
    batch_size: int = 0

    @property
    def bound(self) -> float:
        """Seconds that no engine can do without."""
        calls = self.orders / max(1, self.batch_size)
        return max(calls * self.latency / self.payments_at_once, calls / self.mail_rate if self.mail_rate else 0.0)


@dataclass
class Measured:
    """What one run took: seconds from the first call to the last result, and of CPU in this process."""

    seconds: float
    cpu: float
    ended: dict[EffectKind, LaneEnded] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Where everything happens."""

    database: Database
    vault: Vault
    files: BatchFiles
    folder: Path

    def ordered(self, rows: int) -> str:
        """A batch with its orders."""
        path = self.folder / f"{(seed := next(_seeds))}.csv"
        write_csv(make_sample(rows, seed=seed), path, "utf-8")
        batch_id = admit(self.database, self.files, path, DEFAULT_CLIENT, keep_original=True).batch.batch_id
        validate_batch(self.database, self.vault, self.files, batch_id, ReadingLimits(max_rows=rows))
        create_orders(self.database, batch_id)
        return batch_id


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of the cases asked for."""
    parser = argparse.ArgumentParser(description="Payments and mails against their bound.")
    parser.add_argument("cases", nargs="*", choices=[[], *_CASES], metavar="CASE", help=", ".join(_CASES))
    parser.add_argument("--orders", type=int, help="instead of each case's own number")
    parser.add_argument("--mail-rate", type=float, default=20.0, help="mails per second in `real` (default: 20)")
    parser.add_argument("--scale", type=float, default=2.0, help="times faster in `scaled` (default: 2)")
    options = parser.parse_args(arguments)
    with bench_folder() as folder, bench_database(folder) as (database, vault, files):
        bench = Bench(database, vault, files, folder)
        for name in options.cases or _CASES:
            _CASES[name](bench, options)
            sys.stdout.flush()


def _scaled(bench: Bench, options: argparse.Namespace) -> None:
    latency, rate = 10.0 / options.scale, 10.0 * options.scale
    case = Case(options.orders or 10_000, latency, payments_at_once=100, mails_at_once=40, mail_rate=rate)
    title = f"scaled 1:{options.scale:g} (payments of {latency:g} s, 100 at once, {rate:g} mails/s)"
    _against_bound(bench, title, case)


def _real(bench: Bench, options: argparse.Namespace) -> None:
    rate: float = options.mail_rate
    case = Case(options.orders or 2_000, latency=0.5, payments_at_once=10, mail_rate=rate)
    _against_bound(bench, f"real time (payments of 0.5 s, 10 at once, {rate:g} mails/s)", case)


def _against_bound(bench: Bench, title: str, case: Case) -> None:
    with _services(bench.folder, case) as services:
        ours = _ours(bench, case, services)
    print(f"{title}: {case.orders:,} orders")
    print(f"  bound                         {case.bound:9.2f} s")
    for kind, ended in ours.ended.items():
        print(f"  {kind.value:<30}{ended.seconds:9.2f} s")
    print(f"  ours / bound                  {ours.seconds / case.bound:9.3f}   (goal: 1.05 or less)")
    print(f"  CPU of this process           {ours.cpu:9.2f} s")


def _bulk(bench: Bench, options: argparse.Namespace) -> None:
    case = Case(options.orders or 10_000, payments_at_once=8, mails_at_once=8, batch_size=100)
    with _services(bench.folder, case) as services:
        bare = asyncio.run(_bare(case, services))
        ours = _ours(bench, case, services)
    print(f"bulk endpoints of {case.batch_size}, no rate limit, answered at once: {case.orders:,} orders")
    print(f"  bare calls                    {case.orders / bare.seconds:9,.0f} orders/s, paid and mailed")
    print(f"  ours                          {case.orders / ours.seconds:9,.0f} orders/s, paid and mailed")
    print(f"  CPU of this process           {1000 * ours.cpu / case.orders:9.3f} ms per order")
    print(f"  waiting for others            {1 - ours.cpu / ours.seconds:9.0%}   of the time (database, services)")


def _cost(bench: Bench, options: argparse.Namespace) -> None:
    case = Case(options.orders or 2_000, payments_at_once=50, mails_at_once=50)
    with _services(bench.folder, case) as services:
        inside = _Inside(services)
        bare = asyncio.run(_bare(case, services))
        inside_bare, inside.cpu = inside.cpu, 0.0
        ours = _ours(bench, case, services)
    calls = 2 * case.orders
    calling = inside.cpu * bare.cpu / inside_bare
    print(f"single calls, no rate limit, answered at once: {case.orders:,} orders, {calls:,} calls")
    print(f"  bare calls                    {calls / bare.seconds:9,.0f} calls/s {1000 * bare.cpu / calls:7.3f} ms CPU")
    print(f"  ours                          {calls / ours.seconds:9,.0f} calls/s {1000 * ours.cpu / calls:7.3f} ms CPU")
    print(f"    for the calls               {1000 * calling / calls:25.3f} ms CPU")
    print(f"  keeping state / calling       {ours.cpu / calling - 1:9.2f}   (goal: 1 or less, CPU of this process)")


Send = Callable[..., Coroutine[Any, Any, Outcome]]


class _Inside:
    """CPU seconds inside the calls of services, step by step of their coroutines; what the loop does is not in it."""

    def __init__(self, services: Services) -> None:
        self.cpu = 0.0
        for service in (services.payments, services.notifications):
            service.send = self._counted(service.send)  # type: ignore[method-assign]

    def _counted(self, send: Send) -> Send:
        async def call(*arguments: object) -> Outcome:
            return await self._steps(send(*arguments))

        return call

    @types.coroutine
    def _steps(self, call: Coroutine[Any, Any, Outcome]) -> Generator[Any, Any, Outcome]:
        answer = None
        while True:
            begun = time.thread_time()
            try:
                waits_for = call.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                self.cpu += time.thread_time() - begun
            answer = yield waits_for


_CASES: dict[str, Callable[[Bench, argparse.Namespace], None]] = {
    "scaled": _scaled,
    "real": _real,
    "bulk": _bulk,
    "cost": _cost,
}


@contextmanager
def _services(folder: Path, case: Case) -> Iterator[Services]:
    """Both services as processes of their own, and how we call them."""
    behaviour = ["--profile", "batch", "--set", "unique_orders=false"]
    payments = SandboxService(folder / "s", "payments", options=[*behaviour, "--latency", str(case.latency)])
    mails = SandboxService(folder / "s", "notifications", options=[*behaviour, "--notification-rate", "0"])
    for service in (payments, mails):
        service.start(ends_with_us=True)
    pay = ServiceProfile(batch_size=case.batch_size)
    notify = ServiceProfile(batch_size=case.batch_size, rate_per_second=case.mail_rate)
    try:
        yield Services(
            PaymentService(payments.url, pay, _TIMEOUT_SECONDS),
            NotificationService(mails.url, notify, _TIMEOUT_SECONDS),
        )
    finally:
        for service in (payments, mails):
            service.stop()


def _ours(bench: Bench, case: Case, services: Services) -> Measured:
    batch_id = bench.ordered(case.orders)
    limits = EffectLimits(
        payments=LaneLimits(case.payments_at_once, _CHUNK),
        notifications=LaneLimits(case.mails_at_once, _CHUNK),
        cooldown_seconds=30.0,
    )
    with effect_work(bench.database, bench.vault, services, limits, batch_id) as work:
        started, cpu = time.perf_counter(), time.process_time()
        ended = {report.kind: report for report in work.reports() if isinstance(report, LaneEnded)}
        measured = Measured(time.perf_counter() - started, time.process_time() - cpu, ended)
        assert work.books().everything_succeeded
    return measured


async def _bare(case: Case, services: Services) -> Measured:
    """The same calls with nothing around them: no books, no limit, no doubt."""
    first = 1_000_000_000
    bodies = {n: payment_body(n, 1_000) for n in range(first, first + case.orders)}
    text = "x" * 300
    mails = {n: mail_body(order_id=n, to="a@example.jp", subject="s", text=text) for n in bodies}
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(
        _all(services.payments, bodies, case.payments_at_once, case.batch_size),
        _all(services.notifications, mails, case.mails_at_once, case.batch_size),
    )
    measured = Measured(time.perf_counter() - started, time.process_time() - cpu)
    await services.payments.aclose()
    await services.notifications.aclose()
    return measured


async def _all(service: EffectService, bodies: dict[int, bytes], at_once: int, batch_size: int) -> None:
    items = [BatchItem(n, 1_000, body, f"bare-{service.word}-{n}") for n, body in bodies.items()]
    groups = iter([items[i : i + max(1, batch_size)] for i in range(0, len(items), max(1, batch_size))])

    async def caller() -> None:
        for group in groups:
            await _one(service, group, batch_size)

    await asyncio.gather(*(caller() for _ in range(at_once)))


def _one(service: EffectService, group: Sequence[BatchItem], batch_size: int) -> Awaitable[object]:
    if batch_size:
        return service.send_batch(group)
    [item] = group
    return service.send(item.order_id, item.amount_jpy, item.body, item.key)


if __name__ == "__main__":
    main()
