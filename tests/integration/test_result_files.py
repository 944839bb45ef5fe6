"""The files a batch leaves: every row of the client's file exactly once, as it came, and for its owner only."""

from __future__ import annotations

import csv
import io
import stat
from pathlib import Path
from typing import Any

import pytest

from assets.batch_report.work import close_batch, write_report
from domain.decisions import Decision
from domain.formulas import harmless
from domain.states import BatchState, EffectKind
from orchestration import reviews
from orchestration.reviews import RowDecision
from tests.integration.batches import HEADER, Installation, order_row, services, work_through

RESULTS = ("succeeded", "failed", "not_processed")
ADDED = ["line", "column", "code", "message", "remedy", "message_en", "remedy_en"]
EFFECTS = [
    *("import_row_number", "order_id", "payment_state", "payment_id", "notification_state", "notification_id"),
    *("original_line", "original_row_number", "repaired_by"),
]


class Report:
    """The files of one batch as a person opens them."""

    def __init__(self, installation: Installation, batch: str) -> None:
        self.folder = installation.folder / "report"
        self.made = write_report(installation.database, installation.vault, batch, self.folder)
        self.header: dict[str, list[str]] = {}
        self.rows: dict[str, list[dict[str, str]]] = {}
        for name in (*RESULTS, "errors"):
            text = (self.folder / f"{name}.csv").read_bytes().decode("utf-8-sig")
            self.header[name], *rows = csv.reader(io.StringIO(text, newline=""))
            self.rows[name] = [dict(zip(self.header[name], row, strict=True)) for row in rows]

    def numbers(self, name: str) -> list[int]:
        return [int(row["import_row_number"]) for row in self.rows[name]]


@pytest.fixture
def worked(installation: Installation, payments: Any, notifications: Any) -> tuple[Installation, str, list[list[str]]]:
    """Rows: good, rejected for two faults, declined, refused mail, good, in need of a person."""
    rows = [order_row(), order_row(email="no-mail", amount="7"), *(order_row() for _ in range(4))]
    batch = installation.ordered(rows)
    good, declined, refused, _, review = installation.order_ids(batch)
    payments.behave(
        fault_orders={"decline": [declined], "error_500_after": [review]}, lookup_faults={"wrong_amount": 1.0}
    )
    notifications.behave(fault_orders={"decline": [refused]})
    assert good
    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    return installation, batch, rows


def test_the_three_files_together_hold_every_row_exactly_once(
    worked: tuple[Installation, str, list[list[str]]],
) -> None:
    installation, batch, _ = worked
    report = Report(installation, batch)

    assert {name: report.numbers(name) for name in RESULTS} == {
        "succeeded": [1, 5],
        "failed": [2, 3, 4, 6],
        "not_processed": [],
    }
    assert report.made.rows_per_file == {"succeeded": 2, "failed": 4, "not_processed": 0}


def test_a_row_stands_as_it_came_followed_by_what_became_of_it(
    worked: tuple[Installation, str, list[list[str]]],
) -> None:
    installation, batch, rows = worked
    report = Report(installation, batch)
    everything = [row for name in RESULTS for row in report.rows[name]]

    assert all(report.header[name] == [*HEADER, *ADDED, *EFFECTS] for name in RESULTS)
    assert report.header["errors"] == [*HEADER, *ADDED]
    came = {int(row["import_row_number"]): [row[name] for name in HEADER] for row in everything}
    assert came == dict(enumerate(rows, start=1))
    assert {int(row["import_row_number"]): row["line"] for row in everything} == {n: str(n + 1) for n in range(1, 7)}


def test_why_a_row_failed_is_said_with_a_code_and_in_two_languages(
    worked: tuple[Installation, str, list[list[str]]],
) -> None:
    installation, batch, _ = worked
    report = Report(installation, batch)
    failed = {int(row["import_row_number"]): row for row in report.rows["failed"]}

    assert failed[2]["code"] == "ORD-EMAIL-FORMAT; ORD-AMOUNT-RANGE"
    assert failed[2]["column"] == "email; amount"
    assert failed[3]["code"] == "PAY-DECLINED"
    assert failed[4]["code"] == "MAIL-REFUSED"
    assert failed[6]["code"] == "PAY-ANSWER-MISMATCH"
    assert all(row["message"] and row["remedy"] and row["message_en"] and row["remedy_en"] for row in failed.values())
    assert (failed[6]["payment_state"], failed[3]["payment_state"]) == ("review", "rejected")
    assert all("?" not in row["message_en"] and "SYS-INTERNAL" not in row["code"] for row in failed.values())


def test_the_error_report_is_the_rejected_rows_to_repair(worked: tuple[Installation, str, list[list[str]]]) -> None:
    installation, batch, rows = worked
    report = Report(installation, batch)

    assert [[row[name] for name in HEADER] for row in report.rows["errors"]] == [rows[1]]
    assert report.rows["errors"][0]["line"] == "3"


def test_only_the_owner_can_read_them_and_excel_opens_them(worked: tuple[Installation, str, list[list[str]]]) -> None:
    installation, batch, _ = worked
    report = Report(installation, batch)
    files = sorted(report.folder.iterdir())

    assert [file.name for file in files] == ["errors.csv", "failed.csv", "not_processed.csv", "succeeded.csv"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(report.folder.stat().st_mode) == 0o700
    for file in files:
        content = file.read_bytes()
        assert content.startswith(b"\xef\xbb\xbf")
        assert content.count(b"\n") == content.count(b"\r\n")


def test_written_again_they_are_the_same_bytes(worked: tuple[Installation, str, list[list[str]]]) -> None:
    installation, batch, _ = worked
    first = {file.name: file.read_bytes() for file in Report(installation, batch).folder.iterdir()}
    (installation.folder / "report" / ".failed.csv.part").write_bytes(b"left by a kill")

    assert {file.name: file.read_bytes() for file in Report(installation, batch).folder.iterdir()} == first


def test_a_batch_is_closed_only_when_nothing_is_open(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    batch = installation.ordered(2)
    open_ = close_batch(installation.database, batch).batch.state
    of = services(str(payments.http.base_url), str(notifications.http.base_url))
    work_through(installation, batch, of, selected=frozenset({EffectKind.PAYMENT}))
    half = Report(installation, batch)
    still_open = close_batch(installation.database, batch).batch.state
    work_through(installation, batch, of)

    assert open_ is still_open is BatchState.ORDERED
    assert half.made.rows_per_file == {"succeeded": 0, "failed": 0, "not_processed": 2}
    assert close_batch(installation.database, batch).batch.state is BatchState.DONE
    assert close_batch(installation.database, batch).batch.state is BatchState.DONE


def test_a_batch_about_which_a_person_decided_meanwhile_is_reported_again_before_it_is_closed(
    worked: tuple[Installation, str, list[list[str]]],
) -> None:
    """Closed at once, its files would say for ever what was true before."""
    installation, batch, _ = worked
    folder = installation.folder / "report"
    before = write_report(installation.database, installation.vault, batch, folder).books
    [(row,)] = installation.execute("select import_row_number from payments where state = 'review'")
    decision = RowDecision(row, EffectKind.PAYMENT, Decision.REJECTED, "asked the service")
    reviews.decide(installation.database, installation.vault, batch, decision)

    assert close_batch(installation.database, batch, before).batch.state is BatchState.ORDERED
    again = write_report(installation.database, installation.vault, batch, folder).books
    assert close_batch(installation.database, batch, again).batch.state is BatchState.PARTIAL


def test_a_batch_with_a_declined_row_is_closed_as_partial(worked: tuple[Installation, str, list[list[str]]]) -> None:
    installation, batch, _ = worked

    assert close_batch(installation.database, batch).batch.state is BatchState.PARTIAL


def test_ragged_rows_lose_nothing(installation: Installation) -> None:
    """Cells beyond the header are kept in the last column, missing ones are empty."""
    long, short = [*order_row(), "one more", "and more"], order_row()[:3]
    batch = installation.validated([long, short, order_row()])
    report = Report(installation, batch)
    rows = {row["order_number"]: row for row in report.rows["failed"]}

    assert rows[long[0]][HEADER[-1]] == f"{long[6]},one more,and more"
    assert [rows[short[0]][name] for name in HEADER] == [*short, "", "", "", ""]
    assert {row["code"] for row in rows.values()} == {"ORD-COLUMNS-COUNT"}
    assert sum(report.made.rows_per_file.values()) == 3


def test_no_cell_runs_as_a_formula(installation: Installation) -> None:
    """R-34 opens these in a spreadsheet: what a customer typed must stay text."""
    evil = ["=1+1", "+1", "-1", "@A1", "\t=1", "＝1", "＠x", " =cmd|' /C calc'!A0"]
    rows = [order_row(customer_name=cell.strip() if cell.startswith("\t") else cell) for cell in evil]
    header = [*HEADER[:-1], "=header"]
    path = installation.write(rows, header=header)
    batch = installation.admitted(path)
    from assets.validated_csv.limits import ReadingLimits
    from assets.validated_csv.work import validate_batch

    validate_batch(installation.database, installation.vault, installation.files, batch, ReadingLimits())
    report = Report(installation, batch)
    cells = [cell for name in RESULTS for row in report.rows[name] for cell in (*row, *row.values())]

    assert len(cells) > 100
    assert [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t")] == []
    assert "'=header" in report.header["failed"]


@pytest.mark.parametrize("cell", ["", "りんご", "1500", "2026-01-01", "a=b", "'already", "山田-太郎"])
def test_a_harmless_cell_is_left_alone(cell: str) -> None:
    assert harmless(cell) == cell


def test_a_file_with_no_rows_rejected_has_an_empty_error_report(installation: Installation) -> None:
    batch = installation.validated([order_row()])
    report = Report(installation, batch)

    assert report.rows["errors"] == []
    assert report.numbers("not_processed") == [1]


def test_a_folder_that_is_not_there_is_made(installation: Installation) -> None:
    batch = installation.validated([order_row()])
    folder: Path = installation.folder / "deep" / "er"
    write_report(installation.database, installation.vault, batch, folder)

    assert (folder / "not_processed.csv").exists()
