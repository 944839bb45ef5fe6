"""Whole batches for tests: a database, a key, folders, and the real stages on them. Nothing here is a stand-in."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from assets.created_orders.work import create_orders
from assets.effects.lane import LaneLimits
from assets.effects.stream import StreamReport
from assets.effects.work import ALL_KINDS, EffectLimits, EffectWork, Services, effect_work
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from domain.outcomes import LookUp, Patience
from domain.profiles import ServiceProfile
from domain.states import EffectKind
from orchestration.admission import admit
from resources.batch_files import BatchFiles
from resources.database.books import Books
from resources.database.connection import Actor
from resources.database.database import Database
from resources.encryption import Vault
from resources.services.notifications import NotificationService
from resources.services.payments import PaymentService
from resources.sheet_folder import KeySheets

HEADER = ["order_number", "customer_name", "email", "item_name", "amount", "phone", "内部メモ"]
_numbers = itertools.count(1)
_first_order_ids = itertools.count(100_000, 1_000)


def order_row(**cells: str) -> list[str]:
    """A good row with an order number of its own; ``cells`` replace what is given."""
    n = next(_numbers)
    good = {
        "order_number": f"N-{n:06d}",
        "customer_name": f"試験 太郎{n}",
        "email": f"taro{n}@example.jp",
        "item_name": "りんご",
        "amount": str(1_000 + n % 500),
        "phone": "03-0000-0000",
        "内部メモ": f"memo {n}",
    }
    return [(good | cells)[name] for name in HEADER]


def csv_bytes(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> bytes:
    """The rows as a file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


class Installation:
    """One database, one key, one home."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.database = Database(url, Actor("test", "run-1", "0.0"))
        self.key = base64.b64encode(os.urandom(32)).decode()
        self.sheets = KeySheets(folder / "home" / "keys" / "sheets")
        self.vault = Vault(base64.b64decode(self.key), sheets=self.sheets)
        self.files = BatchFiles(folder / "home", folder / "home" / "import")
        self.files.prepare()
        # The services' ledgers outlive a database: no two tests use the same order id.
        self.execute("select setval('orders_order_id_seq', %s)", next(_first_order_ids))

    def execute(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Any statement, on a connection of its own that acts as nobody."""
        options = "-c search_path=bulk_orders,public"
        with psycopg.connect(self.url, autocommit=True, options=options) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def write(self, rows: Sequence[Sequence[str]], name: str = "orders.csv", header: Sequence[str] = HEADER) -> Path:
        """A file that lies somewhere with the person who made it."""
        path = self.folder / name
        path.write_bytes(csv_bytes(rows, header))
        return path

    def admitted(self, path: Path, client: str = "shop", group: str | None = None) -> str:
        """The id of the batch of this file."""
        return admit(self.database, self.files, path, client, group=group, keep_original=True).batch.batch_id

    def validated(self, rows: Sequence[Sequence[str]], client: str = "shop", group: str | None = None) -> str:
        """A batch of these rows, validated; its id."""
        batch_id = self.admitted(self.write(rows), client, group)
        validate_batch(self.database, self.vault, self.files, batch_id, ReadingLimits())
        return batch_id

    def ordered(self, rows: Sequence[Sequence[str]] | int, client: str = "shop") -> str:
        """A batch of these rows, or of so many good ones, with its orders; its id."""
        rows = [order_row() for _ in range(rows)] if isinstance(rows, int) else rows
        batch_id = self.validated(rows, client)
        create_orders(self.database, batch_id)
        return batch_id

    def order_ids(self, batch_id: str) -> list[int]:
        """In the order of the file."""
        query = "select order_id from orders where batch_id = %s order by import_row_number"
        return [row[0] for row in self.execute(query, batch_id)]

    def states(self, table: str, batch_id: str) -> dict[int, tuple[str, str | None]]:
        """State and reason of each effect, by order id."""
        rows = self.execute(f"select order_id, state, reason from {table} where batch_id = %s", batch_id)
        return {order_id: (state, reason) for order_id, state, reason in rows}

    def batch(self, batch_id: str) -> tuple[str, str | None]:
        """State and reason of the batch."""
        row = self.execute("select state, reason from batches where batch_id = %s", batch_id)[0]
        return row[0], row[1]


def services(
    payments_url: str,
    notifications_url: str,
    *,
    payments: Mapping[str, Any] | None = None,
    notifications: Mapping[str, Any] | None = None,
    timeout_seconds: float = 3.0,
) -> Services:
    """Both services with quick profiles; ``payments`` and ``notifications`` change these."""
    quick: dict[str, Any] = {
        "name": "quick",
        "look_up": LookUp.BY_ORDER,
        "settle_seconds": 0.2,
        "second_look_seconds": 0.1,
    }
    return Services(
        PaymentService(payments_url, ServiceProfile(**{**quick, **(payments or {})}), timeout_seconds),
        NotificationService(notifications_url, ServiceProfile(**{**quick, **(notifications or {})}), timeout_seconds),
    )


def limits(concurrency: int = 8, chunk: int = 20, cooldown_seconds: float = 0.3, **more: int) -> EffectLimits:
    """How much at once."""
    lane = LaneLimits(concurrency, chunk, Patience(**more))
    return EffectLimits(lane, lane, cooldown_seconds)


@contextmanager
def working(
    installation: Installation,
    batch_id: str,
    of: Services,
    within: EffectLimits | None = None,
    selected: frozenset[EffectKind] = ALL_KINDS,
) -> Iterator[EffectWork]:
    """The effects of a batch being made."""
    with effect_work(installation.database, installation.vault, of, within or limits(), batch_id, selected) as work:
        yield work


def work_through(
    installation: Installation,
    batch_id: str,
    of: Services,
    within: EffectLimits | None = None,
    selected: frozenset[EffectKind] = ALL_KINDS,
) -> tuple[list[StreamReport], Books]:
    """Pay and notify until both lanes have ended."""
    with working(installation, batch_id, of, within, selected) as work:
        reports = list(work.reports())
        return reports, work.books()
