"""A repair file comes back: only its rows are taken, each once, and parent and child lead to each other (issue 4.8)."""

from __future__ import annotations

import stat
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from assets.batch_report import private_files
from assets.batch_report.work import refresh_ancestors, write_report
from assets.created_orders.work import create_orders
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from domain.errors import FileRefused, TransientError
from domain.guards import GuardLimits
from domain.profiles import ServiceProfile
from domain.repair import MARK
from orchestration import summary
from orchestration.admission import admit
from orchestration.forecast import forecast
from orchestration.sample import make_sample, write_csv
from resources.client_profiles import ClientProfiles
from resources.database import books, repairs, row_storage
from tests.integration.batches import HEADER, Installation, csv_bytes, order_row
from tests.integration.repairing import (
    Table,
    issues,
    mended,
    orders,
    read_text,
    read_workbook,
    repair_text,
    repair_workbook,
    reported,
    returned,
    taken,
    write_text,
    write_workbook,
)

CANARY = "canary"


@pytest.fixture
def parent(installation: Installation) -> str:
    """Rows: good, bad mail, good, bad amount, bad amount."""
    rows = [
        order_row(order_number="A-1"),
        order_row(order_number="A-2", email="no-mail", customer_name=f"{CANARY} 花子"),
        order_row(order_number="A-3"),
        order_row(order_number="A-4", amount="7"),
        order_row(order_number="A-5", amount="x"),
    ]
    return taken(installation, installation.write(rows))


def mend_two(rows: Table) -> Table:
    return mended(rows, {"A-2": {"email": f"{CANARY}@example.jp"}, "A-4": {"amount": "700"}})


def mend_all(rows: Table) -> Table:
    return mended(mend_two(rows), {"A-5": {"amount": "500"}})


def links(installation: Installation, batch: str) -> list[tuple[Any, ...]]:
    """Each row of a repaired file with its parent's row and its root, and whether it was taken."""
    query = """select import_row_number, parent_row_number, root_batch_id, root_row_number, changed, taken
               from repairs where batch_id = %s order by 1"""
    return installation.execute(query, batch)


# -- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [repair_text, repair_workbook])
def test_given_back_as_it_is_every_row_is_rejected_again_for_the_same_reasons(
    installation: Installation, file: Callable[[Installation, str], Path]
):
    """Every fault that a row can have; and the next repair file is as good as the first."""
    path = installation.folder / "orders.csv"
    write_csv(make_sample(80, bad=0.5, seed=7), path, "utf-8-sig")
    first = taken(installation, path)
    second = taken(installation, file(installation, first))
    third = taken(installation, file(installation, second))

    before = issues(installation, first)
    assert len(before) == 40
    for batch in (second, third):
        rows = links(installation, batch)
        assert [row[2:4] for row in rows] == [(first, number) for number in before]
        assert {row[4:] == ([], False) for row in rows} == {True}
        assert list(issues(installation, batch).values()) == list(before.values())
        assert orders(installation, batch) == []


@pytest.mark.parametrize("kind", ["text", "workbook"])
def test_mended_rows_are_taken_and_nothing_else_is_touched(installation: Installation, parent: str, kind: str):
    before = installation.execute("select * from orders order by order_id")
    if kind == "text":
        path = returned(installation, parent, mend_two)
    else:
        rows = read_workbook(repair_workbook(installation, parent))
        path = write_workbook(installation.folder / "mended.xlsx", mend_two(rows))
    child = taken(installation, path)

    assert [number for number, _ in orders(installation, child)] == ["A-2", "A-4"]
    assert issues(installation, child) == {3: [("amount", "ORD-AMOUNT-FORMAT")]}
    assert installation.execute("select * from orders where batch_id = %s order by order_id", parent) == before
    assert links(installation, child) == [
        (1, 2, parent, 2, ["email"], True),
        (2, 4, parent, 4, ["amount"], True),
        (3, 5, parent, 5, [], False),
    ]


def test_parent_and_child_lead_to_each_other(installation: Installation, parent: str):
    child = taken(installation, returned(installation, parent, mend_two))
    with installation.database.begin() as tx:
        of_parent, of_child = books.read(tx, parent), books.read(tx, child)

    assert (of_parent.child_batch_ids, of_parent.rows_repaired, of_parent.batch.parent_batch_id) == ((child,), 2, None)
    assert (of_child.child_batch_ids, of_child.rows_repaired, of_child.batch.parent_batch_id) == ((), 0, parent)
    told = {
        found.batch.batch_id: summary.as_json(found, None, duplicate=False)["repair"] for found in (of_parent, of_child)
    }
    assert told == {
        parent: {"files": [], "parent_batch": None, "child_batches": [child], "rows_repaired": 2},
        child: {"files": [], "parent_batch": parent, "child_batches": [], "rows_repaired": 0},
    }
    for language, words in (("en", ("Repaired with", "Repairs")), ("ja", ("修正後のバッチ", "修正元"))):
        for found, word, other in ((of_parent, words[0], child), (of_child, words[1], parent)):
            shown = summary.as_json(found, None, duplicate=False)
            assert f"{word}: {other}" in summary.as_text(shown, found, language)
    refresh_ancestors(installation.database, installation.vault, installation.files, child)
    failed = {batch: read_text(reported(installation, batch) / "failed.csv") for batch in (parent, child)}
    at = {name: failed[parent][0].index(name) for name in ("order_number", "original_line", "repaired_by")}
    assert [(row[at["order_number"]], row[at["repaired_by"]]) for row in failed[parent][1:]] == [
        ("A-2", child),
        ("A-4", child),
        ("A-5", ""),
    ]
    assert [(row[at["order_number"]], row[at["original_line"]]) for row in failed[child][1:]] == [("A-5", "6")]


def test_what_was_changed_is_shown_before_and_after_to_its_owner_alone(installation: Installation, parent: str):
    child = taken(installation, returned(installation, parent, mend_two))
    path = reported(installation, child) / "changes.csv"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_text(path) == [
        ["line", "import_row_number", "original_line", "original_row_number", "column", "before", "after"],
        ["2", "1", "3", "2", "email", "no-mail", f"{CANARY}@example.jp"],
        ["3", "2", "5", "4", "amount", "7", "700"],
    ]


def test_the_trail_names_the_rows_and_holds_no_value(installation: Installation, parent: str):
    child = taken(installation, returned(installation, parent, mend_two))
    query = (
        "select event, reason, subjects from audit_events where chain = %s and event like 'row:repair%%' order by seq"
    )

    assert installation.execute(query, parent) == [("row:repaired", child, [2, 4])]
    assert installation.execute(query, child) == [
        ("row:repairs", parent, [1, 2]),
        ("row:repairs", parent, [3]),
    ]
    tables = ("audit_events", "repairs", "batches", "orders")
    assert CANARY not in "".join(str(installation.execute(f"select t::text from {table} t")) for table in tables)
    assert installation.execute("select * from audit_verify(%s)", parent) == []
    assert installation.execute("select * from audit_verify(%s)", child) == []


def test_the_next_repair_file_tells_the_lines_of_the_first_file(installation: Installation, parent: str):
    child = taken(installation, returned(installation, parent, mend_two))
    rows = read_text(repair_text(installation, child))
    line = rows[0].index("repair_line")

    assert [(row[0], row[line]) for row in rows[1:]] == [("A-5", "6")]


def test_a_dry_run_says_whose_repair_it_is_and_what_would_be_taken(installation: Installation, parent: str):
    """Also that a row was repaired with another file since."""
    path = returned(installation, parent, mend_all)

    def told() -> dict[str, Any]:
        found = forecast(
            path,
            "shop",
            ReadingLimits(),
            installation.database,
            installation.vault,
            payments=ServiceProfile(),
            notifications=ServiceProfile(),
            guards=GuardLimits(),
        )
        return {name: found.as_json()[name] for name in ("repair_of", "accepted_rows", "rejected_rows", "faults")}

    first = told()
    taken(installation, returned(installation, parent, mend_two, "other.csv"))
    then = told()

    assert first == {"repair_of": parent, "accepted_rows": 3, "rejected_rows": 0, "faults": {}}
    assert (then["accepted_rows"], then["faults"]["ORD-REPAIR-DONE"]) == (1, 2)
    assert installation.execute("select count(*) from batches") == [(2,)]


def test_a_repaired_file_is_of_the_group_of_its_parent(installation: Installation):
    path = installation.write([order_row(amount="7"), order_row(amount="8")])
    parent = installation.admitted(path, group="May")
    validate_batch(installation.database, installation.vault, installation.files, parent, ReadingLimits())
    taken(installation, returned(installation, parent, lambda rows: [*rows[:1], [*rows[1][:4], "700", *rows[1][5:]]]))

    assert installation.execute("select bulk_import_group from orders") == [("May",)]


def test_a_file_that_only_has_a_column_of_that_name_is_an_ordinary_one(installation: Installation):
    rows = [[*order_row(), "K-1"], [*order_row(), ""]]
    batch = taken(installation, installation.write(rows, header=[*HEADER, "Repair Key"]))

    assert len(orders(installation, batch)) == 2


# -- once -------------------------------------------------------------------------------------------------------------


def test_a_row_is_taken_once_whatever_file_it_comes_in(installation: Installation, parent: str):
    """As text, as a workbook, and with the repair file of the repaired file: each row is refused by itself."""
    text, workbook = repair_text(installation, parent), repair_workbook(installation, parent)
    rows = read_workbook(workbook)
    first = taken(installation, write_text(installation.folder / "1.csv", mend_two(read_text(text))))
    of_first = read_text(repair_text(installation, first))
    second = taken(installation, write_workbook(installation.folder / "2.xlsx", mend_all(rows)))
    third = taken(installation, write_text(installation.folder / "3.csv", mend_all(of_first)))

    done = [("", "ORD-REPAIR-DONE")]
    assert [number for number, _ in orders(installation, second)] == ["A-5"]
    assert issues(installation, second) == {1: done, 2: done}
    assert issues(installation, third) == {1: done}
    assert installation.execute("select order_number, count(*) from orders group by 1 having count(*) > 1") == []
    assert installation.execute("select count(*) from repairs where taken") == [(3,)]


def test_after_a_vain_try_the_first_repair_file_may_still_be_mended(installation: Installation, parent: str):
    path = repair_text(installation, parent)
    rows = read_text(path)
    vain = taken(installation, path)
    child = taken(installation, write_text(installation.folder / "m.csv", mend_all(rows)))

    assert orders(installation, vain) == []
    assert len(orders(installation, child)) == 3


def test_the_same_file_twice_is_one_batch(installation: Installation, parent: str):
    path = returned(installation, parent, mend_all)
    child = taken(installation, path)
    before = installation.execute("select count(*), max(order_id) from orders")

    assert taken(installation, path) == child
    assert installation.execute("select count(*), max(order_id) from orders") == before


def test_two_files_at_once_take_each_row_once(installation: Installation, parent: str):
    """Both are read before either is stored; the unique index decides, and the second file is told so row by row."""
    rows = read_text(repair_text(installation, parent))
    paths = [
        write_text(installation.folder / f"{name}.csv", mend_all([*rows[:1], *part]))
        for name, part in (("up", rows[1:]), ("down", rows[:0:-1]))
    ]
    children = [installation.admitted(path) for path in paths]
    both_read = threading.Barrier(2, timeout=20)
    record = repairs.record

    def wait_then_record(*arguments: Any) -> int:
        both_read.wait()
        return record(*arguments)

    found: list[BaseException | None] = []

    def work(batch: str) -> None:
        try:
            validate_batch(installation.database, installation.vault, installation.files, batch, ReadingLimits())
            create_orders(installation.database, batch)
            found.append(None)
        except BaseException as error:
            found.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repairs, "record", wait_then_record)
        threads = [threading.Thread(target=work, args=(batch,)) for batch in children]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert found == [None, None]
    taken_rows = installation.execute("select root_row_number, count(*) from repairs where taken group by 1 order by 1")
    assert taken_rows == [(2, 1), (4, 1), (5, 1)]
    numbers = sorted(number for batch in children for number, _ in orders(installation, batch))
    assert numbers == ["A-2", "A-4", "A-5"]
    refused = [issue for batch in children for several in issues(installation, batch).values() for issue in several]
    assert refused == [("", "ORD-REPAIR-DONE")] * 3
    counted = "select batch_id, count(*), sum(amount) from import_rows where state = 'accepted' group by batch_id"
    accepted = {batch: tuple(rest) for batch, *rest in installation.execute(counted)}
    said = "select batch_id, accepted_rows, accepted_jpy from batches where batch_id = any(%s)"
    for batch, *numbers_and_yen in installation.execute(said, children):
        assert tuple(numbers_and_yen) == accepted.get(batch, (0, 0))


def test_the_database_itself_refuses_a_second_repair_of_a_row(installation: Installation, parent: str):
    child = taken(installation, returned(installation, parent, mend_two))
    vain = taken(installation, returned(installation, parent, lambda rows: mended(rows, {"A-5": {"phone": "1"}})))
    by_hand = "update repairs set taken = true where batch_id = %s and root_row_number = 5"
    assert installation.execute(by_hand, vain) == []

    with pytest.raises(psycopg.errors.UniqueViolation):
        installation.execute(by_hand, child)


@pytest.mark.parametrize(
    "statement",
    [
        "update repairs set root_row_number = 5 where batch_id = %s and import_row_number = 1",
        "update repairs set changed = '{}' where batch_id = %s and import_row_number = 1",
        "delete from repairs where batch_id = %s",
        "update batches set parent_batch_id = null where batch_id = %s",
        "update batches set client = 'other' where batch_id = %s",
        "insert into repairs select batch_id, 9, parent_batch_id, 1, root_batch_id, 1, changed, false "
        "from repairs where batch_id = %s limit 1",
    ],
)
def test_what_a_row_repairs_does_not_change(installation: Installation, parent: str, statement: str):
    child = taken(installation, returned(installation, parent, mend_two))

    with pytest.raises(psycopg.Error):
        installation.execute(statement, child)


def test_a_row_that_lost_its_number_at_the_last_moment_may_be_repaired_again(installation: Installation, parent: str):
    """Between validation and order another file took the number: the repair was none."""
    child = installation.admitted(returned(installation, parent, mend_two))
    validate_batch(installation.database, installation.vault, installation.files, child, ReadingLimits())
    installation.ordered([order_row(order_number="A-4")])
    create_orders(installation.database, child)
    again = taken(
        installation,
        returned(installation, parent, lambda rows: mended(rows, {"A-4": {"amount": "700", "order_number": "A-4b"}})),
    )

    assert issues(installation, child)[2] == [("order_number", "ORD-NUMBER-EARLIER")]
    assert [number for number, _ in orders(installation, again)] == ["A-4b"]
    trail = installation.execute(
        "select event, reason from audit_events where chain = %s and event like 'row:%%repaired' order by seq", parent
    )
    assert trail == [("row:repaired", child), ("row:unrepaired", child), ("row:repaired", again)]


# -- killed -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it."""


@pytest.mark.parametrize(
    ("module", "step"),
    [(repairs, "by_number"), (row_storage, "store"), (repairs, "record"), (repairs, "count_repaired")],
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_while_it_is_taken_in_it_is_taken_in_anew(
    installation: Installation, parent: str, monkeypatch: pytest.MonkeyPatch, module: Any, step: str, after: bool
):
    child = installation.admitted(returned(installation, parent, mend_two))
    work = getattr(module, step)

    def killed(*arguments: Any) -> None:
        if after:
            work(*arguments)
        raise Killed

    monkeypatch.setattr(module, step, killed)
    with pytest.raises(Killed):
        validate_batch(installation.database, installation.vault, installation.files, child, ReadingLimits())
    monkeypatch.undo()
    validate_batch(installation.database, installation.vault, installation.files, child, ReadingLimits())
    create_orders(installation.database, child)

    assert [number for number, _ in orders(installation, child)] == ["A-2", "A-4"]
    assert [row[5] for row in links(installation, child)] == [True, True, False]
    assert installation.execute("select * from audit_verify(%s)", parent) == []


def test_killed_while_the_files_are_written_the_next_report_completes_them(
    installation: Installation, parent: str, monkeypatch: pytest.MonkeyPatch
):
    folder = reported(installation, parent)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    def killed(*_: object) -> None:
        raise Killed

    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setattr(private_files.PrivateFile, "finish", killed)
    monkeypatch.setattr(private_files.PrivateFile, "__exit__", lambda *_: None)  # a killed one comes to no end
    with pytest.raises(Killed):
        reported(installation, parent)
    assert {path.suffix for path in folder.iterdir()} == {".part"}
    monkeypatch.undo()
    reported(installation, parent)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


# -- marks ------------------------------------------------------------------------------------------------------------


def test_forged_copied_and_added_rows_are_refused_and_the_others_taken(installation: Installation, parent: str):
    rows = mend_all(read_text(repair_text(installation, parent)))
    mark = rows[0].index(MARK)
    forged = list(rows[2])
    forged[mark] = forged[mark].replace("-4-", "-1-")
    added = [cell if at != mark else "" for at, cell in enumerate(rows[3])]
    added[0] = "A-9"
    path = write_text(installation.folder / "m.csv", [rows[0], rows[1], forged, added, rows[1], rows[3]])
    child = taken(installation, path)

    assert [number for number, _ in orders(installation, child)] == ["A-2", "A-5"]
    wrong = [("", "ORD-REPAIR-MARK")]
    twice = [("order_number", "ORD-NUMBER-DUPLICATE"), ("", "ORD-REPAIR-TWICE")]
    assert issues(installation, child) == {2: wrong, 3: wrong, 4: twice}
    assert not list(reported(installation, child).glob("repair.*")), "nothing of these can be mended in its cells"


def test_an_accepted_row_is_not_taken_again_whatever_its_mark(installation: Installation, parent: str):
    """A mark that is ours, of a row that was accepted: only somebody with our key could make it."""
    from domain.repair import make_mark

    rows = mend_two(read_text(repair_text(installation, parent)))
    with installation.database.begin() as tx:
        digest = books.read(tx, parent).batch.file_sha256
    rows[1][rows[0].index(MARK)] = str(make_mark(parent, digest, 1, installation.vault.tag))
    child = taken(installation, write_text(installation.folder / "m.csv", rows))

    assert issues(installation, child)[1] == [("", "ORD-REPAIR-ACCEPTED")]
    assert [number for number, _ in orders(installation, child)] == ["A-4"]


def refusal(installation: Installation, path: Path, client: str = "shop") -> str:
    with pytest.raises(FileRefused) as refused:
        taken(installation, path, client)
    return refused.value.code


def test_a_file_without_a_single_mark_of_ours_is_refused(installation: Installation, parent: str):
    rows = mend_all(read_text(repair_text(installation, parent)))
    mark = rows[0].index(MARK)
    strangers = [rows[0], *([*row[:mark], "R-0123456789ab-1-aaaaaaaaaaaaaaaa"] for row in rows[1:])]
    path = write_text(installation.folder / "m.csv", strangers)

    assert refusal(installation, path) == "FILE-REPAIR-FOREIGN"
    assert installation.execute("select count(*) from repairs") == [(0,)]


def test_rows_of_two_repair_files_in_one_are_refused(installation: Installation, parent: str):
    other = taken(installation, installation.write([order_row(amount="8")], "other.csv"))
    rows, more = (read_text(repair_text(installation, batch)) for batch in (parent, other))
    path = write_text(installation.folder / "m.csv", [*rows, more[1]])

    assert refusal(installation, path) == "FILE-REPAIR-SEVERAL"


def test_another_clients_folder_refuses_it_and_its_own_takes_it_afterwards(installation: Installation, parent: str):
    """The same bytes are one batch for ever: it must not stay the wrong client's."""
    path = returned(installation, parent, mend_two)
    wrong = installation.admitted(path, "other shop")
    with pytest.raises(FileRefused):
        validate_batch(installation.database, installation.vault, installation.files, wrong, ReadingLimits())
    again = admit(installation.database, installation.files, path, "other shop", keep_original=True)
    refused_again = refusal(installation, path, "other shop")
    child = taken(installation, path, "shop")

    assert (again.batch.client, refused_again) == ("other-shop", "FILE-REPAIR-CLIENT")
    assert child == wrong
    assert installation.execute("select client from batches where batch_id = %s", child) == [("shop",)]
    assert installation.execute("select distinct client from orders") == [("shop",)]
    assert [number for number, _ in orders(installation, child)] == ["A-2", "A-4"]
    changed = "select reason from audit_events where chain = %s and event = 'client:changed'"
    assert installation.execute(changed, child) == [("shop",)]


# -- what people and spreadsheets do to a file ------------------------------------------------------------------------


def test_cells_that_run_are_harmless_in_the_file_and_themselves_afterwards(installation: Installation):
    cells = ["=1+1", "'=1", "+81-3", "@SUM(A1)", "＝x", "-1", "'plain", "\t=1"]
    rows = [order_row(amount="7", 内部メモ=cell, order_number=f"F-{at}") for at, cell in enumerate(cells)]
    header = [*HEADER[:-1], "=memo"]
    parent = taken(installation, installation.write(rows, header=header))
    mends = {row[0]: {"amount": "700"} for row in rows}
    text = read_text(repair_text(installation, parent))
    workbook = read_workbook(repair_workbook(installation, parent))
    runs = [cell for table in (text, workbook) for row in table for cell in row if cell and cell[0] in "=+-@＝＋－＠\t"]
    untouched = taken(installation, write_workbook(installation.folder / "m.xlsx", workbook))
    repaired = taken(installation, write_text(installation.folder / "m.csv", mended(text, mends)))

    assert runs == []
    assert len(orders(installation, repaired)) == len(cells)
    for child in (untouched, repaired):
        query = "select import_row_number, cells from import_rows where batch_id = %s order by 1"
        sealed = installation.execute(query, child)
        found = [installation.vault.open_cells(child, number, bytes(value))[-1] for number, value in sealed]
        assert found == cells
        query = "select source_columns from batches where batch_id = %s"
        assert installation.execute(query, child) == [(header,)]


def test_what_a_spreadsheet_spoils_by_opening_and_saving_stays_as_it_was(installation: Installation):
    """Zeros and digits of cells that nobody had to touch; where a person had to, what they wrote counts."""
    rows = [
        order_row(order_number="000123", phone="0312345678", amount="7", 内部メモ="123456789012"),
        order_row(order_number="000124", amount="007"),
    ]
    parent = taken(installation, installation.write(rows))
    spoiled = {
        "000123": {"order_number": "123", "phone": "312345678", "amount": "700", "内部メモ": "1.23457E+11"},
        "000124": {"order_number": "124", "amount": "7"},
    }
    child = taken(installation, returned(installation, parent, lambda table: mended(table, spoiled)))
    [(sealed,)] = installation.execute(
        "select cells from import_rows where batch_id = %s and import_row_number = 1", child
    )
    cells = dict(zip(HEADER, installation.vault.open_cells(child, 1, bytes(sealed)), strict=True))

    assert [number for number, _ in orders(installation, child)] == ["000123"]
    assert (cells["phone"], cells["内部メモ"]) == ("0312345678", "123456789012")
    assert [row[4] for row in links(installation, child)] == [["amount"], ["amount"]]


def test_rows_with_too_many_or_too_few_cells_can_be_mended(installation: Installation):
    """Nameless columns stand beyond the header; what nobody touched stays rejected, unless somebody confirms it."""
    long = [*order_row(order_number="L-1")[:3], "りん", "ご", "1000", "03-0000-0000", "memo"]
    short, confirmed = order_row(order_number="S-1")[:6], order_row(order_number="S-2")[:6]
    parent = taken(installation, installation.write([long, short, confirmed, order_row()]))
    table = read_text(repair_text(installation, parent))
    code, beyond = table[0].index("repair_code"), len(HEADER)

    assert table[0][beyond] == ""
    assert [row[beyond] for row in table[1:]] == ["memo", "", ""]
    table[1][3:9] = ["りんご", "1000", "03-0000-0000", "memo", "", table[1][8]]
    table[3][code] = ""
    child = taken(installation, write_text(installation.folder / "m.csv", table))

    assert [number for number, _ in orders(installation, child)] == ["L-1", "S-2"]
    assert issues(installation, child) == {2: [("", "ORD-COLUMNS-COUNT")]}
    assert [row[4] for row in links(installation, child)] == [
        ["item_name", "amount", "phone", "内部メモ", "#8"],
        [],
        [],
    ]


def test_columns_may_be_moved_and_our_own_texts_deleted(installation: Installation, parent: str):
    table = mend_two(read_text(repair_text(installation, parent)))
    kept = [at for at, name in enumerate(table[0]) if not name.startswith("repair_message")]
    moved = [kept[-1], *reversed(kept[:-1])]
    child = taken(installation, write_text(installation.folder / "m.csv", [[row[at] for at in moved] for row in table]))

    assert [number for number, _ in orders(installation, child)] == ["A-2", "A-4"]
    assert [row[4] for row in links(installation, child)] == [["email"], ["amount"], []]


def test_rows_may_be_deleted_and_notes_written_at_the_right(installation: Installation, parent: str):
    table = mend_two(read_text(repair_text(installation, parent)))
    path = write_text(installation.folder / "m.csv", [[*table[0], ""], [*table[2], "checked"]])
    child = taken(installation, path)

    assert [number for number, _ in orders(installation, child)] == ["A-4"]


# -- workbooks --------------------------------------------------------------------------------------------------------


def test_a_workbook_that_came_is_given_back_with_its_columns_its_sheet_and_its_row_of_names(
    installation: Installation,
):
    """So that the profile of the client, which states them, still fits."""
    (installation.folder / "profiles").mkdir()
    profile = "sheet: 受注\nheader_row: 3\n"
    (installation.folder / "profiles" / "shop.yaml").write_text(profile, encoding="utf-8")
    header = ["受注No.", "氏名", "メール", "金額", "社内欄"]
    rows = [
        ["一覧"],
        [""],
        header,
        ["W-1", "髙橋", "a@example.jp", "7", "0123"],
        ["W-2", "見本", "b@example.jp", "800", ""],
    ]
    path = installation.folder / "orders.xlsx"
    import xlsxwriter

    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet("受注")
        for at, row in enumerate(rows):
            sheet.write_row(at, 0, row)
    parent = taken(installation, path)
    workbook, text = repair_workbook(installation, parent), repair_text(installation, parent)
    table = read_workbook(workbook)
    assert table[2][:5] == header
    assert table[3][:5] == rows[3]
    unedited = taken(installation, text)
    table[3][3] = "700"
    write = installation.folder / "m.xlsx"
    with xlsxwriter.Workbook(str(write)) as book:
        sheet = book.add_worksheet("受注")
        for at, row in enumerate(table):
            sheet.write_row(at, 0, row)
    child = taken(installation, write)

    assert issues(installation, unedited) == {1: [("amount", "ORD-AMOUNT-RANGE")]}
    assert orders(installation, child) == [("W-1", 700)]


def test_bad_cells_are_filled_and_say_what_to_do(installation: Installation, parent: str):
    workbook = repair_workbook(installation, parent)
    with zipfile.ZipFile(workbook) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".xml")}
    comments, styles, sheet = parts["xl/comments1.xml"], parts["xl/styles.xml"], parts["xl/worksheets/sheet1.xml"]

    assert [f'ref="{place}"' in comments for place in ("C2", "E3", "E4", "A2")] == [True, True, True, False]
    assert "ORD-EMAIL-FORMAT" in comments
    assert "送信できるメールアドレス" in comments
    assert "This is not an e-mail address" in comments
    assert "FFFFC7CE" in styles
    style = {place: sheet.split(f'r="{place}" s="')[1].split('"')[0] for place in ("C2", "E3", "A2", "E2")}
    assert style["C2"] == style["E3"] != style["A2"] == style["E2"]
    assert "<f>" not in sheet
    assert {cell.split('"')[0] for cell in sheet.split(' t="')[1:]} == {"s"}


def test_the_files_are_their_owners_alone_and_the_same_when_made_again(installation: Installation, parent: str):
    first = {path.name: path.read_bytes() for path in reported(installation, parent).iterdir()}
    folder = reported(installation, parent)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert {"repair.csv", "repair.xlsx"} <= first.keys()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_text_file_keeps_its_ending_and_its_encoding(installation: Installation):
    path = installation.folder / "orders.txt"
    rows = [order_row(amount="7", customer_name="髙橋")]
    path.write_bytes(csv_bytes(rows).decode().replace(",", "\t").encode("utf-16"))
    made = repair_text(installation, taken(installation, path))

    assert made.name == "repair.txt"
    assert made.read_bytes().startswith(path.read_bytes().split("\r\n".encode("utf-16-le"))[0])
    assert read_text(made, "utf-16", "\t")[1][:7] == rows[0]


def test_when_everything_is_repaired_there_is_no_repair_file_any_more(installation: Installation, parent: str):
    folder = reported(installation, parent)
    child = taken(installation, returned(installation, parent, mend_all))
    refresh_ancestors(installation.database, installation.vault, installation.files, child)

    assert not list(folder.glob("repair.*"))
    assert not list(reported(installation, child).glob("repair.*"))


def test_two_reports_written_at_once_are_one_after_the_other(installation: Installation, parent: str):
    """A repaired file's run writes its parent's report anew, while somebody else may write it too."""
    folder = installation.files.report_dir(parent)
    errors: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(5):
                reported(installation, parent)
        except (OSError, TransientError) as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert not list(folder.glob(".*"))
    assert write_report(installation.database, installation.vault, parent, folder).rows_per_file["failed"] == 3


# -- orders of several lines ------------------------------------------------------------------------------------------

LINES = ["注文番号", "氏名", "メール", "商品名", "金額"]


@pytest.fixture
def of_lines(installation: Installation) -> str:
    """Two orders of two lines; one line of the second is bad, so both of its lines are rejected."""
    (installation.folder / "profiles").mkdir()
    profile = "lines: many\namount_is: line_total\n"
    (installation.folder / "profiles" / "shop.yaml").write_text(profile, encoding="utf-8")
    rows = [
        ["M-1", "見本", "a@example.jp", "ペン", "500"],
        ["M-1", "", "", "ノート", "300"],
        ["M-2", "見本", "b@example.jp", "ペン", "x"],
        ["M-2", "", "", "ノート", "400"],
    ]
    return taken(installation, installation.write(rows, header=LINES))


def mend_line(rows: Table) -> Table:
    return [[*row[:4], row[4].replace("x", "600"), *row[5:]] for row in rows]


def test_all_lines_of_an_order_come_back_and_are_taken_together(installation: Installation, of_lines: str):
    rows = read_text(repair_text(installation, of_lines))
    child = taken(installation, write_text(installation.folder / "m.csv", mend_line(rows)))

    assert [row[:5] for row in rows[1:]] == [
        ["M-2", "見本", "b@example.jp", "ペン", "x"],
        ["M-2", "", "", "ノート", "400"],
    ]
    assert orders(installation, of_lines) == [("M-1", 800)]
    assert orders(installation, child) == [("M-2", 1000)]


def test_an_order_is_not_taken_in_part_when_another_file_has_a_line_of_it(installation: Installation, of_lines: str):
    """The line that is left would be charged alone."""
    path = repair_text(installation, of_lines)
    rows = mend_line(read_text(path))
    other = taken(installation, path)
    whole = installation.admitted(write_text(installation.folder / "whole.csv", rows))
    profiles = ClientProfiles(installation.folder / "profiles")
    known = repairs.by_number
    with pytest.MonkeyPatch.context() as patch:
        # Read before the other took one line of the two.
        patch.setattr(
            repairs, "by_number", lambda *of: {n: replace(r, repaired_by=None) for n, r in known(*of).items()}
        )
        installation.execute("update repairs set taken = true where batch_id = %s and root_row_number = 3", other)
        inputs = (installation.database, installation.vault, installation.files, whole, ReadingLimits(), profiles)
        validate_batch(*inputs)
    create_orders(installation.database, whole)

    assert orders(installation, whole) == []
    assert issues(installation, whole) == {number: [("", "ORD-REPAIR-DONE")] for number in (1, 2)}
    assert [row[5] for row in links(installation, whole)] == [False, False]
