"""The whole job as Dagster runs it: its records, its checks, its storage, and nothing of a customer in any of them.

After each test all tables of Dagster are searched for what the test's rows held.
"""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from audit.trace import trace
from domain.errors import FileRefused
from orchestration import dagster_history, dagster_home, run_batch
from orchestration.admission import admit
from orchestration.bindings import admitted_vault, open_batch_files, open_database
from orchestration.settings import Settings
from orchestration.trail_of_runs import CODE_VERSION_TAG
from resources.batch_files import BatchFiles
from resources.database import runs
from resources.database.connection import Actor
from resources.database.database import Database
from resources.local.postgres_server import PostgresServer
from tests.integration.batches import HEADER, csv_bytes, order_row
from tests.integration.repairing import mended, read_text, write_text

CANARY = "canary"
_first_order_ids = itertools.count(10_000_000, 1_000)
PROFILE = "settle_seconds = 0.2\nsecond_look_seconds = 0.1\nrate_per_second = 500\n"
CHECKS = {
    "validated_csv": {"every_row_stored", "all_rows_accepted"},
    "created_orders": {"orders_match_file"},
    "payments": {"payments_match_orders", "all_orders_paid"},
    "notifications": {"mails_match_paid_orders", "all_mails_sent"},
    "batch_report": {"three_books_agree", "every_row_reported"},
}
WARNING = {"all_rows_accepted", "all_orders_paid", "all_mails_sent"}


@dataclass
class System:
    """An installation with Dagster's storage in its database, as `up` and `import` make it."""

    url: str
    settings: Settings
    instance: dg.DagsterInstance
    database: Database
    files: BatchFiles
    payments: Any
    notifications: Any

    def batch(self, rows: list[list[str]], name: str = "orders.csv", content: bytes | None = None) -> str:
        """A file dropped by somebody, admitted; the id of its batch."""
        folder = self.settings.watched_dir / "Shop A"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(csv_bytes(rows) if content is None else content)
        return admit(self.database, self.files, folder / name, "Shop A").batch.batch_id

    def run(self, batch: str) -> dg.DagsterRun:
        """The job, in this process, as the command line's worker runs it; its record."""
        succeeded = run_batch.run(batch, "cli:test")
        [record] = self.instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": batch}), limit=1)
        assert record.dagster_run.is_success == succeeded
        return record.dagster_run

    def checks(self, run: dg.DagsterRun) -> dict[str, dict[str, bool]]:
        """Every check of the run by asset: passed or not."""
        found: dict[str, dict[str, bool]] = {}
        for event in self.events(run, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            data: Any = event.event_specific_data
            found.setdefault(data.asset_key.to_user_string(), {})[data.check_name] = data.passed
        return found

    def materialized(self, run: dg.DagsterRun) -> dict[str, dict[str, Any]]:
        """The metadata of every asset that the run made."""
        events = self.events(run, dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [event.step_materialization_data.materialization for event in events]
        return {m.asset_key.to_user_string(): {k: v.value for k, v in m.metadata.items()} for m in made}

    def events(self, run: dg.DagsterRun, kind: dg.DagsterEventType) -> list[dg.DagsterEvent]:
        entries = self.instance.all_logs(run.run_id, of_type=kind)
        return [entry.dagster_event for entry in entries if entry.dagster_event is not None]

    def effects(self, batch: str) -> tuple[Counter[int], Counter[int], list[int]]:
        """What the services did for the orders of a batch, and those orders."""
        ids = [i for (i,) in self.ask("select order_id from orders where batch_id = %s order by 1", batch)]
        span = (ids[0], ids[-1])
        between = "WHERE order_id BETWEEN ? AND ?"
        charges = Counter(i for (i,) in self.payments.rows(f"SELECT order_id FROM charges {between}", *span))
        mails = Counter(i for (i,) in self.notifications.rows(f"SELECT order_id FROM mails {between}", *span))
        return charges, mails, ids

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True, options="-c search_path=bulk_orders,public") as connection:
            return connection.execute(query.encode(), values).fetchall()


@pytest.fixture(scope="module")
def stored(
    postgres_server: PostgresServer, dagster_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """One database for the module: each test has batches and orders of its own."""
    name = "test_pipeline"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name} template {dagster_template}".encode())
    yield postgres_server.url(name), tmp_path_factory.mktemp("pipeline")
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def system(
    stored: tuple[str, Path], payments: Any, notifications: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[System]:
    url, folder = stored
    profile = folder / "profile.toml"
    profile.write_text(PROFILE, encoding="utf-8")
    dagster_home.write_instance(folder / "dagster", max_concurrent_runs=4)
    dagster_home.make_schema(url)
    environment = dagster_home.environment(folder / "dagster", url, {}) | {
        "BULK_ORDERS_HOME": str(folder / "home"),
        "BULK_ORDERS_ENCRYPTION_KEY": base64.b64encode(bytes(range(32))).decode(),
        "BULK_ORDERS_MAX_ROWS": "20",
        "PAYMENT_SERVICE_URL": str(payments.http.base_url),
        "NOTIFICATION_SERVICE_URL": str(notifications.http.base_url),
        "PAYMENT_SERVICE_PROFILE": str(profile),
        "NOTIFICATION_SERVICE_PROFILE": str(profile),
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = Settings.from_environment(environment)
    database = open_database(settings, Actor("test"))
    with dg.DagsterInstance.get() as instance:
        made = System(url, settings, instance, database, open_batch_files(settings), payments, notifications)
        # The services' ledgers are those of the session: no two tests use the same order id.
        made.ask("select setval('orders_order_id_seq', %s)", next(_first_order_ids))
        yield made
        kept = everything_dagster_keeps(made)
    database.dispose()
    assert "example.jp" not in kept
    assert CANARY not in kept, "something of a customer is in a table of Dagster"
    assert str(psycopg.conninfo.conninfo_to_dict(url)["password"]) not in kept


def personal(**cells: str) -> list[str]:
    """A good row in which everything that may be personal can be recognised again."""
    known = {"customer_name": f"{CANARY} 花子", "email": f"{CANARY}@example.jp", "phone": f"{CANARY}-phone"}
    row = order_row(**(known | cells))
    row[HEADER.index("内部メモ")] = f"{CANARY}-memo"
    return row


def everything_dagster_keeps(system: System) -> str:
    """All its tables as text."""
    tables = system.ask("select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = 'dagster'")
    assert len(tables) > 10
    return "".join(str(system.ask(f"select t::text from {table} t")) for (table,) in tables)


def test_a_clean_file_is_done_and_run_again_nothing_changes(system: System) -> None:
    batch = system.batch([personal() for _ in range(12)])
    run = system.run(batch)
    charges, mails, ids = system.effects(batch)
    made = system.materialized(run)

    assert run.is_success
    assert system.ask("select state, reason from batches where batch_id = %s", batch) == [("done", None)]
    assert charges == mails == Counter(ids)
    assert len(ids) == 12
    assert system.checks(run) == {asset: dict.fromkeys(names, True) for asset, names in CHECKS.items()}
    assert set(made) == set(CHECKS)
    assert all(metadata["duration_seconds"] >= 0 for metadata in made.values())
    assert made["batch_report"]["rows_succeeded"] == 12
    assert made["payments"]["payments_done"] == 12
    report = system.files.batch_dir(batch) / "report"
    assert {path.name for path in report.iterdir()} == {
        "succeeded.csv",
        "failed.csv",
        "not_processed.csv",
        "errors.csv",
    }
    before = everything_that_happened(system)
    assert system.run(batch).is_success
    assert everything_that_happened(system) == before


def everything_that_happened(system: System) -> list[Any]:
    """In our tables and in the books of both services; not who held the batch last, nor that a run began and ended."""
    told = "(select * from audit_events where chain <> 'system' and event <> 'run:started')"
    tables = ("batches", "import_rows", "orders", "payments", "notifications", told, "effect_attempts")
    ours = [system.ask(f"select to_jsonb(t) - 'lease_epoch' - 'run_id' from {table} t order by 1") for table in tables]
    theirs = (s.rows("SELECT max(request_id) FROM requests") for s in (system.payments, system.notifications))
    return [*ours, *theirs]


def test_what_dagster_recorded_and_the_trail_lead_to_each_other(system: System) -> None:
    """Who launched the run, with which configuration, code and data: the same in the instance and in the trail."""
    batch = system.batch([order_row()])
    run = system.run(batch)
    [recorded] = dagster_history.of_batch(system.url, batch)
    [noted] = system.database.read(lambda tx: runs.of_run(tx, run.run_id))
    [traced] = trace(system.database, run.run_id)
    versions = {made["asset"]: made["versions"] for made in recorded["made"] if "asset" in made}

    assert (noted.batch_id, noted.launched_by, noted.job) == (batch, "cli:test", "process_batch")
    assert (recorded["run_id"], recorded["launched_by"]) == (noted.run_id, noted.launched_by)
    assert recorded["tags"][CODE_VERSION_TAG] == noted.code_version
    assert [told["run_id"] for told in traced["runs"]] == [run.run_id]
    assert noted.settings["BULK_ORDERS_MAX_ROWS"] == str(system.settings.max_file_rows)
    assert set(versions) == set(CHECKS)
    for name, tags in versions.items():
        assert tags["dagster/code_version"], name
        assert tags["dagster/data_version"].startswith(name), name


def test_a_mixed_file_is_partial_and_the_run_a_success(system: System) -> None:
    """Bad rows are the customer's business; the run did what it could, and the warnings say so."""
    named = f"{CANARY}-number"
    rows = [
        *(
            personal(order_number=named),
            personal(email="", order_number=f"{named}-2"),
            personal(amount=f"{CANARY}"),
            personal(),
        ),
        *(
            personal(order_number=""),
            [*personal(), f"{CANARY}-more"],
            personal()[:4],
            personal(email=f"{CANARY} no mail"),
        ),
    ]
    batch = system.batch(rows)
    first_order = system.ask("select last_value from orders_order_id_seq")[0][0] + 1
    system.payments.behave(fault_orders={"decline": [first_order]})
    run = system.run(batch)
    charges, mails, ids = system.effects(batch)
    checks = {name: passed for found in system.checks(run).values() for name, passed in found.items()}

    assert run.is_success
    assert system.ask("select state from batches where batch_id = %s", batch) == [("partial",)]
    assert ids[0] == first_order
    assert charges == mails == Counter(ids[1:])
    assert {name for name, passed in checks.items() if not passed} == {"all_rows_accepted", "all_orders_paid"}
    assert set(checks) == set().union(*CHECKS.values())
    made = system.materialized(run)
    assert (made["batch_report"]["rows_succeeded"], made["batch_report"]["rows_failed"]) == (1, 7)
    assert "ORD-EMAIL-MISSING" in made["validated_csv"]["faults"]


def test_a_repaired_file_is_a_batch_of_its_own_that_leads_to_its_parent_and_back(system: System) -> None:
    """In the run's tags, in the metadata of both partitions, and in the parent's report."""
    batch = system.batch([personal(order_number="P-1"), personal(order_number="P-2", amount="7")], "parent.csv")
    made = system.materialized(system.run(batch))["batch_report"]
    folder = system.files.report_dir(batch)
    rows = read_text(folder / "repair.csv", "utf-8")
    mends = mended(rows, {"P-2": {"amount": "700", "email": f"{CANARY}.2@example.jp"}})
    mended_file = write_text(folder / "mended.csv", mends, "utf-8")
    child = system.batch([], "mended.csv", content=mended_file.read_bytes())
    run = system.run(child)
    charges, mails, ids = system.effects(child)
    of_child = system.materialized(run)
    [told] = system.events(run, dg.DagsterEventType.ASSET_OBSERVATION)[:1]
    observation = told.asset_observation_data.asset_observation

    assert made["rows_to_repair"] == 1
    assert run.is_success
    assert charges == mails == Counter(ids)
    assert system.ask("select state from batches where batch_id = %s", child) == [("done",)]
    assert system.instance.get_run_by_id(run.run_id).tags["bulk_orders/parent_batch"] == batch
    assert of_child["validated_csv"]["parent_batch"] == of_child["batch_report"]["parent_batch"] == f"`{batch}`"
    assert (observation.partition, observation.metadata["child_batch"].value) == (batch, f"`{child}`")
    failed = read_text(folder / "failed.csv")
    assert [row[failed[0].index("repaired_by")] for row in failed[1:]] == [child]
    again = system.materialized(system.run(batch))["batch_report"]
    assert (again["child_batches"], again["rows_repaired"], again["rows_to_repair"]) == (f"`{child}`", 1, 0)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (csv_bytes([personal() for _ in range(21)]), "FILE-TOO-MANY-ROWS"),
        (csv_bytes([]), "FILE-NO-ROWS"),
        (csv_bytes([personal()]).replace(b"email", b"canary-mail"), "FILE-COLUMNS-MISSING"),
        (csv_bytes([personal()]) + "\ncanary,\u00e9".encode("latin-1"), "FILE-ENCODING"),
    ],
)
def test_a_refused_file_fails_the_run_with_its_code_and_makes_no_order(
    system: System, content: bytes, code: str
) -> None:
    batch = system.batch([], content=content)
    run = system.run(batch)
    failures = system.events(run, dg.DagsterEventType.STEP_FAILURE)

    assert not run.is_success
    assert system.ask("select state, reason from batches where batch_id = %s", batch) == [("refused", code)]
    assert system.ask("select count(*) from orders where batch_id = %s", batch) == [(0,)]
    assert system.ask("select count(*) from import_rows where batch_id = %s", batch) == [(0,)]
    assert code in str(failures[0].event_specific_data)
    assert system.materialized(run) == {}
    kept = system.settings.home / "quarantine" / "shop-a"
    notes = [path.read_text(encoding="utf-8-sig") for path in kept.glob("*.note.txt")]
    assert any(note.startswith(code) for note in notes)
    assert any(path.read_bytes() == content for path in kept.iterdir())


def test_a_refused_file_is_taken_again_when_it_comes_again(system: System) -> None:
    """What was in the way may have been a setting."""
    content = csv_bytes([order_row() for _ in range(22)])
    batch = system.batch([], content=content)
    system.run(batch)

    assert system.batch([], content=content) == batch
    assert system.ask("select state from batches where batch_id = %s", batch) == [("received",)]


def test_a_service_that_is_down_pauses_the_batch_and_fails_the_run(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor takes it up again; a run that did not finish is no success."""
    batch = system.batch([personal() for _ in range(14)])
    monkeypatch.setenv("BULK_ORDERS_PAUSE_SECONDS", "0.2")
    monkeypatch.setenv("PAYMENT_SERVICE_URL", "http://127.0.0.1:9")
    down = system.run(batch)
    at_rest = system.ask("select state, reason from batches where batch_id = %s", batch)
    monkeypatch.setenv("PAYMENT_SERVICE_URL", str(system.payments.http.base_url))
    system.ask("update breakers set probe_at = clock_timestamp() returning 1")
    up = system.run(batch)
    charges, mails, ids = system.effects(batch)

    assert not down.is_success
    assert at_rest == [("paused", "BATCH-PAUSED-PAYMENTS")]
    assert up.is_success
    assert charges == mails == Counter(ids)


def test_a_bug_of_ours_tells_its_place_and_nothing_of_the_row(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign exception's text may hold a customer's value."""
    from assets.created_orders import asset

    def broken(*_: object) -> None:
        raise ValueError(f"{CANARY}@example.jp is no number")

    batch = system.batch([personal()])
    monkeypatch.setattr(asset, "create_orders", broken)
    run = system.run(batch)
    failures = str([event.event_specific_data for event in system.events(run, dg.DagsterEventType.STEP_FAILURE)])

    assert not run.is_success
    assert "SYS-INTERNAL" in failures
    assert CANARY not in failures


def test_a_run_with_another_key_is_refused_before_it_reads_a_row(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    admitted_vault(system.settings, system.database)
    batch = system.batch([personal()])
    monkeypatch.setenv("BULK_ORDERS_ENCRYPTION_KEY", base64.b64encode(bytes(32)).decode())
    run = system.run(batch)

    assert not run.is_success
    assert system.ask("select state from batches where batch_id = %s", batch) == [("received",)]
    assert base64.b64encode(bytes(32)).decode() not in everything_dagster_keeps(system)


def test_the_file_is_gone_from_the_folder_and_its_copy_is_read_only(system: System) -> None:
    content = csv_bytes([order_row()])
    batch = system.batch([], name="五月.csv", content=content)
    archived = system.files.archived(batch)

    assert list((system.settings.watched_dir / "Shop A").iterdir()) == []
    assert archived is not None
    assert archived.read_bytes() == content
    assert archived.stat().st_mode & 0o777 == 0o400


def test_an_archive_that_was_changed_is_not_read(system: System) -> None:
    batch = system.batch([order_row()])
    archived = system.files.archived(batch)
    assert archived is not None
    archived.chmod(0o600)
    archived.write_bytes(csv_bytes([personal()]))
    run = system.run(batch)

    assert "FILE-ARCHIVE-CHANGED" in str(system.events(run, dg.DagsterEventType.STEP_FAILURE)[0].event_specific_data)
    assert system.ask("select count(*) from import_rows where batch_id = %s", batch) == [(0,)]


def test_a_file_that_is_none_is_refused_before_it_is_a_batch(system: System, tmp_path: Path) -> None:
    with pytest.raises(FileRefused):
        admit(system.database, system.files, tmp_path, "Shop A")
