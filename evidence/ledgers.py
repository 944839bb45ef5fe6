"""The checker's part about the ledgers as a whole, from their first line (I2, I4, I8, I11)."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from evidence.witnesses import Violation, open_database, open_ledger

_SECOND_US = 1_000_000
_ALONE = (("body_sha256", "idempotency_key"), ("order_id", "idempotency_key"))
_PROOF_LOOKS = 2  # look-ups that found nothing, before an order may have another key


def check_ledgers(
    payments_ledger: Path, notifications_ledger: Path, database_url: str, *, mails_per_second: int = 0
) -> list[Violation]:
    """Both ledgers from their first line: nothing doubled, nothing of nobody's, keys and limit kept."""
    with closing(open_database(database_url)) as connection:
        ours = {row["order_id"] for row in connection.execute("select order_id from orders").fetchall()}
    found = [*_whole(payments_ledger, "charges", "I2", ours), *_whole(notifications_ledger, "mails", "I4", ours)]
    if mails_per_second:
        found += _limit_kept(notifications_ledger, mails_per_second)
    return found


def _whole(path: Path, table: str, invariant: str, ours: set[int]) -> Iterable[Violation]:
    with closing(open_ledger(path)) as ledger:
        effects = Counter(row[0] for row in ledger.execute(f"select order_id from {table}"))
        doubled = sum(1 for count in effects.values() if count > 1)
        if doubled:
            yield Violation(invariant, f"{doubled} orders with more than one line in {table}")
        if effects.keys() - ours:
            yield Violation(invariant, f"{len(effects.keys() - ours)} lines in {table} for orders that we do not have")
        asked = "from requests where idempotency_key is not null and route in ('single', 'item')"
        for what, by in _ALONE:
            several = f"select count(*) from (select 1 {asked} group by {by} having count(distinct {what}) > 1)"
            count = ledger.execute(several).fetchone()[0]
            if count:
                yield Violation("I11", f"{count} times one {by} with more than one {what}")
        unproven = sum(1 for _ in _keys_without_proof(ledger))
        if unproven:
            yield Violation("I11", f"{unproven} times another key for an order whose first may have had its effect")


def _keys_without_proof(ledger: sqlite3.Connection) -> Iterable[int]:
    """Orders that were sent under another key before the service had said, twice, that the old one had no effect."""
    sent = """select order_id, idempotency_key, request_id from requests
              where idempotency_key is not null and route in ('single', 'item') order by order_id, request_id"""
    absent = """select count(*) from requests where route like 'lookup%' and outcome = 'absent'
                and request_id between ? and ? and (idempotency_key = ? or order_id = ?)"""
    before = (None, "", 0)
    for order_id, key, request_id in ledger.execute(sent).fetchall():
        if before[0] == order_id and before[1] != key:
            looks = ledger.execute(absent, (before[2], request_id, before[1], order_id)).fetchone()[0]
            if looks < _PROOF_LOOKS:
                yield order_id
        before = (order_id, key, request_id)


def _limit_kept(path: Path, limit: int) -> Iterable[Violation]:
    with closing(open_ledger(path)) as ledger:
        query = "select arrived_us from requests where route in ('single', 'batch') order by arrived_us"
        arrived = [row[0] for row in ledger.execute(query)]
    first, most = 0, 0
    for last, moment in enumerate(arrived):
        while arrived[first] <= moment - _SECOND_US:
            first += 1
        most = max(most, last - first + 1)
    if most > limit:
        yield Violation("I8", f"{most} calls in one second, the limit is {limit}")


def asked_of(path: Path) -> Counter[str]:
    """What was asked of a service and what became of it, over its whole ledger: done, replayed, found, absent, ..."""
    with closing(open_ledger(path)) as ledger:
        return Counter(dict(ledger.execute("select outcome, count(*) from requests group by outcome").fetchall()))
