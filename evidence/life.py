"""One life of a worker: everything a batch goes through, from the import folder to its report, in this process.

Plain Python, in the order and with the blocking checks of the job `process_batch`. A life ends by itself, or is killed
anywhere; the next one begins again from the top, as the sensor would have it. ``live`` never returns to its caller's
program: it is the main function of a forked process.

Exit status: 0 the batch is finished; 3 it is paused; 4 it could not go on now (busy, no database); 5 anything else.
The reason stands in the file ``error`` of the life's folder.
"""

from __future__ import annotations

import base64
import gc
import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.batch_report.work import close_batch, refresh_ancestors, write_repair_files, write_report
from assets.created_orders.work import create_orders
from assets.effects.lane import LaneLimits
from assets.effects.work import EffectLimits, Services, effect_work
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from checks import reconciliation, row_accounting
from checks.finding import Finding
from domain.errors import BatchBusy, BatchPaused, BulkOrdersError, TransientError
from domain.outcomes import Patience
from domain.profiles import ServiceProfile
from evidence.boundaries import Boundaries, Watch
from orchestration.admission import admit
from resources.batch_files import BatchFiles
from resources.database import batches
from resources.database.connection import Actor
from resources.database.database import Database
from resources.encryption import Vault
from resources.services.notifications import NotificationService
from resources.services.payments import PaymentService
from resources.sheet_folder import KeySheets

_rehearsed: dict[str, Database] = {}
"""By address, without a connection: a forked life finds the one that was rehearsed with, its statements compiled."""

FINISHED, PAUSED, TRY_LATER, FAILED = 0, 3, 4, 5


@dataclass(frozen=True, slots=True)
class LifePlan:
    """What one life works with; travels to the forked process as JSON.

    ``trace``: a file for the borders passed, or "". ``kill``: the first met of which borders is the last (see
    `boundaries`), or None.
    ``prepare``: ``module:function`` to be called first, e.g. one that seeds a bug.
    """

    folder: str
    home: str
    file_sha256: str
    database_url: str
    key: str
    payments_url: str
    notifications_url: str
    payments_profile: dict[str, Any]
    notifications_profile: dict[str, Any]
    concurrency: int = 4
    chunk: int = 3
    timeout_seconds: float = 5.0
    cooldown_seconds: float = 0.3
    max_attempts: int = 1_000  # a chain of kills sends one row more often than anybody's setting
    max_looks: int = 1_000
    prepare: str = ""
    trace: str = ""
    kill: dict[str, Any] | None = None

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def live(plan: LifePlan) -> int:
    """Live to the end; the exit status."""
    watch = Watch.from_plan(plan.trace, plan.kill)
    boundaries = Boundaries(watch, Path(plan.home)) if watch else None
    if boundaries is not None:
        boundaries.install()
    try:
        if plan.prepare:
            module, _, name = plan.prepare.partition(":")
            getattr(importlib.import_module(module), name)()
        _Life(plan, watch.enter if watch else lambda stage: None).run()
    except BatchPaused as error:
        return _note(plan, error, PAUSED)
    except (BatchBusy, TransientError) as error:
        return _note(plan, error, TRY_LATER)
    except BaseException as error:
        return _note(plan, error, FAILED)
    return FINISHED


def rehearse(plan: LifePlan) -> int:
    """Live once in the process that will fork the others: what is slow the first time is inherited by them.

    Imports on first use, compiled rules and statements; no connection and no thread is left.
    """
    status = live(plan)
    gc.collect()
    gc.freeze()  # the collector of a life does not touch, and so copy, what it shares with us
    return status


def _note(plan: LifePlan, error: BaseException, status: int) -> int:
    text = str(error) if isinstance(error, BulkOrdersError) else repr(error)
    (Path(plan.folder) / "error").write_text(f"{type(error).__name__}: {text}\n", encoding="utf-8")
    return status


class CheckFailed(Exception):
    """A blocking check of the pipeline refused to let the batch go on."""


class _Life:
    def __init__(self, plan: LifePlan, enter: Callable[[str], None]) -> None:
        self._plan = plan
        self._enter = enter
        sheets = KeySheets(Path(plan.home) / "keys" / "sheets")
        self._vault = Vault(base64.b64decode(plan.key), sheets=sheets)
        self._files = BatchFiles(Path(plan.home), Path(plan.home) / "import")

    def run(self) -> None:
        with self._database() as database:
            self._enter("archive")
            batch = self._taken(database)
            self._enter("validated_csv")
            books = validate_batch(database, self._vault, self._files, batch, ReadingLimits()).books
            _must(row_accounting.every_row_stored(books))
            self._enter("created_orders")
            _must(reconciliation.orders_match_file(create_orders(database, batch)))
            self._enter("effects")
            self._make_effects(database, batch)
            self._enter("batch_report")
            self._report(database, batch)

    @contextmanager
    def _database(self) -> Iterator[Database]:
        url = self._plan.database_url
        database = _rehearsed.setdefault(url, Database(url, Actor("evidence", "", "evidence")))
        try:
            yield database
        finally:
            database.dispose()

    def _taken(self, database: Database) -> str:
        """Take what lies in the import folder, as the sensor does; the batch of our file."""
        self._files.prepare()
        first = self._files.settled({}, settle_seconds=0.0, now=time.time())
        for dropped in self._files.settled(first.memory, settle_seconds=0.0, now=time.time()).settled:
            admit(database, self._files, dropped.path, dropped.client)
        with database.begin() as tx:
            batch = batches.find_by_digest(tx, bytes.fromhex(self._plan.file_sha256))
        if batch is None:
            raise CheckFailed("the file is neither in the import folder nor registered")
        return batch.batch_id

    def _make_effects(self, database: Database, batch: str) -> None:
        with effect_work(database, self._vault, self._services(), self._limits(), batch) as work:
            for _ in work.reports():
                pass
            books = work.books()
        _must(reconciliation.payments_match_orders(books))
        _must(reconciliation.mails_match_paid_orders(books))

    def _report(self, database: Database, batch: str) -> None:
        folder = self._files.report_dir(batch)
        report = write_report(database, self._vault, batch, folder)
        write_repair_files(database, self._vault, self._files, batch, folder)
        _must(reconciliation.three_books_agree(report.books))
        _must(row_accounting.every_row_reported(report.books, report.rows_per_file))
        refresh_ancestors(database, self._vault, self._files, batch)
        close_batch(database, batch, report.books)

    def _services(self) -> Services:
        plan = self._plan
        return Services(
            PaymentService(plan.payments_url, ServiceProfile(**plan.payments_profile), plan.timeout_seconds),
            NotificationService(
                plan.notifications_url, ServiceProfile(**plan.notifications_profile), plan.timeout_seconds
            ),
        )

    def _limits(self) -> EffectLimits:
        plan = self._plan
        patience = Patience(max_attempts=plan.max_attempts, max_looks=plan.max_looks)
        lane = LaneLimits(plan.concurrency, plan.chunk, patience)
        return EffectLimits(lane, lane, plan.cooldown_seconds)


def _must(finding: Finding) -> None:
    if not finding.passed:
        raise CheckFailed(finding.name)
