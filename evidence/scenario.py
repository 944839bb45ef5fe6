"""Where batches live and die: a real PostgreSQL, the two services as processes of their own, files, and forked lives.

    with Ground(folder) as ground:                          # one server, one zygote
        with ground.scenario("key_only", seed=7) as place:  # a fresh database, two services with that profile
            batch = place.batch(rows=8)                     # a file in its import folder, and its manifest
            life = batch.begin(kill={"..."})                 # a forked process goes through all stages
            life.wait()                                     # 0: finished; -9: killed; see `evidence.life`
            batch.finish()                                  # live again until the batch is finished
            batch.violations()                              # what the checker finds

A batch has a home of its own (import folder, archive, report); all batches of a scenario share database and services.
"""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import psycopg

from evidence.checker import check_batch
from evidence.ledgers import check_ledgers
from evidence.life import FAILED, FINISHED, LifePlan
from evidence.manifest import MadeFile, make_file
from evidence.profiles import PROFILES, Capabilities
from evidence.witnesses import Violation
from evidence.zygote import Life, Zygote
from resources.database import migrate
from resources.local.postgres_server import PostgresServer
from resources.local.sandbox_service import SandboxService

_TEMPLATE = "evidence_template"
_MOST_LIVES = 40
_MOST_FAILED = 2  # lives that end with an error that waiting does not mend
_LIFE_SECONDS = 120.0


class Ground:
    """One database server, one template and one zygote, for all scenarios of a programme. Ends what it started."""

    def __init__(self, folder: Path | None = None, postgres: Mapping[str, str] | None = None) -> None:
        self._made = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="bulk-orders-evidence-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)  # run by root, the database works as another user inside of it
        self.server = PostgresServer(self.folder, settings=dict(postgres or {}))
        self._numbers = itertools.count(1)

    def __enter__(self) -> Ground:
        self.server.start(ends_with_us=True)
        self.administer(f"create database {_TEMPLATE}")
        migrate.upgrade(self.server.url(_TEMPLATE))
        self.zygote = Zygote(self.folder / "zygote.log")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.zygote.close()
        self.server.stop()
        if self._made:
            shutil.rmtree(self.folder, ignore_errors=True)

    def administer(self, statement: str) -> None:
        """One statement in the server's own database."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def scenario(
        self,
        profile: str,
        seed: int = 1,
        *,
        mails_per_second: int = 0,
        payments: Sequence[str] = (),
        notifications: Sequence[str] = (),
    ) -> Iterator[Scenario]:
        """A fresh database and two services; ``payments`` and ``notifications`` are further options of the sandbox."""
        number = next(self._numbers)
        name = f"evidence_{number}"
        self.administer(f"create database {name} template {_TEMPLATE}")
        place = Scenario(
            self,
            self.folder / name,
            self.server.url(name),
            PROFILES[profile],
            seed,
            mails_per_second,
            {"payments": list(payments), "notifications": list(notifications)},
        )
        try:
            place.start()
            yield place
        finally:
            place.stop()
            self.administer(f"drop database {name} with (force)")
            shutil.rmtree(place.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the engine finds the outside; replaced by a proxy's to come between."""

    database: str
    payments: str
    notifications: str


class Scenario:
    """One database and two services with one profile. ``addresses`` may be changed before lives begin."""

    def __init__(
        self,
        ground: Ground,
        folder: Path,
        database_url: str,
        profile: Capabilities,
        seed: int,
        mails_per_second: int,
        options: Mapping[str, list[str]],
    ) -> None:
        folder.mkdir()
        self.ground, self.folder, self.profile, self.seed = ground, folder, profile, seed
        self.mails_per_second = mails_per_second
        self.database_url = database_url
        self.key = base64.b64encode(os.urandom(32)).decode()
        self.payments = self._service("payments", options)
        self.notifications = self._service("notifications", options)
        self._numbers = itertools.count(1)

    def _service(self, kind: Literal["payments", "notifications"], options: Mapping[str, list[str]]) -> SandboxService:
        rate = ["--notification-rate", str(self.mails_per_second)] if kind == "notifications" else []
        stated = [*self.profile.sandbox_options(), *rate, "--seed", str(self.seed), *options[kind]]
        return SandboxService(self.folder, kind, options=stated)

    def start(self) -> None:
        """Start both services."""
        self.payments.start(ends_with_us=True)
        self.notifications.start(ends_with_us=True)
        self.addresses = Addresses(self.database_url, self.payments.url, self.notifications.url)

    def rehearse(self) -> None:
        """Bring one batch to its end in the zygote itself: worth it before hundreds of lives.

        Raises:
            NotFinished: the batch did not get there.
        """
        batch = self.batch(rows=6, bad_rows=5)
        plan = self.plan(batch.folder, batch.made.manifest["sha256"])
        if self.ground.zygote.start(plan.to_json(), rehearsal=True).wait(_LIFE_SECONDS) != FINISHED:
            raise NotFinished(batch.reason())

    def stop(self) -> None:
        """End both services."""
        self.payments.stop()
        self.notifications.stop()

    def batch(self, rows: int, bad_rows: int = 2, **changes: Any) -> EvidenceBatch:
        """A new file, dropped into an import folder of its own; ``changes`` are fields of `LifePlan`."""
        number = next(self._numbers)
        return EvidenceBatch(self, number, make_file(self.seed * 100_000 + number, rows, bad_rows), changes)

    def plan(self, folder: Path, sha256: str) -> LifePlan:
        """What every life of a batch works with."""
        stated = self.profile.engine_profile()
        rate = float(self.mails_per_second) if self.mails_per_second else None
        return LifePlan(
            folder=str(folder),
            home=str(folder / "home"),
            file_sha256=sha256,
            database_url=self.addresses.database,
            key=self.key,
            payments_url=self.addresses.payments,
            notifications_url=self.addresses.notifications,
            payments_profile=stated,
            notifications_profile={**stated, "rate_per_second": rate},
        )

    def violations(self) -> list[Violation]:
        """What the checker finds in the ledgers as a whole, over all batches."""
        return check_ledgers(
            self.payments.ledger, self.notifications.ledger, self.database_url, mails_per_second=self.mails_per_second
        )

    def execute(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Any statement in the scenario's database, for tests."""
        options = "-c search_path=bulk_orders,public"
        with psycopg.connect(self.database_url, autocommit=True, options=options) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []


class NotFinished(Exception):
    """A batch that life after life does not come to its end; the message holds the last life's reason."""


class EvidenceBatch:
    """One file on its way. Its lives follow each other, one at a time."""

    def __init__(self, place: Scenario, number: int, made: MadeFile, changes: Mapping[str, Any]) -> None:
        self.place = place
        self.made = made
        self.folder = place.folder / f"batch-{number}"
        self.manifest = self.folder / "manifest.json"
        self.lives = 0
        made.write(self.folder / "home" / "import" / made.manifest["client"] / made.manifest["file"], self.manifest)
        self._changes = dict(changes)

    def begin(
        self,
        kill: AbstractSet[str] = frozenset(),
        trace: Path | None = None,
        prepare: str = "",
        known: AbstractSet[str] | None = None,
    ) -> Life:
        """Begin one life; ``kill``: the points at which it kills itself, or the numbers of points as text.

        With ``known`` it kills itself at any other point too.
        """
        self.lives += 1
        plan = replace(
            self.place.plan(self.folder, self.made.manifest["sha256"]),
            trace=str(trace or ""),
            kill={"at": list(kill), "known": known and list(known)} if kill or known else None,
        )
        changes = {**self._changes, **({"prepare": prepare} if prepare else {})}
        return self.place.ground.zygote.start(replace(plan, **changes).to_json())

    def finish(self, most_lives: int = _MOST_LIVES, life_seconds: float = _LIFE_SECONDS) -> None:
        """Live undisturbed until the batch is finished.

        Raises:
            NotFinished: it is not, after so many lives or so long a life.
        """
        failed = 0
        for turn in range(most_lives):
            life = self.begin()
            status = life.wait(life_seconds)
            if status is None:
                life.signal()
                raise NotFinished(f"a life of more than {life_seconds:g} s")
            if status == FINISHED:
                return
            failed += status == FAILED
            if failed > _MOST_FAILED:
                break
            time.sleep(min(0.1 * (turn + 1), 1.0))
        raise NotFinished(self.reason())

    def reason(self) -> str:
        """Why the last life that said so did not finish."""
        with suppress(OSError):
            return (self.folder / "error").read_text(encoding="utf-8").strip()
        return "-"

    def violations(self, *, report: bool = True) -> list[Violation]:
        """What the checker finds; the batch should be finished."""
        return check_batch(
            self.manifest,
            self.place.payments.ledger,
            self.place.notifications.ledger,
            self.place.database_url,
            review_allowed=not self.place.profile.certain,
            reports=self.folder / "home" / "batches" if report else None,
        )

    def remove(self) -> None:
        """Delete its folder; database and ledgers keep what they know."""
        shutil.rmtree(self.folder, ignore_errors=True)
