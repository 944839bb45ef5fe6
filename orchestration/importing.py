"""One file from the command line to the end of its batch: admit, run or let the running system do it, watch.

Where `up` runs, its sensor takes the batch like any other; otherwise the job runs in a child process of ours. Either
way the batch is in the database, and whoever comes next goes on where it stopped.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from assets.validated_csv.judged_file import JudgedFile
from assets.validated_csv.order_file import read_order_tables, read_orders_file
from assets.validated_csv.repaired import is_repaired, recognise
from assets.validated_csv.totals import side_totals
from domain.client_profile import ClientProfile
from domain.errors import BatchPaused
from domain.identity import client_slug
from domain.states import FINISHED_BATCH, BatchState, EffectKind
from orchestration import operations
from orchestration.account import account_name
from orchestration.admission import admit, beside
from orchestration.bindings import (
    admitted_vault,
    client_profiles,
    guard_limits,
    make_profiles,
    open_batch_files,
    open_database,
    reading_limits,
)
from orchestration.forecast import Forecast, forecast
from orchestration.local_services import LocalServices
from orchestration.stack import running_stack
from orchestration.version import code_version
from orchestration.watching import Watcher
from resources.database import books
from resources.database.books import Books
from resources.database.connection import Actor
from resources.database.database import Database
from resources.local import children

_POLL_SECONDS = 0.5
_TAKEN_UP_SECONDS = 30.0
_STOP_SECONDS = 60.0
_STILL_SECONDS = 300.0
RESTING = FINISHED_BATCH | {BatchState.PAUSED}


@dataclass(frozen=True, slots=True)
class Imported:
    """A batch after the command's work on it."""

    books: Books
    duplicate: bool  # it was finished before this command
    report_dir: Path


class Importer:
    """Imports files with the services that run; used within one command."""

    def __init__(self, services: LocalServices) -> None:
        self._settings = services.settings
        self._home = services.home
        self._environment = children.python_environment(services.environment())
        self._actor = Actor(f"cli:{account_name()}", "", code_version())
        self._database = open_database(self._settings, self._actor)
        self._files = open_batch_files(self._settings)
        try:
            # A missing or wrong key is said before a file is touched.
            self._vault = admitted_vault(self._settings, self._database)
        except BaseException:
            self.close()
            raise

    @property
    def database(self) -> Database:
        """The database, in the name of whoever uses the command."""
        return self._database

    def close(self) -> None:
        """Close the connections."""
        self._database.dispose()

    def import_file(self, path: Path, client: str, group: str | None, watcher: Watcher) -> Imported:
        """Take one file to the end of its batch, or as far as it goes now.

        Raises:
            FileRefused: the whole file; nothing was written.
            BatchPaused: Ctrl-C; what was done is written down.
        """
        # A file that cannot be taken is refused here and now, before anything is registered.
        profile = self._profile_of(client)
        file = (path.resolve(), reading_limits(self._settings))
        last = deque(read_order_tables(*file, profile=profile), maxlen=1).pop()
        found = beside(path.resolve(), profile, repaired=is_repaired(last.header))
        totals = side_totals(found.only(path.name))
        if is_repaired(last.header):
            with self._database.begin() as tx:
                recognise(tx, self._vault, read_orders_file(*file, profile=profile), client_slug(client))
        elif last.declared is not None or totals is not None:
            deque(JudgedFile(*file, profile, lambda _: None, beside=totals).parts(), maxlen=0)
        admission = admit(
            self._database, self._files, path.resolve(), client, group=group, keep_original=True, beside=found
        )
        batch = admission.batch
        finished_before = batch.state in FINISHED_BATCH
        operations.take_up(self._database, batch.batch_id)
        return replace(self.go_on(batch.batch_id, watcher), duplicate=finished_before)

    def go_on(self, batch_id: str, watcher: Watcher) -> Imported:
        """Take a batch that is there to its end, or as far as it goes now; one that waits for a person is left alone.

        Raises:
            BatchPaused: Ctrl-C; what was done is written down.
        """
        batch = self._read(batch_id).batch
        if batch.state not in FINISHED_BATCH and not batch.waits_for_person:
            try:
                self._work(batch_id, watcher)
            except KeyboardInterrupt:
                raise BatchPaused("BATCH-INTERRUPTED", batch=batch_id) from None
        return Imported(self._read(batch_id), False, self._files.report_dir(batch_id))

    def forecast(self, path: Path, client: str) -> Forecast:
        """Check a file and say what an import of it would do.

        Raises:
            FileRefused: the whole file would be refused.
        """
        profiles = make_profiles(self._settings)
        return forecast(
            path,
            client,
            reading_limits(self._settings),
            self._database,
            self._vault,
            payments=profiles[EffectKind.PAYMENT],
            notifications=profiles[EffectKind.NOTIFICATION],
            profile=self._profile_of(client),
            guards=guard_limits(self._settings),
        )

    def _profile_of(self, client: str) -> ClientProfile:
        return client_profiles(self._settings).of(client_slug(client))

    def _work(self, batch_id: str, watcher: Watcher) -> None:
        if running_stack(self._home) is not None and self._taken_up(batch_id, watcher):
            self._watch(batch_id, watcher, lambda: running_stack(self._home) is None)
        else:
            self._run(batch_id, watcher)

    def _taken_up(self, batch_id: str, watcher: Watcher) -> bool:
        """Whether the running system began with the batch; False when nobody did in good time."""
        deadline = time.monotonic() + _TAKEN_UP_SECONDS
        while time.monotonic() < deadline:
            now = self._read(batch_id)
            watcher.show(now)
            if now.batch.run_id is not None:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _run(self, batch_id: str, watcher: Watcher) -> None:
        log = self._home / "logs" / f"{batch_id}.log"
        command = [sys.executable, "-m", "orchestration.run_batch", batch_id, self._actor.name]
        worker = children.spawn(command, log=log, environment=self._environment, ends_with_us=signal.SIGTERM)
        try:
            self._watch(batch_id, watcher, lambda: worker.poll() is not None)
        finally:
            _end(worker)
        watcher.show(self._read(batch_id))

    def _watch(self, batch_id: str, watcher: Watcher, is_over: Callable[[], bool]) -> None:
        """Show progress until the batch rests, the worker has ended, or nothing has moved for long."""
        last, moved_at = None, time.monotonic()
        while not is_over() and time.monotonic() - moved_at < _STILL_SECONDS:
            now = self._read(batch_id)
            watcher.show(now)
            if now.batch.state in RESTING:
                return
            if (where := (now.batch.run_id, now.progress())) != last:
                last, moved_at = where, time.monotonic()
            time.sleep(_POLL_SECONDS)

    def _read(self, batch_id: str) -> Books:
        with self._database.snapshot() as tx:
            return books.read(tx, batch_id)


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Let a worker finish what it is writing down; one that was interrupted, or takes too long, is told to."""
    interrupted = sys.exc_info()[0] is not None
    if not interrupted and _ended(worker):
        return
    worker.terminate()
    if not _ended(worker):
        worker.kill()
        worker.wait()


def _ended(worker: subprocess.Popen[bytes]) -> bool:
    try:
        worker.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True
