"""The ledger of one sandbox service: what truly happened there, in a SQLite file of its own.

Who reads it: the service itself; its HTML pages and ``/_sandbox/summary``; and, from outside and while the service
runs, the tests and the evidence run, with plain ``sqlite3`` (WAL: readers never wait, writers never wait for them).
Each commit reaches the operating system before the answer leaves, so the ledger survives SIGKILL of the process. It is
not synced to the disk: after a power cut the newest lines may be missing.

Tables (times ``*_us``: microseconds since 1970 UTC; money: whole yen):

``ledger``    one row: ``ledger_id`` (uuid of this file), ``service`` ('payments' or 'notifications').
``requests``  one row for each request that arrived with its body: ``request_id``, ``parent_request_id`` (set on the
              items of a batch call), ``arrived_us``, ``route`` ('single', 'batch', 'item', 'lookup_order',
              'lookup_key'), ``order_id``, ``idempotency_key``, ``body_sha256`` (of the body as a JSON document, keys
              sorted), ``outcome`` ('open' until decided; then 'done', 'replayed', 'already_exists', 'declined',
              'refused', 'too_many_requests', 'in_flight', 'key_reused', 'failed', 'found', 'absent'), ``http_status``
              (NULL: no answer was given, or not in time), ``fault`` (kind that fired, or NULL), ``effects`` (how many
              charges or mails this request made; the effect of an item is counted on the item).
``charges``   payments only, one row for each time money was taken: ``charge_id``, ``payment_id``, ``order_id``,
              ``amount_jpy``, ``currency``, ``idempotency_key``, ``request_id``, ``created_us``. Not UNIQUE by
              ``order_id`` in the table: a service without that promise really charges twice, and here it shows.
``event_tries`` payments only, one row for each try to tell the merchant of a payment: ``try_id``, ``event_id``,
              ``type`` ('payment.completed', 'payment.failed'), ``order_id``, ``sent_us``, ``http_status`` (NULL: no
              answer).
``mails``     notifications only, one row for each mail sent: ``mail_id``, ``notification_id``, ``order_id``,
              ``recipient``, ``subject``, ``body``, ``extra`` (JSON of further fields), ``idempotency_key``,
              ``request_id``, ``created_us``.
``saved_keys`` answers kept for an Idempotency-Key: ``idempotency_key``, ``body_sha256``, ``http_status``, ``answer``,
              ``created_us``.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (ledger_id TEXT NOT NULL, service TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    request_id INTEGER PRIMARY KEY, parent_request_id INTEGER, arrived_us INTEGER NOT NULL, route TEXT NOT NULL,
    order_id INTEGER, idempotency_key TEXT, body_sha256 TEXT, outcome TEXT NOT NULL DEFAULT 'open',
    http_status INTEGER, fault TEXT, effects INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS saved_keys (
    idempotency_key TEXT PRIMARY KEY, body_sha256 TEXT NOT NULL, http_status INTEGER NOT NULL, answer TEXT NOT NULL,
    created_us INTEGER NOT NULL) WITHOUT ROWID;
"""
_CHARGES = """
CREATE TABLE IF NOT EXISTS charges (
    charge_id INTEGER PRIMARY KEY, payment_id TEXT NOT NULL UNIQUE, order_id INTEGER NOT NULL,
    amount_jpy INTEGER NOT NULL, currency TEXT NOT NULL, idempotency_key TEXT, request_id INTEGER NOT NULL,
    created_us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS event_tries (
    try_id INTEGER PRIMARY KEY, event_id TEXT NOT NULL, type TEXT NOT NULL, order_id INTEGER NOT NULL,
    sent_us INTEGER NOT NULL, http_status INTEGER);
CREATE INDEX IF NOT EXISTS charges_order ON charges (order_id);
CREATE INDEX IF NOT EXISTS charges_key ON charges (idempotency_key) WHERE idempotency_key IS NOT NULL;
"""
_MAILS = """
CREATE TABLE IF NOT EXISTS mails (
    mail_id INTEGER PRIMARY KEY, notification_id TEXT NOT NULL UNIQUE, order_id INTEGER NOT NULL,
    recipient TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL, extra TEXT NOT NULL, idempotency_key TEXT,
    request_id INTEGER NOT NULL, created_us INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS mails_order ON mails (order_id);
CREATE INDEX IF NOT EXISTS mails_key ON mails (idempotency_key) WHERE idempotency_key IS NOT NULL;
"""
EFFECT_TABLE = {"payments": "charges", "notifications": "mails"}
_EFFECT_ID = {"payments": "charge_id", "notifications": "mail_id"}
_EFFECT_SCHEMA = {"payments": _CHARGES, "notifications": _MAILS}


class LedgerRefused(Exception):
    """The file cannot be the ledger of this service; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class SavedAnswer:
    """What was answered to a key the first time."""

    body_sha256: str
    http_status: int
    answer: str
    created_us: int


class Ledger:
    """One open ledger file, used by one thread.

    The first write opens a transaction, which ends with ``commit`` or with the ``recorded`` block around it. Whoever
    waits commits first, so no transaction is ever open while another request is worked on.
    """

    def __init__(self, path: Path, service: str) -> None:
        """Open or make the ledger; raises LedgerRefused when the file is not this service's ledger."""
        self.path, self.service = path, service
        self._effects, self._effect_id = EFFECT_TABLE[service], _EFFECT_ID[service]
        try:
            self.connection = _opened(path)
            self.connection.executescript(_SCHEMA + _EFFECT_SCHEMA[service])
            self.ledger_id = self._identity()
        except (sqlite3.Error, OSError) as error:
            raise LedgerRefused(f"cannot use {path} as a ledger: {error}") from None

    def _identity(self) -> str:
        row = self.connection.execute("SELECT ledger_id, service FROM ledger").fetchone()
        if row is None:
            row = (str(uuid.uuid4()), self.service)
            self.connection.execute("INSERT INTO ledger VALUES (?, ?)", row)
            self.commit()
        if row[1] != self.service:
            raise LedgerRefused(f"{self.path} is the ledger of another service, not of {self.service}")
        return str(row[0])

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """What is written inside is committed at the end; an effect, its saved answer and its outcome go together."""
        try:
            yield
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()

    def commit(self) -> None:
        """Make what was written so far visible and safe from a SIGKILL."""
        self.connection.commit()

    def begin(
        self,
        route: str,
        arrived_us: int,
        order_id: int | None = None,
        key: str | None = None,
        body_sha256: str | None = None,
        parent: int | None = None,
    ) -> int:
        """Write down that a request arrived; returns its ``request_id``."""
        cursor = self.connection.execute(
            "INSERT INTO requests (parent_request_id, arrived_us, route, order_id, idempotency_key, body_sha256)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (parent, arrived_us, route, order_id, key, body_sha256),
        )
        return int(cursor.lastrowid or 0)

    def finish(self, request_id: int, outcome: str, status: int | None, fault: str | None, effects: int = 0) -> None:
        """Write down what became of a request."""
        self.connection.execute(
            "UPDATE requests SET outcome = ?, http_status = ?, fault = ?, effects = ? WHERE request_id = ?",
            (outcome, status, fault, effects, request_id),
        )

    def add_effect(self, values: dict[str, object]) -> None:
        """Write down one charge or one mail; ``values`` by column."""
        marks = ", ".join("?" * len(values))
        self.connection.execute(
            f"INSERT INTO {self._effects} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
        )

    def effects_of_order(self, order_id: int) -> list[sqlite3.Row]:
        """All charges or mails of an order, oldest first."""
        return self._effects_where("order_id", order_id)

    def effects_of_key(self, key: str) -> list[sqlite3.Row]:
        """All charges or mails made with an idempotency key, oldest first."""
        return self._effects_where("idempotency_key", key)

    def _effects_where(self, column: str, value: object) -> list[sqlite3.Row]:
        query = f"SELECT * FROM {self._effects} WHERE {column} = ? ORDER BY {self._effect_id}"
        return self.connection.execute(query, (value,)).fetchall()

    def effect(self, effect_id: int) -> sqlite3.Row | None:
        """One charge or mail by its number."""
        query = f"SELECT * FROM {self._effects} WHERE {self._effect_id} = ?"
        row: sqlite3.Row | None = self.connection.execute(query, (effect_id,)).fetchone()
        return row

    def page(self, order_id: int | None, limit: int, offset: int) -> tuple[int, list[sqlite3.Row]]:
        """How many effects there are (of one order, if given), and one page of them, newest first."""
        where, values = ("WHERE order_id = ?", [order_id]) if order_id is not None else ("", [])
        total = self.connection.execute(f"SELECT count(*) FROM {self._effects} {where}", values).fetchone()[0]
        rows = self.connection.execute(
            f"SELECT * FROM {self._effects} {where} ORDER BY {self._effect_id} DESC LIMIT ? OFFSET ?",
            [*values, limit, offset],
        ).fetchall()
        return int(total), rows

    def saved_answer(self, key: str) -> SavedAnswer | None:
        """The answer kept for a key, however old."""
        row = self.connection.execute(
            "SELECT body_sha256, http_status, answer, created_us FROM saved_keys WHERE idempotency_key = ?", (key,)
        ).fetchone()
        return SavedAnswer(*row) if row else None

    def save_answer(self, key: str, saved: SavedAnswer) -> None:
        """Keep the answer of a key, over an earlier one."""
        self.connection.execute(
            "INSERT OR REPLACE INTO saved_keys VALUES (?, ?, ?, ?, ?)",
            (key, saved.body_sha256, saved.http_status, saved.answer, saved.created_us),
        )

    def close(self) -> None:
        """Close the file; its WAL is folded in."""
        self.connection.close()


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Mails hold names and addresses: the file is for its owner alone, and so are the -wal and -shm files made after it.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, isolation_level="IMMEDIATE", timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    return connection
