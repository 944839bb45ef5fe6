"""What the trail costs a batch, and how fast it is verified.

    python -m benchmarks.audit_trail [ROWS]

Cost: a batch from its file to its report, without the services: the same transactions as the engine's, its calls
answered at once. PostgreSQL itself counts the time in the triggers of the trail, and the time in all statements; the
share is of what is left without the trail. Verification: the trails of those batches, and more chains until there are
enough events, walked over by us and, as sets, by the database. Read the share, and events per second of our own CPU:
how long it takes hangs on what else the machine does.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from sqlalchemy import Connection, text

from assets.batch_report.work import close_batch, write_report
from assets.created_orders.work import create_orders
from assets.effects.following import payments_done
from assets.payments.planning import plan_payments
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from benchmarks.bench_database import bench_database
from benchmarks.bench_folder import bench_folder
from domain.identity import DEFAULT_CLIENT
from domain.outcomes import Outcome, OutcomeClass
from domain.states import EffectKind, EffectState
from domain.trail import GENESIS, Event, hash_of, walk
from orchestration.admission import admit
from orchestration.sample import make_sample, write_csv
from resources.batch_files import BatchFiles
from resources.database import effects, trail
from resources.database.connection import Actor
from resources.database.database import BatchHold, Database
from resources.database.effects import Attempt, ClaimedEffect, OrderFacts, Settlement
from resources.encryption import Vault

REPEATS = 3
_CHUNK = 100  # claimed together, as by default
_GROUP = 50  # settled together: what comes in while a commit runs
_EVENTS = 300_000


@dataclass(frozen=True)
class Bench:
    """Where everything happens."""

    database: Database
    vault: Vault
    files: BatchFiles
    folder: Path
    rows: int


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with bench_folder() as folder, bench_database(folder) as (database, vault, files):
        bench = Bench(database, vault, files, folder, rows)
        one_batch(bench, 0)  # warm
        spent = statistics.median(counted(bench, seed) for seed in range(1, REPEATS + 1))
        print(f"{rows:,} rows, medians of {REPEATS}")
        print(f"  the trail's share of a batch's database time {100 * spent:8.1f} %   (goal: 15 or less)")
        print(f"  events of a batch                            {events_per_batch(bench):8,.0f}")
        enough(bench)
        seconds, cpu_seconds, theirs, count = verified(bench)
        print(f"  verified by us, per second                   {count / seconds:8,.0f}   (goal: 100,000)")
        print(f"  verified by us, per second of our CPU        {count / cpu_seconds:8,.0f}")
        print(f"  verified by the database, per second         {count / theirs:8,.0f}")


def counted(bench: Bench, seed: int) -> float:
    """The trail's time in times of everything else, for one batch: as PostgreSQL counts both."""
    with psycopg.connect(bench.database.url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"alter database \"{name}\" set track_functions = 'all'".encode())
        connection.execute(b"select pg_stat_reset()")
    other = Bench(Database(bench.database.url, Actor("benchmark")), bench.vault, bench.files, bench.folder, bench.rows)
    one_batch(other, seed)
    other.database.dispose()  # its sessions tell what they counted when they end
    time.sleep(1.0)
    with psycopg.connect(bench.database.url, autocommit=True) as connection:
        [(trail_ms, all_ms)] = connection.execute(_COUNTED).fetchall()
    return float(trail_ms) / (float(all_ms) - float(trail_ms))


# Trigger functions of the trail, each with all that it calls.
_COUNTED = b"""
    select (select sum(f.total_time) from pg_stat_user_functions f join pg_proc p on p.oid = f.funcid
            where f.funcname like 'audit%' and p.prorettype = 'trigger'::regtype
              and f.funcname not in ('audit_check', 'audit_guard_head')),
           (select active_time from pg_stat_database where datname = current_database())"""


def one_batch(bench: Bench, seed: int) -> None:
    """One batch, from its file to its report."""
    path = bench.folder / f"{seed}.csv"
    write_csv(make_sample(bench.rows, bad=0.0, seed=seed), path, "utf-8")
    batch_id = admit(bench.database, bench.files, path, DEFAULT_CLIENT, keep_original=True).batch.batch_id
    validate_batch(bench.database, bench.vault, bench.files, batch_id, ReadingLimits(max_rows=bench.rows))
    create_orders(bench.database, batch_id)
    with bench.database.hold_batch(batch_id) as hold:
        plan_payments(hold)
        for kind in EffectKind:
            while claimed := hold.run(lambda tx, k=kind: effects.claim(tx, k, batch_id, hold.epoch, _CHUNK)):
                for start in range(0, len(claimed), _GROUP):
                    settle(hold, kind, claimed[start : start + _GROUP])
    write_report(bench.database, bench.vault, batch_id, bench.files.report_dir(batch_id))
    close_batch(bench.database, batch_id)


def settle(hold: BatchHold, kind: EffectKind, claimed: list[ClaimedEffect]) -> None:
    """All of them done; of payments with what follows."""
    now = datetime.now(UTC)
    settlements = [
        Settlement(
            Attempt(
                effect.order.order_id,
                effect.attempt,
                "send",
                now,
                now,
                Outcome(OutcomeClass.DONE, remote_id=f"{kind.value}-{effect.order.order_id}", http_status=200),
            ),
            EffectState.SENDING,
            EffectState.DONE,
        )
        for effect in claimed
    ]
    with hold.begin() as tx:
        effects.settle(tx, kind, hold.epoch, settlements, 1.0)
        if kind is EffectKind.PAYMENT:
            payments_done(tx, hold.batch_id, [effect.order for effect in claimed], mail)


def mail(order: OrderFacts) -> bytes:
    """A mail's body costs no database time."""
    return b"%d" % order.order_id


def events_per_batch(bench: Bench) -> float:
    """Events of the last batch with a trail."""
    with bench.database.begin() as tx:
        return float(tx.execute(text("select max(seq) from audit_heads where chain <> 'system'")).scalar_one())


def enough(bench: Bench) -> None:
    """More events, of the size that a batch's usually have, in chains of 10,000; written past the check of each."""
    with bench.database.begin() as tx:
        count = int(tx.execute(text("select count(*) from audit_events")).scalar_one())
        tx.execute(text("set local event_triggers = off"))
        tx.execute(text("alter table audit_events disable trigger audit_check"))
        for number in range(max(0, _EVENTS - count) // _LENGTH + 1):
            _more(tx, f"copy-{number}")
        tx.execute(text("alter table audit_events enable always trigger audit_check"))


_LENGTH = 10_000
_SUBJECTS = " ".join(str(100_000 + n) for n in range(30))
_COPY = """copy audit_events (chain, seq, at, actor, event, subjects, prev_hash, hash, facts) from stdin"""


def _more(tx: Connection, chain: str) -> None:
    before, facts = GENESIS, b"ab" * 32
    at = datetime.now(UTC)
    tx.execute(text("insert into audit_heads values (:c, 0, decode(repeat('00', 32), 'hex'))"), {"c": chain})
    driver = tx.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for seq in range(1, _LENGTH + 1):
            at_us = b"%d" % round(at.timestamp() * 1_000_000)
            fields = (chain.encode(), b"%d" % seq, at_us, b"cli:bench", None, None, b"payment:sending:done", None)
            event = Event(*fields, _SUBJECTS.encode(), None, facts, before, b"")
            subjects = "{" + _SUBJECTS.replace(" ", ",") + "}"
            before, prev = hash_of(event), "\\x" + before.decode()
            row = (chain, seq, at, "cli:bench", "payment:sending:done", subjects, prev, "\\x" + before.decode())
            copy.write_row((*row, "\\x" + facts.decode()))
    tx.execute(
        text("update audit_heads set seq = :n, hash = decode(:h, 'hex') where chain = :c"),
        {"n": _LENGTH, "h": before.decode(), "c": chain},
    )


def verified(bench: Bench) -> tuple[float, float, float, int]:
    """Seconds and CPU seconds of our verifier, seconds of the database's, and how many events they verified."""
    with bench.database.snapshot() as tx:
        started, cpu = time.perf_counter(), time.process_time()
        walked = list(walk(trail.events(tx)))
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        assert all(one.broken_at is None for one in walked)
    with bench.database.snapshot() as tx:
        started = time.perf_counter()
        assert trail.database_verdict(tx) == {}
        theirs = time.perf_counter() - started
    return seconds, cpu_seconds, theirs, sum(one.events for one in walked)


if __name__ == "__main__":
    main()
