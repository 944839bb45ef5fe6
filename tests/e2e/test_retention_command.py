"""What a person keeps and lets go on the command line: holds, and the plan of what is due."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.e2e.commands import Office, office_with

LONG_AGO = time.time() - 20 * 366 * 86_400


@pytest.fixture
def office(tmp_path: Path, database_url: str) -> Office:
    return office_with(tmp_path, {"DATABASE_URL": database_url, "BULK_ORDERS_RETENTION_FILES_MONTHS": "1"})


def aside(office: Office, client: str) -> Path:
    """A file of theirs that was set aside, as old as its clock says."""
    path = office.home / "quarantine" / client / "orders.csv"
    path.parent.mkdir(parents=True)
    path.write_text("x")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_asking_what_is_due_changes_nothing(office: Office) -> None:
    """Not even the folders, on a machine that has none."""
    plan = office.do("retention", "plan", "--json")

    assert (plan.returncode, plan.told()) == (0, [])
    assert list(office.home.iterdir()) == []


def test_a_client_under_a_hold_is_named_as_people_name_it(office: Office) -> None:
    """The folder, the hold and the batches of a client may each have another spelling of its name."""
    path = aside(office, "Shop A")
    made = office.do("hold", "set", "--client", "Ｓｈｏｐ　Ａ", "--note", "a lawsuit")
    held = office.do("retention", "plan", "--json", "--at", "2099-01-01")
    ran = office.do("retention", "run", "--json")
    lifted = office.do("hold", "lift", "1")
    free = office.do("retention", "plan", "--json", "--at", "2099-01-01")

    assert (made.returncode, lifted.returncode, ran.returncode) == (0, 0, 0), made.stderr + ran.stderr + lifted.stderr
    clear = {"work": "clear", "category": "files", "subject": "Shop A"}
    assert clear | {"kept_by": "hold-1"} in held.told()
    assert clear | {"kept_by": None} in free.told()
    assert path.exists()
