"""A file of totals beside the orders: found by its name, checked before anything else, archived with the batch."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from domain.errors import FileRefused, TransientError
from domain.identity import client_slug
from orchestration import sensors
from orchestration.admission import Beside, admit
from orchestration.sensors import import_sensor
from orchestration.settings import Settings
from resources.batch_files import BatchFiles
from resources.client_profiles import ClientProfiles
from tests.integration.batches import Installation, csv_bytes, order_row

ROWS = [order_row(amount="1000"), order_row(amount="500")]


class Watched:
    """The import folder of one client as the sensor sees it, tick by tick."""

    def __init__(self, installation: Installation, **settings: Any) -> None:
        self.installation = installation
        self.home = installation.folder / "home"
        self.folder = self.home / "import" / "Shop A"
        self.folder.mkdir()
        self.settings = Settings(
            home=self.home,
            database_url=installation.url,
            encryption_key=installation.key,
            file_settle_seconds=0.0,
            **settings,
        )
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None

    def drop(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def profile(self, text: str) -> None:
        folder = self.home / "profiles"
        folder.mkdir(exist_ok=True)
        (folder / f"{client_slug('Shop A')}.yaml").write_text(text)

    def tick(self, times: int = 2) -> None:
        """A file is taken at the second look that finds it unchanged."""
        for _ in range(times):
            context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
            result: Any = import_sensor(self.settings)(context)
            self.cursor = result.cursor

    def lying(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def batches(self) -> list[tuple[Any, ...]]:
        return self.installation.execute("select batch_id, state, reason from batches order by created_at")

    def validate(self, batch: str) -> Any:
        on = self.installation
        profiles = ClientProfiles(self.home / "profiles")
        return validate_batch(on.database, on.vault, on.files, batch, ReadingLimits(), profiles)

    def aside(self, kind: str, client: str = "Shop A") -> list[str]:
        folder = self.home / kind / client
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def watched(installation: Installation) -> Watched:
    return Watched(installation)


@pytest.mark.parametrize("first", ["orders", "totals"])
def test_whichever_comes_first_they_are_taken_together(watched: Watched, first: str):
    watched.profile("totals: required")
    pair = {"orders": ("orders.csv", csv_bytes(ROWS)), "totals": ("orders.csv.totals", "件数: 2\n金額: 1,500円\n")}
    watched.drop(*pair.pop(first))
    watched.tick()
    before = watched.batches(), len(watched.lying())
    watched.drop(*pair.popitem()[1])
    watched.tick()
    [(batch, state, _)] = watched.batches()
    archived = watched.installation.files.archived_totals(batch)
    found = watched.validate(batch)

    assert before == ([], 1)
    assert (watched.lying(), state) == ([], "received")
    assert archived is not None
    assert archived.read_text() == "件数: 2\n金額: 1,500円\n"
    assert found.books.batch.reading["beside"] == {"rows": 2, "jpy": 1_500, "count_of": "either"}
    assert "declared beside it: 2 rows, 1,500 jpy" in found.reading()


def test_files_that_wait_keep_no_other_waiting(installation: Installation):
    watched = Watched(installation, files_per_tick=1)
    watched.profile("totals: required")
    watched.drop("first.csv", csv_bytes(ROWS))
    watched.drop("second.csv", csv_bytes(ROWS))
    other = watched.home / "import" / "other"
    other.mkdir()
    (other / "orders.csv").write_bytes(csv_bytes([order_row(order_number="B-1")]))
    os.utime(other / "orders.csv", (time.time() + 60, time.time() + 60))  # looked at last
    watched.tick()

    assert watched.lying() == ["first.csv", "second.csv"]
    assert [state for _, state, _ in watched.batches()] == ["received"]


def test_a_file_that_nobody_can_make_sense_of_keeps_no_other_waiting(watched: Watched, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> Beside:
        raise LookupError("what nobody thought of")

    watched.drop("orders.csv", csv_bytes(ROWS))
    monkeypatch.setattr(sensors, "beside_dropped", broken)
    watched.tick()
    lying = watched.lying()
    monkeypatch.undo()
    watched.tick()

    assert (lying, watched.lying(), len(watched.batches())) == (["orders.csv"], [], 1)


def test_without_it_the_file_waits_and_is_then_refused(installation: Installation):
    watched = Watched(installation, totals_wait_seconds=0.5)
    watched.profile("totals: required")
    watched.drop("orders.csv", csv_bytes(ROWS))
    watched.tick()
    waiting = watched.lying(), watched.batches()
    time.sleep(0.6)
    watched.tick()

    assert waiting == (["orders.csv"], [])
    assert watched.lying() == []
    assert [found[1:] for found in watched.batches()] == [("refused", "FILE-SIDE-MISSING")]
    assert watched.aside("quarantine") == ["orders.csv", "orders.csv.note.txt"]
    note = (watched.home / "quarantine" / "Shop A" / "orders.csv.note.txt").read_text(encoding="utf-8-sig")
    assert "orders.csv.totals" in note


def test_a_file_that_was_taken_away_is_not_looked_for_under_its_name(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
):
    """By then another may have it: that one is taken at the next look, not set aside."""
    watched = Watched(installation)
    watched.drop("orders.csv", csv_bytes(ROWS))
    digest = BatchFiles.digest

    def gone(files: BatchFiles, path: Path) -> bytes:
        monkeypatch.setattr(BatchFiles, "digest", digest)
        path.unlink()
        try:
            return digest(files, path)
        finally:
            path.write_bytes(csv_bytes(ROWS[:1]))

    monkeypatch.setattr(BatchFiles, "digest", gone)
    watched.tick()
    after = watched.lying(), watched.batches(), watched.aside("quarantine")
    watched.tick()

    assert after == (["orders.csv"], [], [])
    assert [found[1] for found in watched.batches()] == ["received"]


def test_refused_for_it_the_same_file_is_taken_when_both_come(installation: Installation):
    watched = Watched(installation, totals_wait_seconds=0.1)
    watched.profile("totals: required")
    watched.drop("orders.csv", csv_bytes(ROWS))
    time.sleep(0.2)
    watched.tick()
    watched.drop("orders.csv", csv_bytes(ROWS))
    watched.drop("orders.csv.totals", "rows: 2")
    watched.tick()
    [(batch, state, reason)] = watched.batches()

    assert (state, reason) == ("received", None)
    assert watched.validate(batch).books.rows_accepted == 2


@pytest.mark.parametrize(
    ("said", "code", "facts"),
    [
        ("rows: 3", "FILE-SIDE-ROWS", {"declared": 3, "found": 2}),
        ("rows: 2\namount: 1501", "FILE-SIDE-YEN", {"declared": "1,501", "found": "1,500"}),
        ("rows: two", "FILE-SIDE-UNREADABLE", {"line": 1}),
    ],
)
def test_totals_that_differ_refuse_the_whole_file_with_both_numbers(
    watched: Watched, said: str, code: str, facts: dict[str, object]
):
    """Nothing is stored; corrected totals beside the same file take it after all."""
    watched.drop("orders.csv", csv_bytes(ROWS))
    watched.drop("orders.csv.totals", said)
    watched.tick()
    [(batch, _, _)] = watched.batches()
    with pytest.raises(FileRefused) as refused:
        watched.validate(batch)
    stored = watched.installation.execute("select count(*) from import_rows")
    watched.drop("orders.csv", csv_bytes(ROWS))
    watched.drop("orders.csv.totals", "rows: 2\namount: 1500")
    watched.tick()

    assert (refused.value.code, refused.value.facts) == (code, facts)
    assert stored == [(0,)]
    assert "orders.csv" in watched.aside("quarantine", "shop-a")
    assert watched.lying() == []
    assert watched.validate(batch).books.rows_accepted == 2


def test_several_are_a_question_and_both_go_with_the_file(watched: Watched):
    watched.drop("orders.csv", csv_bytes(ROWS))
    watched.drop("orders.csv.totals", "rows: 2")
    watched.drop("orders.totals.txt", "rows: 3")
    watched.tick()

    assert [found[1:] for found in watched.batches()] == [("refused", "FILE-SIDE-SEVERAL")]
    assert watched.lying() == []
    assert {"orders.csv", "orders.csv.totals", "orders.totals.txt"} <= set(watched.aside("quarantine"))


def test_left_alone_it_is_set_aside_after_a_while_and_said_so(installation: Installation):
    watched = Watched(installation, totals_wait_seconds=0.5)
    watched.drop("orders.csv.totals", "rows: 2")
    watched.tick()
    waiting = watched.lying()
    time.sleep(0.6)
    watched.tick()

    assert waiting == ["orders.csv.totals"]
    assert watched.lying() == []
    assert watched.batches() == []
    assert watched.aside("quarantine") == ["orders.csv.totals", "orders.csv.totals.note.txt"]


def test_a_repaired_file_needs_none(watched: Watched):
    """It has some rows of a file that was checked."""
    watched.profile("totals: required")
    watched.drop(
        "fehler.csv",
        csv_bytes(ROWS, [*["order_number", "customer_name", "email", "item_name", "amount"], "x", "repair_key"]),
    )
    watched.tick()

    assert watched.lying() == []
    assert len(watched.batches()) == 1


def test_killed_between_the_two_copies_nothing_is_lost_and_nothing_needed_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
):
    """At every step of taking a pair: the next look finds what is left and comes to the same end."""
    calls: list[str] = []

    class Killed(BaseException):
        pass

    def dying(at: int) -> None:
        original, count = os.rename, iter(range(100))

        def rename(*arguments: Any, **more: Any) -> None:
            if next(count) == at:
                raise Killed
            calls.append("rename")
            original(*arguments, **more)

        monkeypatch.setattr(os, "rename", rename)

    watched.profile("totals: required")
    for at in range(12):
        calls.clear()
        name = f"orders{at}.csv"
        watched.drop(name, csv_bytes([order_row()]))
        watched.drop(f"{name}.totals", "rows: 1")
        watched.tick(1)
        dying(at)
        try:
            watched.tick(1)
        except Killed:
            pass
        else:
            monkeypatch.undo()
            break
        monkeypatch.undo()
        watched.tick(2)
        newest = watched.batches()[-1][0]

        assert watched.lying() == []
        assert watched.installation.files.archived(newest) is not None
        assert watched.installation.files.archived_totals(newest) is not None
        assert watched.validate(newest).books.rows_accepted == 1
    assert at >= 3  # it was killed at every rename of a look


def test_what_may_still_come_is_waited_for_before_anything_is_written(installation: Installation):
    path = installation.write([order_row()])
    for may_come, error in ((True, TransientError), (False, FileRefused)):
        with pytest.raises(error, match="FILE-SIDE-"):
            admit(
                installation.database,
                installation.files,
                path,
                "shop",
                keep_original=True,
                beside=Beside((), required=True, may_come=may_come),
            )
        assert installation.execute("select count(*) from batches") == [(0 if may_come else 1,)]
