"""Eight years in a minute: months pass by a clock that the test sets, and every step is killed once.

The clock of what is kept by the month is one function of the database (``moment``); a test puts its own in its place.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from audit import retention
from audit.anchoring import make_anchor
from audit.cold_export import read_rows
from audit.pack.making import Archive, pack
from audit.retention import Keeping
from audit.verification import Verification, verify
from domain.errors import BulkOrdersError, FileRefused, OperationRefused, TerminalError
from domain.identity import client_slug
from domain.retention import Category, RetentionRules, Step
from orchestration import bindings
from orchestration.settings import Settings
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import open_signing_key, trusted_keys
from resources.cold_store import ColdPlace, ColdStore
from resources.database import retention as kept
from resources.database import roles
from resources.database.connection import Actor
from resources.database.database import Database
from tests.integration.batches import Installation, order_row

_CLOCK = "create or replace function bulk_orders.moment() returns timestamptz language sql volatile as $$ select {} $$"


_WARM = """select c.relname from pg_class c join pg_tablespace t on t.oid = c.reltablespace
           where t.spcname = 'warm_of_the_test' and c.relkind = 'r'"""


class Life:
    """An installation whose months pass as the test says."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.database = installation.database
        home = installation.folder / "home"
        self.settings = Settings(
            home=home, database_url=installation.url, retention_trail="3/4/8", retention_attempts="3/4/8"
        )
        self.at = datetime.now(UTC)

    def begin(self, year: int, month: int) -> None:
        """Life begins in this month: those of the day on which the test runs are taken away, unseen."""
        before = self.database.read(lambda tx: kept.months(tx, Category.TRAIL))
        for trigger in ("schema", "drops"):
            self.installation.execute(f"alter event trigger bulk_orders_audit_{trigger} disable")
        self.go_to(year, month)
        for made, _ in before:
            for table in ("audit_events", "effect_attempts"):
                self.installation.execute(f"drop table {table}_{made:%Y_%m}")
        for trigger in ("schema", "drops"):
            self.installation.execute(f"alter event trigger bulk_orders_audit_{trigger} enable")

    def go_to(self, year: int, month: int, day: int = 15) -> None:
        """It is noon of that day; the months until then were made in time."""
        then = datetime(year, month, day, 12, tzinfo=UTC)
        since = self.at if self.at < then and then.year - self.at.year < 2 else then
        months = (then.year - since.year) * 12 + then.month - since.month + 3
        self.installation.execute("select make_partitions(%s, %s)", since, months)
        self.at = then
        self.installation.execute(_CLOCK.format(f"timestamptz '{then.isoformat()}'"))

    def month(self, batch: str) -> None:
        """What a month leaves in the trail: of a batch, and of the system."""
        append = "select audit_append(%s, 'test:event', null, array[1, 2], 100, sha256('x'))"
        self.installation.execute(append, batch)
        self.installation.execute(append, "system")

    def anchor(self) -> None:
        make_anchor(self.database, AnchorFolder(self.settings.anchors_dir), self.key)

    @property
    def key(self) -> Any:
        return open_signing_key(self.settings.signing_key_file)

    @property
    def keeping(self) -> Keeping:
        return bindings.keeping(self.settings, self.at)

    @property
    def cold(self) -> Path:
        return self.settings.home / "cold"

    def run(self, keeping: Keeping | None = None) -> list[str]:
        """What was done, and what failed."""
        done = retention.run(self.database, keeping or self.keeping)
        assert [one.failed for one in done if one.failed] == []
        return [f"{one.step.work} {one.step.subject}" for one in done if one.step.kept_by is None]

    def plan(self, at: datetime | None = None, rules: RetentionRules | None = None) -> list[Step]:
        files = self.installation.files
        wanted = rules or self.settings.retention_rules
        found = self.database.read(lambda tx: retention.plan(tx, wanted, at or self.at, files))
        return list(found)

    def verified(self) -> Verification:
        keys = trusted_keys(self.settings.signing_key_file)
        return verify(self.database, AnchorFolder(self.settings.anchors_dir), keys, None, self.keeping.store)

    def faults(self) -> list[tuple[str, str]]:
        return [(fault.kind.value, fault.about) for fault in self.verified().faults]

    def events(self, like: str = "retention:%") -> list[tuple[Any, ...]]:
        return self.installation.execute(
            "select event, reason from audit_events where event like %s order by seq", like
        )


@pytest.fixture
def life(installation: Installation) -> Life:
    return Life(installation)


@pytest.fixture
def old(life: Life) -> Life:
    """Three months of events, the first of which is to leave the database."""
    life.begin(2030, 1)
    for month in (1, 2, 3):
        life.go_to(2030, month)
        life.month("batch-1")
    life.anchor()
    life.go_to(2030, 6, 20)  # four months after the end of January
    return life


def test_a_trail_lives_eight_years(life: Life) -> None:
    """A batch every half year, anchored each time; the work of the nights between is done then."""
    life.settings = replace(life.settings, retention_trail="12/36/96", retention_attempts="120/120/120")
    work: list[str] = []
    life.begin(2030, 1)
    months = [(2030 + n // 12, n % 12 + 1) for n in range(0, 109, 6)]
    for year, month in months:
        life.go_to(year, month)
        work += life.run()
        life.month(f"batch-{year}-{month:02}")
        life.anchor()
    found = life.verified()
    there = {month for month, _ in life.database.read(lambda tx: kept.months(tx, Category.TRAIL))}
    exports = life.database.read(kept.exports)

    assert found.faults == ()
    assert found.anchors == len(months)
    # January 2039: 36 months are in the database, five years in cold storage, and the first ones are gone.
    assert min(there) == date(2036, 1, 1)
    gone = sorted(found.month for found in exports if found.destroyed and found.category is Category.TRAIL)
    assert (gone[0], gone[-1]) == (date(2030, 1, 1), date(2030, 12, 1))
    assert len(gone) == 12
    assert all(found.dropped for found in exports)
    files = sorted(path.name for path in life.cold.rglob("*.parquet"))
    assert len(files) == len([found for found in exports if not found.destroyed])
    assert len(list(life.cold.rglob("*.manifest"))) == len(exports)  # what was destroyed is still accounted for
    assert work.count("export audit_events_2030_01") == work.count("drop audit_events_2030_01") == 1
    [(digest,)] = life.installation.execute(
        "select encode(sha256(convert_to(manifest, 'UTF8')), 'hex') from exports "
        "where partition = 'audit_events_2030_04'"
    )
    told = life.installation.execute(
        "select encode(facts, 'hex') from audit_events where event = 'retention:destroyed' and reason = %s",
        "audit_events_2030_04",
    )
    assert told == [(digest,)]
    # A second time there is nothing to do.
    assert life.run() == []


def test_an_exported_month_is_what_the_database_held(old: Life) -> None:
    before = old.installation.execute("select chain, seq, encode(hash, 'hex') from audit_events_2030_01 order by 1, 2")
    done = old.run()
    [path] = (old.cold / "trail" / "2030").glob("audit_events_2030_01-*.parquet")
    rows = [(row[0], int(str(row[1])), row[12]) for row in read_rows(path)]

    assert rows == before
    assert {"export audit_events_2030_01", "drop audit_events_2030_01"} <= set(done)
    assert path.stat().st_mode & 0o777 == 0o400
    assert old.faults() == []
    assert old.installation.execute("select to_regclass('audit_events_2030_01') is null") == [(True,)]


def test_no_pack_is_made_of_a_batch_whose_first_months_are_cold(old: Life, tmp_path: Path) -> None:
    keys = trusted_keys(old.settings.signing_key_file)
    archive = Archive(old.installation.files, AnchorFolder(old.settings.anchors_dir), old.key, keys)
    old.run()

    with pytest.raises(TerminalError, match="AUDIT-PACK-COLD") as refused:
        pack(old.database, archive, "batch-1", [], tmp_path / "pack.zip")
    assert refused.value.facts["partition"] == "audit_events_2030_01"
    assert list(tmp_path.glob("*.zip*")) == []


def test_warm_months_move_to_other_disks_once_and_are_verified_there(old: Life) -> None:
    with psycopg.connect(old.installation.url, autocommit=True) as connection:
        connection.execute("set allow_in_place_tablespaces = on")
        connection.execute("create tablespace warm_of_the_test location ''")
        connection.execute("grant create on tablespace warm_of_the_test to bulk_orders_owner")
    try:
        old.settings = replace(old.settings, retention_trail="3/9/18", warm_tablespace="warm_of_the_test")
        done = [one for one in old.run() if "audit_events" in one]

        assert done == ["warm audit_events_2030_01", "warm audit_events_2030_02"]
        assert {"audit_events_2030_01", "audit_events_2030_02"} <= {name for (name,) in old.installation.execute(_WARM)}
        assert old.faults() == []
        assert [one for one in old.run() if "audit_events" in one] == []
    finally:
        for (table,) in old.installation.execute(_WARM):
            old.installation.execute("select warm_partition(%s, 'pg_default')", table)
        with psycopg.connect(old.installation.url, autocommit=True) as connection:
            connection.execute("drop tablespace warm_of_the_test")


def test_killed_anywhere_nothing_is_lost_and_the_next_run_ends_it(old: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """A month for each place; killed before the step and after it, then another life does the rest."""
    places = ["put", "fetch", "put_text", "record_export", "drop_exported", "digest"]
    old.run()
    for number, place in enumerate(places, start=7):
        old.go_to(2030, number, 20)
        month = f"audit_events_2030_{number - 5:02}"
        of: Any = kept if place in ("record_export", "drop_exported") else ColdStore
        original = getattr(of, place)

        for after in (False, True):

            def killed(*arguments: Any, after: bool = after, original: Any = original, **more: Any) -> Any:
                if after:
                    original(*arguments, **more)
                raise KeyboardInterrupt

            with monkeypatch.context() as broken:
                broken.setattr(of, place, killed)
                with pytest.raises(KeyboardInterrupt):
                    retention.run(old.database, old.keeping)
            assert old.faults() == [], place
        old.run()

        assert old.faults() == []
        exported = {found.partition: found.dropped for found in old.database.read(kept.exports)}
        assert exported[month] is True
        assert len(list(old.cold.rglob(f"{month}-*.parquet"))) == 1
        told = [event for event, reason in old.events() if reason == month]
        assert told == ["retention:exported", "retention:dropped"], place


def test_a_killed_destruction_is_ended_and_nobody_misses_the_file(old: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    old.run()
    old.go_to(2030, 10)
    with monkeypatch.context() as broken:
        broken.setattr(ColdStore, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            retention.run(old.database, old.keeping)
    begun = [event for event, reason in old.events() if reason == "audit_events_2030_01"]
    old.run()

    assert begun[-1] == "retention:destroying"
    ended = [event for event, reason in old.events() if reason == "audit_events_2030_01"]
    assert ended[-1] == "retention:destroyed"
    assert list(old.cold.rglob("audit_events_2030_01-*.parquet")) == []
    assert old.faults() == []


def test_what_went_to_cold_storage_is_missed_by_its_name_when_it_is_gone_or_changed(old: Life) -> None:
    old.run()
    [file] = (old.cold / "trail" / "2030").glob("audit_events_2030_01-*.parquet")
    manifest = file.with_suffix(".manifest")
    content, text = file.read_bytes(), manifest.read_text()
    verdicts = {}
    for what, path, spoilt in (
        ("cut", file, content[:-1]),
        ("changed", file, content[:50] + b"x" + content[51:]),
        ("no file", file, None),
        ("manifest", manifest, text.replace('"rows"', '"rowz"').encode()),
        ("manifest, no text any more", manifest, b"\xff" + text.encode()[1:]),
        ("no manifest", manifest, None),
    ):
        path.chmod(0o600)
        path.unlink() if spoilt is None else path.write_bytes(spoilt)
        verdicts[what] = old.faults()
        file.write_bytes(content)
        manifest.write_text(text)
        file.chmod(0o600)

    altered, missing = (
        ("AUDIT-EXPORT-ALTERED", "audit_events_2030_01"),
        ("AUDIT-EXPORT-MISSING", "audit_events_2030_01"),
    )
    assert verdicts == {
        "cut": [altered],
        "changed": [altered],
        "no file": [missing],
        "manifest": [altered],
        "manifest, no text any more": [altered],
        "no manifest": [missing],
    }
    assert old.faults() == []
    past_guards = "-c search_path=bulk_orders -c event_triggers=off"
    with psycopg.connect(old.installation.url, autocommit=True, options=past_guards) as connection:
        connection.execute("alter table audit_events disable trigger all")
        connection.execute("drop table audit_events_2030_02")
    assert ("AUDIT-PARTITION-MISSING", "audit_events_2030_02") in old.faults()


def test_a_month_is_not_dropped_while_its_file_is_not_what_was_signed(
    old: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(kept, "drop_exported", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            retention.run(old.database, old.keeping)
    for path in old.cold.rglob("*.parquet"):
        path.chmod(0o600)
        path.write_bytes(b"x")
    done = retention.run(old.database, old.keeping)

    assert any("SYS-EXPORT-DIFFERS" in str(one.failed) for one in done)
    assert old.installation.execute("select to_regclass('audit_events_2030_01') is not null") == [(True,)]


def test_a_month_with_a_broken_chain_is_not_moved(old: Life) -> None:
    with psycopg.connect(old.installation.url, autocommit=True, options="-c search_path=bulk_orders") as connection:
        connection.execute("alter table audit_events disable trigger audit_append_only")
        connection.execute("update audit_events set actor = 'x' where chain = 'batch-1' and seq = 1")
        connection.execute("alter table audit_events enable always trigger audit_append_only")
    done = retention.run(old.database, old.keeping)

    assert any("SYS-EXPORT-BROKEN" in str(one.failed) for one in done)
    assert old.database.read(kept.exports) == [
        found for found in old.database.read(kept.exports) if found.category is Category.ATTEMPTS
    ] or all(found.partition != "audit_events_2030_01" for found in old.database.read(kept.exports))


def test_the_role_of_the_application_can_do_all_of_it_and_no_more(old: Life) -> None:
    """The schedule runs as this role."""
    password = roles.new_password()
    roles.make_application_login(old.installation.url, password)
    address = make_url(old.installation.url).set(username=roles.APPLICATION_LOGIN, password=password)
    database = Database(address.render_as_string(hide_password=False), Actor("schedule:keep_records_daily"))
    try:
        old.database = database
        assert "drop audit_events_2030_01" in old.run()
        old.go_to(2030, 10)
        assert "destroy audit_events_2030_01" in old.run()
        assert old.faults() == []
        for statement in ("delete from audit_events", "delete from exports", "drop table audit_events_2030_07"):
            with pytest.raises(BulkOrdersError):
                database.run(lambda tx, s=statement: tx.execute(text(s)))
    finally:
        database.dispose()


# -- guards ------------------------------------------------------------------------------------------------------------


def test_a_partition_is_reached_through_its_table_alone(life: Life) -> None:
    """Also one that was made later, by a session that plays replica, as its owner."""
    [(first, _), *_] = life.database.read(lambda tx: kept.months(tx, Category.TRAIL))
    life.installation.execute("select make_partitions(%s, 1)", datetime(2031, 5, 1, tzinfo=UTC))
    options = "-c search_path=bulk_orders -c session_replication_role=replica"
    refused = []
    with psycopg.connect(life.installation.url, autocommit=True, options=options) as connection:
        for table in ("audit_events", "effect_attempts"):
            for name in (f"{table}_{first:%Y_%m}", f"{table}_2031_06"):
                for statement in (
                    "truncate {0}",
                    "delete from {0}",
                    "update {0} set reason = 'x'",
                    "insert into {0} table {0}",
                ):
                    with pytest.raises(psycopg.Error) as error:
                        connection.execute(statement.format(name).encode())
                    refused.append(error.value.sqlstate)
            with pytest.raises(psycopg.Error):
                connection.execute(f"truncate {table}".encode())

    assert refused == ["BO002"] * 16


def test_only_a_month_that_is_over_and_exported_can_be_dropped(old: Life) -> None:
    refused = "select drop_exported('audit_events_2030_02')"
    with pytest.raises(psycopg.Error) as unknown:
        old.installation.execute(refused)
    old.installation.execute(
        "insert into exports (partition, category, month, rows, manifest, signature)"
        " values ('audit_events_2030_02', 'trail', '2030-02-01', 1, '{}', '')"
    )
    with pytest.raises(psycopg.Error) as other_rows:
        old.installation.execute(refused)

    assert {unknown.value.sqlstate, other_rows.value.sqlstate} == {"BO003"}
    assert ("AUDIT-EXPORT-ALTERED", "audit_events_2030_02") in old.faults()
    for change in ("delete from exports", "update exports set manifest = 'x'", "truncate exports cascade"):
        with pytest.raises(psycopg.Error):
            old.installation.execute(change)


def test_time_never_goes_back_within_a_chain(life: Life) -> None:
    """The clock of the machine was set back over the end of a month: the chain stays in the later one."""
    life.begin(2031, 4)
    life.go_to(2031, 5, 1)
    life.month("b")
    life.go_to(2031, 4, 30)
    life.month("b")
    life.month("c")

    months = life.installation.execute(
        "select chain, to_char(at, 'MM') from audit_events where chain in ('b', 'c') order by 1, seq"
    )
    assert months == [("b", "05"), ("b", "05"), ("c", "04")]
    assert life.faults() == []


# -- holds, batches, commands ------------------------------------------------------------------------------------------


def hold(life: Life, scope: str, subject: str) -> int:
    return life.database.run(lambda tx: kept.set_hold(tx, scope, subject, "a lawsuit"))


def test_a_hold_keeps_what_it_names_until_it_is_lifted(old: Life) -> None:
    for scope, subject in (("batch", "batch-1"), ("category", "trail")):
        number = hold(old, scope, subject)
        assert hold(old, scope, subject) == number
        held = {step.subject: step.kept_by for step in old.plan() if step.category is Category.TRAIL}
        assert held["audit_events_2030_01"] == f"hold-{number}"
        assert "export audit_events_2030_01" not in old.run()
        old.database.run(lambda tx, n=number: kept.lift_hold(tx, n, "cli:hanako"))
        with pytest.raises(OperationRefused):
            old.database.run(lambda tx, n=number: kept.lift_hold(tx, n, "cli:hanako"))
    assert "drop audit_events_2030_01" in old.run()
    number = hold(old, "batch", "batch-1")
    old.go_to(2030, 10)
    assert "destroy audit_events_2030_01" not in old.run()
    assert list(old.cold.rglob("audit_events_2030_01-*.parquet")) != []
    with pytest.raises(psycopg.Error):
        old.installation.execute("delete from legal_holds")
    assert [event for event, _ in old.events("hold:%")] == ["hold:set", "hold:lifted"] * 2 + ["hold:set"]


def test_personal_data_and_files_of_an_old_batch_go_and_the_batch_stays(life: Life) -> None:
    batch, client_held = life.installation.ordered(1), life.installation.ordered(1, client="other")
    for name in (batch, client_held):
        life.installation.execute("update batches set state = 'partial', finished_at = now() where batch_id = %s", name)
    hold(life, "client", "other")
    life.settings = replace(Settings(home=life.settings.home), retention_personal_months=2, retention_files_months=4)
    life.at = datetime.now(UTC).replace(year=datetime.now(UTC).year + 1)
    keeping = replace(life.keeping, sheets=life.installation.sheets)
    done = life.run(keeping)

    assert [one for one in done if batch in one] == [f"empty {batch}"] * 2
    assert not any(client_held in one for one in done)
    assert life.installation.files.archived(batch) is None
    assert life.installation.files.archived(client_held) is not None
    assert life.installation.sheets.of_batch(batch) == []
    assert life.installation.order_ids(batch) != []
    told = life.installation.execute(
        "select event, reason from audit_events where chain = %s and event like 'retention:%%'", batch
    )
    assert told == [
        ("retention:destroying", "personal"),
        ("retention:destroyed", "personal"),
        ("retention:destroying", "files"),
        ("retention:destroyed", "files"),
    ]
    assert life.run(keeping) == []


def test_files_that_were_set_aside_go_when_their_time_is_over(life: Life) -> None:
    def aside(client: str) -> set[str]:
        folders = (life.installation.files.home / kind / client for kind in ("duplicates", "quarantine"))
        return {path.name for folder in folders if folder.exists() for path in folder.iterdir()}

    folders = ("shop", "Held & Söhne", "Its Batch")
    for client in folders:
        dropped = life.installation.files.import_dir / client / "名簿.csv"
        dropped.parent.mkdir(parents=True)
        dropped.write_bytes(b"x")
        os.utime(dropped, (0, 0))  # as old as its sender's clock says
        life.installation.files.quarantine(dropped, client, FileRefused("FILE-UNREADABLE"))
    hold(life, "client", client_slug("Held & Söhne"))
    hold(life, "batch", life.installation.admitted(life.installation.write([order_row()]), "Its Batch"))
    life.settings = replace(Settings(home=life.settings.home), retention_files_months=4)

    assert life.run() == []
    life.at = datetime.now(UTC).replace(day=1, year=datetime.now(UTC).year + 1)
    assert {step.subject: step.kept_by is None for step in life.plan() if step.subject in folders} == {
        "shop": True,
        "Held & Söhne": False,
        "Its Batch": False,
    }
    assert life.run() == ["clear shop"]
    assert aside("shop") == set()
    for client in folders[1:]:
        assert aside(client) == {"名簿.csv", "名簿.csv.note.txt"}
    told = life.installation.execute("select event, reason from audit_events where event like 'retention:clear%%'")
    assert told == [("retention:clearing", "files shop"), ("retention:cleared", "files shop 2")]
    assert life.run() == []


def test_what_is_held_after_it_was_planned_stays_and_is_said_to_be_kept(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch and what was set aside: a hold that is told of is never too late."""
    batch = life.installation.ordered(1)
    life.installation.execute("update batches set state = 'partial', finished_at = now() where batch_id = %s", batch)
    life.installation.files.quarantine(
        life.installation.write([order_row()], "名簿.csv"), "shop", FileRefused("FILE-UNREADABLE")
    )
    life.settings = replace(Settings(home=life.settings.home), retention_personal_months=2, retention_files_months=4)
    life.at = datetime.now(UTC).replace(day=1, year=datetime.now(UTC).year + 1)
    planned = life.plan()
    number = hold(life, "client", "shop")
    monkeypatch.setattr(retention, "plan", lambda *_: planned)
    keeping = replace(life.keeping, sheets=life.installation.sheets)
    before = sorted(life.installation.files.home.rglob("*"))

    done = retention.run(life.database, keeping)

    assert {step.work.value for step in planned if step.kept_by is None} >= {"empty", "clear"}
    assert {one.step.kept_by for one in done if one.step.subject in (batch, "shop")} == {f"hold-{number}"}
    assert sorted(life.installation.files.home.rglob("*")) == before
    assert life.installation.sheets.of_batch(batch) != []
    assert life.events("retention:%") == []


def test_a_store_that_is_away_or_unknown_gets_one_clear_error(old: Life, tmp_path: Path) -> None:
    file = tmp_path / "no folder"
    file.write_text("a file where the folder should be")
    away = replace(old.keeping, store=ColdStore(ColdPlace(str(file / "cold"))))
    done = retention.run(old.database, away)
    with pytest.raises(BulkOrdersError) as unknown:
        ColdStore(ColdPlace("nosuch://bucket/x")).digest("a")

    assert any("SYS-COLD-STORE" in str(one.failed) for one in done)
    assert unknown.value.code == "SYS-COLD-LIBRARY-MISSING"
    assert old.faults() == []


def test_another_file_system_of_fsspec_serves_as_cold_storage(old: Life) -> None:
    store = ColdStore(ColdPlace(f"memory://cold-{id(old)}"))
    old.run(replace(old.keeping, store=store))
    keys = trusted_keys(old.settings.signing_key_file)
    found = verify(old.database, AnchorFolder(old.settings.anchors_dir), keys, None, store)

    assert found.faults == ()
    assert {fault.kind.value for fault in old.verified().faults} == {"AUDIT-EXPORT-MISSING"}
