"""Rows that repair others, orders of several lines, orders that resemble others: told, digested and packed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import psycopg
import pytest

from audit.pack import verify_pack
from audit.pack.making import Archive, pack
from audit.trace import trace
from audit.verification import verify
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import open_signing_key, trusted_keys
from resources.database import trail_books
from tests.integration.batches import Installation, order_row
from tests.integration.repairing import mended, returned, taken

OPTIONS = "-c search_path=bulk_orders,public"
WHO = {"customer_name": "見本 花子", "email": "hana@example.jp", "amount": "1500"}
Family = tuple[Installation, str, str]


@pytest.fixture
def family(installation: Installation) -> Family:
    """An order of two lines, one that resembles another, and two bad rows, one of which comes back mended."""
    profiles = installation.folder / "profiles"
    profiles.mkdir()
    (profiles / "shop.yaml").write_text("lines: many\namount_is: line_total\n")
    rows = [
        order_row(order_number="A-1", amount="300"),
        order_row(order_number="A-1", amount="200", customer_name="試験", email="a@example.jp"),
        order_row(order_number="A-2", **WHO),
        order_row(order_number="A-3", **WHO),
        order_row(order_number="A-4", amount="7"),
        order_row(order_number="A-5", amount="x"),
    ]
    rows[1][1:3] = rows[0][1:3]
    parent = taken(installation, installation.write(rows))
    child = taken(installation, returned(installation, parent, lambda rows: mended(rows, {"A-4": {"amount": "700"}})))
    return installation, parent, child


def archive(installation: Installation) -> Archive:
    key_file = installation.folder / "home" / "keys" / "anchors.key"
    key = open_signing_key(key_file)
    folder = AnchorFolder(installation.folder / "home" / "anchors")
    return Archive(installation.files, folder, key, trusted_keys(key_file))


def test_the_tables_say_what_the_trail_says(family: Family) -> None:
    installation, _, _ = family
    kept = archive(installation)

    assert verify(installation.database, kept.anchors, kept.keys).faults == ()


HANDS = {
    "update repairs set parent_row_number = 1": "row:repairs",
    "update repairs set changed = '{email}'": "row:repairs",
    "update repairs set root_row_number = 1 where taken": "row:repairs",
    "update repairs set taken = false": "repair of row",
    "delete from repairs": "row:repairs",
    "update near_duplicates set days_apart = 1": "order:resembles",
    "delete from near_duplicates": "order:resembles",
    "update import_rows set order_row = null where order_row is not null": "row:accepted",
    "update batches set parent_batch_id = null": "batch",
    "update batches set accepted_rows = accepted_rows - 1": "batch",
}


@pytest.mark.parametrize("hand", HANDS)
def test_a_hand_past_the_triggers_is_found(family: Family, hand: str) -> None:
    """In the parent's books or in the child's."""
    installation, parent, child = family
    with psycopg.connect(installation.url, autocommit=True, options=OPTIONS) as connection:
        for table in ("repairs", "near_duplicates", "import_rows", "batches"):
            connection.execute(f"alter table {table} disable trigger all".encode())
        assert connection.execute(hand.encode()).rowcount > 0
    with installation.database.begin() as tx:
        found = [one.about for batch in (parent, child) for one in trail_books.differences(tx, batch)]

    assert [about for about in found if about.startswith(HANDS[hand])] != []


def test_the_packs_of_both_tell_of_each_other_and_are_proved(family: Family) -> None:
    installation, parent, child = family
    told = {}
    for batch in (parent, child):
        path = installation.folder / f"{batch}.zip"
        packed = pack(installation.database, archive(installation), batch, [], path)
        assert verify_pack.verify(path.read_bytes(), packed.public_key)[1] == []
        told[batch] = rows_of(path, "repairs.csv")
    rows = rows_of(installation.folder / f"{parent}.zip", "rows.csv")

    assert told[parent] == [row for row in told[child] if row["taken"] == "True"]
    assert told[child][0] | {"batch_id": child, "parent_row": "5", "changed": "amount"} == told[child][0]
    assert [row["order_row"] for row in rows] == ["", "1", "", "", "", ""]
    assert rows[0]["order_id"] == rows[1]["order_id"] != ""
    assert (rows[1]["amount_jpy"], rows[1]["order_jpy"]) == ("200", "500")
    assert rows[3]["alike_order_id"] == rows[2]["order_id"]


def rows_of(path: Path, part: str) -> list[dict[str, str]]:
    text = verify_pack.opened(path.read_bytes())[part].decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_line_is_traced_with_its_order_and_its_repair(family: Family) -> None:
    installation, parent, child = family
    [further] = trace(installation.database, parent, line=3)
    [mended_row] = trace(installation.database, parent, line=6)

    assert (further["row"], further["lines"], further["order_row"]) == (2, [2, 3], 1)
    assert [event["event"] for event in further["events"]] == ["row:accepted", "order:created"]
    assert [(one["batch_id"], one["row"]) for one in mended_row["repairs"]] == [(child, 1)]
    assert json.dumps(further, default=str)


TOLD = {
    "update repairs set taken = false where taken": ("row:unrepaired", None),
    "update import_rows set order_row = null where order_row is not null": ("row:changed", "order_row"),
    "update import_rows set likeness = 1 where import_row_number = 3": ("row:changed", "likeness"),
    "update orders set items = '[]', likeness = 2": ("order:changed", "items likeness"),
}
REFUSED = [
    "update repairs set root_row_number = 1",
    "delete from repairs",
    "truncate repairs",
    "update near_duplicates set days_apart = 9",
    "delete from near_duplicates",
    "truncate near_duplicates",
    "update batches set parent_batch_id = null where parent_batch_id is not null",
    "update batches set client = 'other'",
]


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_no_hand_changes_lineage_without_an_event_or_at_all(family: Family, role: str) -> None:
    """As the owner and superuser."""
    installation, _, _ = family
    left, refusals = {}, {}
    with psycopg.connect(installation.url, options=f"{OPTIONS} -c session_replication_role={role}") as connection:
        for change in TOLD:
            assert connection.execute(change.encode()).rowcount > 0, change
            query = b"select event, reason from audit_events order by at desc, seq desc limit 1"
            left[change] = connection.execute(query).fetchall()[0]
            connection.rollback()
        for change in REFUSED:
            with pytest.raises(psycopg.Error) as refused:
                connection.execute(change.encode())
            refusals[change] = str(refused.value.sqlstate)[:4]
            connection.rollback()

    assert {change: event for change, (event, _) in left.items()} == {c: event for c, (event, _) in TOLD.items()}
    assert {c: reason for c, (_, reason) in left.items() if TOLD[c][1]} == {c: r for c, (_, r) in TOLD.items() if r}
    assert refusals == dict.fromkeys(REFUSED, "BO00")
