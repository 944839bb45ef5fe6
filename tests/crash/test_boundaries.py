"""The borders at which workers kill themselves are where their names say, and a kill is a kill."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from evidence.boundaries import call_label, statement_label
from evidence.scenario import EvidenceBatch, Ground, Scenario
from resources.local import children


@pytest.fixture(scope="module")
def place(ground: Ground) -> Iterator[Scenario]:
    """A service without keys: what was sent twice would show twice."""
    with ground.scenario("look_up_only", seed=1) as scenario:
        yield scenario


@pytest.fixture
def batch(place: Scenario) -> EvidenceBatch:
    """Two orders, one call at a time: the borders come in one order only."""
    return place.batch(rows=2, bad_rows=0, concurrency=1)


def passed_by(batch: EvidenceBatch) -> list[str]:
    """The points of an undisturbed life."""
    trace = batch.folder / "trace"
    assert batch.begin(trace=trace).wait(60) == 0, batch.reason()
    return trace.read_text(encoding="utf-8").splitlines()


def killed_at(batch: EvidenceBatch, point: str) -> list[str]:
    """The points of a life that kills itself, the last one included."""
    trace = batch.folder / "trace"
    assert batch.begin(kill={point}, trace=trace).wait(60) == -signal.SIGKILL
    return trace.read_text(encoding="utf-8").splitlines()


def charges(place: Scenario, batch: EvidenceBatch) -> int:
    """What the service has taken for this batch's rows, by amount."""
    amounts = [row["amount_jpy"] for row in batch.made.manifest["rows"]]
    with closing(sqlite3.connect(place.payments.ledger)) as ledger:
        places = ",".join("?" * len(amounts))
        query = f"select count(*) from charges where amount_jpy in ({places})"
        return int(ledger.execute(query, amounts).fetchone()[0])


def orders(place: Scenario, batch: EvidenceBatch) -> int:
    """Orders of this batch in the database."""
    query = "select count(*) from orders join batches using (batch_id) where file_sha256 = %s"
    return int(place.execute(query, bytes.fromhex(batch.made.manifest["sha256"]))[0][0])


def test_every_stage_and_every_kind_of_border_is_seen(batch: EvidenceBatch):
    """What is not instrumented is not crashed at: a stage or a border that vanishes from here must be noticed."""
    points = {tuple(point.split("|")) for point in passed_by(batch)}

    seen = {(stage, border) for stage, border, *_ in points}
    assert seen >= {
        ("archive", "file"), ("archive", "sql"), ("archive", "commit"), ("validated_csv", "copy"),
        ("created_orders", "commit"), ("effects", "sql"), ("effects", "commit"), ("effects", "copy"),
        ("effects", "http"), ("batch_report", "file"), ("batch_report", "commit"),
    }  # fmt: skip
    assert {phase for _, border, _, phase, _ in points if border == "http"} == {"before", "sent", "answered", "read"}
    assert {"rename", "fsync", "open", "unlink", "mkdir", "chmod"} <= {
        label.split()[0] for _, border, label, *_ in points if border == "file"
    }


def test_a_worker_dies_at_the_point_that_was_named(place: Scenario, batch: EvidenceBatch):
    point = "effects|http|POST /api/v1/payments|before|2"

    points = killed_at(batch, point)

    assert points[-1] == f"{point}\tKILLED"
    assert charges(place, batch) == 1


def test_a_worker_dies_at_the_first_point_that_nobody_knows(place: Scenario, batch: EvidenceBatch):
    known = {point for point in passed_by(place.batch(rows=2, bad_rows=0, concurrency=1)) if "|http|" not in point}
    trace = batch.folder / "trace"

    assert batch.begin(trace=trace, known=known).wait(60) == -signal.SIGKILL

    *before, last = trace.read_text(encoding="utf-8").splitlines()
    point, mark = last.split("\t")
    # Usually the first request; two runs need not open their connections at the same moments.
    assert (mark, point in known) == ("KILLED", False)
    assert {point for point in before if not point.startswith("start|")} <= known


def test_killed_after_a_request_has_left_the_effect_happens_and_nobody_knows(place: Scenario, batch: EvidenceBatch):
    """The heart of the matter: charged, and our side has only the intent."""
    killed_at(batch, "effects|http|POST /api/v1/payments|sent|1")
    batch_of = place.execute(
        "select batch_id from batches where file_sha256 = %s", bytes.fromhex(batch.made.manifest["sha256"])
    )[0][0]

    states = [row[0] for row in place.execute("select state from payments where batch_id = %s", batch_of)]

    assert sorted(states) == ["planned", "sending"]
    batch.finish()
    assert charges(place, batch) == 2
    assert batch.violations() == []


@pytest.mark.parametrize(("phase", "made"), [("before", 0), ("sent", 2), ("after", 2)])
def test_a_commit_that_was_sent_holds_although_its_answer_was_never_read(
    place: Scenario, batch: EvidenceBatch, phase: str, made: int
):
    """The commit in doubt: the client is dead, the server has it."""
    commit = commit_of_orders(passed_by(place.batch(rows=2, bad_rows=0, concurrency=1)))

    killed_at(batch, commit.replace("|before|", f"|{phase}|"))

    # The server may still be at it when the client is long dead.
    assert children.wait_until(lambda: orders(place, batch) == made, 10)


def commit_of_orders(points: list[str]) -> str:
    """The commit of the transaction that makes the orders."""
    inserted = next(at for at, point in enumerate(points) if "created_orders|sql|insert into orders" in point)
    return next(point for point in points[inserted:] if "|commit|" in point)


def test_labels_hold_no_values_and_no_ids():
    assert statement_label("select 1\n   from orders | x") == "select 1 from orders ! x"
    assert call_label("GET", "http://127.0.0.1:80/api/v1/payments/order/12") == "GET /api/v1/payments/order/#"
    assert call_label("GET", "http://h/api/v1/payments/key/bo1-abc") == "GET /api/v1/payments/key/#"


def test_two_lives_call_the_same_point_by_the_same_name(place: Scenario, batch: EvidenceBatch):
    """A point whose name is drawn anew in each life could never be killed at."""
    other = place.batch(rows=2, bad_rows=0, concurrency=1)

    first, second = (
        {point for point in passed_by(one) if point.startswith(("archive|", "validated_csv|", "created_orders|"))}
        for one in (batch, other)
    )

    assert first == second
