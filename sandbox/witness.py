"""What a ledger testifies to, in figures: the witness that books are compared with. Reads only."""

from __future__ import annotations

import sqlite3
from typing import Any

from sandbox.arrivals import most_in_one_second
from sandbox.ledger import EFFECT_TABLE

_ASKS = "route IN ('single', 'batch')"


def summary(connection: sqlite3.Connection) -> dict[str, Any]:
    """All figures of one ledger; ``connection`` may be any reader of the file.

    ``requests``: calls that asked for an effect. ``doubled``: orders with more than one effect.
    ``max_in_one_second``: the most such calls that arrived in any half-open second, refused ones included;
    ``max_admitted_in_one_second``: those the rate limit let in. ``max_effects_in_one_second``: charges or mails made.
    ``keys_with_two_bodies``: idempotency keys that ever came with different content. ``faults``: how often each fired.
    """
    service = str(_one(connection, "SELECT service FROM ledger"))
    table = EFFECT_TABLE[service]
    doubled = f"SELECT 1 FROM {table} GROUP BY order_id HAVING count(*) > 1"
    outcomes = f"SELECT outcome, count(*) FROM requests WHERE {_ASKS} OR route = 'item' GROUP BY 1"
    arrivals = f"SELECT arrived_us FROM requests WHERE {_ASKS}"
    return {
        "service": service,
        "requests": _one(connection, f"SELECT count(*) FROM requests WHERE {_ASKS}"),
        "items": _one(connection, "SELECT count(*) FROM requests WHERE route = 'item'"),
        "lookups": _one(connection, "SELECT count(*) FROM requests WHERE route LIKE 'lookup%'"),
        "effects": _one(connection, f"SELECT count(*) FROM {table}"),
        "distinct_orders": _one(connection, f"SELECT count(DISTINCT order_id) FROM {table}"),
        "amount_jpy": _one(connection, "SELECT coalesce(sum(amount_jpy), 0) FROM charges") if table == "charges" else 0,
        "doubled": _one(connection, f"SELECT count(*) FROM ({doubled})"),
        "max_in_one_second": _most(connection, f"{arrivals} ORDER BY 1"),
        "max_admitted_in_one_second": _most(connection, f"{arrivals} AND outcome <> 'too_many_requests' ORDER BY 1"),
        "max_effects_in_one_second": _most(connection, f"SELECT created_us FROM {table} ORDER BY 1"),
        "keys_with_two_bodies": _one(
            connection,
            "SELECT count(*) FROM (SELECT 1 FROM requests WHERE idempotency_key IS NOT NULL AND body_sha256 IS NOT NULL"
            " GROUP BY idempotency_key HAVING count(DISTINCT body_sha256) > 1)",
        ),
        "outcomes": _counts(connection, outcomes),
        "faults": _counts(connection, "SELECT fault, count(*) FROM requests WHERE fault IS NOT NULL GROUP BY 1"),
    }


def _one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _counts(connection: sqlite3.Connection, query: str) -> dict[str, int]:
    return {str(name): int(count) for name, count in connection.execute(query)}


def _most(connection: sqlite3.Connection, query: str) -> int:
    return most_in_one_second(int(row[0]) for row in connection.execute(query))
