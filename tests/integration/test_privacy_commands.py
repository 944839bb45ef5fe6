"""Keys, erasure and de-identified files as a person uses them; and what every command says to a wrong key."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from orchestration import erasing, operations, schedules
from orchestration.definitions import build_defs
from orchestration.settings import Settings
from tests.e2e.commands import Office, office_with
from tests.integration.batches import Installation, order_row

MAIL = "hanako.kesu@example.jp"


@pytest.fixture
def office(installation: Installation) -> Office:
    """The installation, by its commands; its services are never called."""
    nowhere = "http://127.0.0.1:9"
    given = {"DATABASE_URL": installation.url, "PAYMENT_SERVICE_URL": nowhere, "NOTIFICATION_SERVICE_URL": nowhere}
    key = {"BULK_ORDERS_ENCRYPTION_KEY": installation.key}
    return office_with(installation.folder, given | key)


@pytest.fixture
def batch(installation: Installation) -> str:
    """A batch that has come to its end."""
    made = installation.validated([order_row(email=MAIL, customer_name="消去 花子"), order_row()])
    operations.cancel(installation.database, made)
    return made


def test_keys_are_rotated_and_told_by_their_ids(office: Office, installation: Installation, batch: str) -> None:
    first, second = installation.key, base64.b64encode(os.urandom(32)).decode()
    both = {"BULK_ORDERS_ENCRYPTION_KEY": f"{second} {first}"}
    before = office.do("keys", "status", "--json").told()
    assert office.do("keys", "rotate", "--new").returncode == 2  # keys of the environment are made elsewhere
    rotated = office.do("keys", "rotate", "--json", **both).told()
    status = office.do("keys", "status", **both)
    retired = office.do("keys", "retire", before[0]["key_id"], **both)

    assert (len(before), before[0]["sheets"]) == (1, 1)
    assert (rotated["sheets"], rotated["unused"]) == (1, [before[0]["key_id"]])
    assert [line.split()[0] for line in status.stdout.splitlines()] == [rotated["key_id"], before[0]["key_id"]]
    assert retired.returncode == 0, retired.stderr
    assert first not in status.stdout + retired.stdout + retired.stderr
    assert office.do("keys", "status", BULK_ORDERS_ENCRYPTION_KEY=first).stderr.startswith("SYS-KEY-WRONG")
    assert office.do("report", batch, "-o", installation.folder / "r", BULK_ORDERS_ENCRYPTION_KEY=second).returncode < 2


def test_a_person_is_erased_by_standard_input_or_a_file_and_never_named(
    office: Office, installation: Installation, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments of a process are read by everybody on the machine; so nothing takes the address as one."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{MAIL}\n"))
    asked = office.do("erase", "--client", "shop")
    person = installation.folder / "person.txt"
    person.write_text(f"\n {MAIL.upper()} \r\nmore", encoding="utf-8-sig")
    unsaid = office.do("erase", "--client", "shop", "--person", person, "--confirm")
    done = office.do("erase", "--client", "shop", "--person", person, "--confirm", "--why", "request 26-114", "--json")
    again = office.do("erase", "--client", "shop", "--person", person)
    resumed = office.do("erase", "--resume")

    assert asked.returncode == 0
    assert "1 rows in 1 batches" in asked.stdout
    assert "--confirm" in asked.stdout
    assert unsaid.returncode == 2
    assert done.told()["rows"] == {batch: [1]}
    assert "No row of this client" in again.stderr
    assert "No erasure is unfinished" in resumed.stdout
    said = "".join(ended.stdout + ended.stderr for ended in (asked, unsaid, done, again, resumed))
    assert MAIL.lower() not in said.lower()
    assert office.do("erase", MAIL).returncode == 2


def cut_short(office: Office, person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decided, and killed before a single key was destroyed."""

    class Killed(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(erasing, "carry_out", dies)
        with pytest.raises(Killed):
            office.do("erase", "--client", "shop", "--person", person, "--confirm", "--why", "request 26-114")


def test_an_erasure_that_was_cut_short_is_not_taken_for_done(
    office: Office, installation: Installation, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who types the same again is not told that there is nobody, while every key is still there."""
    person = installation.folder / "person.txt"
    person.write_text(MAIL)
    cut_short(office, person, monkeypatch)

    asked = office.do("erase", "--client", "shop", "--person", person)
    again = office.do("erase", "--client", "shop", "--person", person, "--confirm", "--why", "request 26-114")

    assert (asked.returncode, asked.stderr.split(":")[0]) == (2, "BATCH-ERASE-CUT-SHORT")
    assert "to the end: 1" in again.stdout
    assert (again.returncode, again.stderr.split(":")[0]) == (2, "BATCH-ERASE-NOBODY")
    assert "No erasure is unfinished" in office.do("erase", "--resume").stdout


def test_an_erasure_that_was_cut_short_is_finished_in_the_next_night(
    office: Office, installation: Installation, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while somebody may still be at it."""
    person = installation.folder / "person.txt"
    person.write_text(MAIL)
    cut_short(office, person, monkeypatch)
    home = Path(office.environment["BULK_ORDERS_HOME"])
    settings = Settings(home=home, database_url=installation.url, encryption_key=installation.key)
    job = build_defs(settings).resolve_job_def("keep_records")

    def finished_by_the_night() -> list[tuple[object, ...]]:
        with dg.DagsterInstance.ephemeral() as instance:
            assert job.execute_in_process(instance=instance).success
        return installation.execute("select erasure_id from erasures where finished_at is not null")

    assert finished_by_the_night() == []
    monkeypatch.setattr(schedules, "_CUT_SHORT", timedelta())
    assert finished_by_the_night() == [(1,)]


@pytest.mark.parametrize("given", ["", "hanako", "\n\n"])
def test_what_is_no_address_is_refused_without_being_repeated(
    office: Office, batch: str, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    refused = office.do("erase")

    assert refused.returncode == 2
    assert "no mail address" in refused.stderr
    assert "hanako" not in refused.stderr


def test_a_batch_goes_to_a_test_system_as_a_file(office: Office, installation: Installation, batch: str) -> None:
    told = office.do("deidentify", batch, "-o", installation.folder / "out", "--json").told()
    inside = office.do("deidentify", batch, "-o", installation.folder / "home" / "import" / "shop")

    assert [(file["rows"], file["left_out"]) for file in told] == [(2, 0)]
    assert MAIL not in Path(told[0]["path"]).read_text(encoding="utf-8-sig")
    assert inside.returncode == 2
    assert "are not written there" in inside.stderr


def test_the_trail_tells_who_fetched_clear_text_and_of_which_rows(office: Office, installation: Installation) -> None:
    batch = installation.validated([order_row(), order_row(amount="7"), order_row(email="x")])
    office.do("report", batch, "-o", installation.folder / "mine")

    query = """select event, actor like 'cli:%%', subjects from audit_events
               where chain = %s and event ~ 'fetched' order by seq"""
    assert installation.execute(query, batch) == [("report:fetched", True, []), ("repair:fetched", True, [2, 3])]
    assert (installation.folder / "mine" / "repair.csv").stat().st_mode & 0o777 == 0o600


def test_every_command_that_needs_a_key_says_in_one_line_that_it_is_wrong(
    office: Office, installation: Installation, batch: str
) -> None:
    """Also `up`, before anything is started; what shows no personal data needs no key."""
    office.do("keys", "status")  # the right one is known from here on
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    file = installation.folder / "person.txt"
    file.write_text(MAIL, encoding="utf-8")
    commands = [
        ("report", batch, "-o", installation.folder / "x"),
        ("review", "accept", batch, "--all", "--reason", "r"),
        ("keys", "status"),
        ("keys", "rotate"),
        ("erase", "--person", file),
        ("deidentify", batch, "-o", installation.folder / "x"),
        ("webhooks", "--port", port),
        ("up",),
    ]
    wrong = {"": "is missing", base64.b64encode(bytes(32)).decode(): "is not the one", "short": "is not a 256-bit key"}
    more = {"BULK_ORDERS_UI_PORT": port}
    for given, words in wrong.items():
        for command in commands if words == "is not the one" else commands[:1]:
            secret = {"PAYMENT_WEBHOOK_SECRET": "w" * 40} if command[0] == "webhooks" else {}
            ended = office.do(*command, **more, **secret, BULK_ORDERS_ENCRYPTION_KEY=given)
            assert (ended.returncode, words in ended.stderr) == (2, True), (command, given, ended.stderr)
            assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr

    assert office.do("status", batch, "--json", BULK_ORDERS_ENCRYPTION_KEY="short").returncode < 2
    assert json.loads(office.do("keys", "status", "--json").stdout)[0]["newest"] is True
