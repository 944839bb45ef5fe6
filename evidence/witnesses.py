"""What the checker reads: our database and the services' ledgers, opened for reading only."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and where: row numbers, order ids and figures only."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


def open_database(url: str) -> psycopg.Connection[Record]:
    """Our database at one moment."""
    options = "-c search_path=bulk_orders,public -c default_transaction_isolation=repeatable\\ read"
    connection = psycopg.connect(url, row_factory=dict_row, options=options)
    connection.read_only = True
    return connection


def open_ledger(path: Path) -> sqlite3.Connection:
    """A service's own ledger."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    connection.row_factory = sqlite3.Row
    return connection
