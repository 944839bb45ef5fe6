"""One person is erased: nobody reads them again, not from a backup either, and the books and the trail stay whole."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.batch_report.work import close_batch, write_repair_files, write_report
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from audit.pack import verify_pack
from audit.pack.making import Archive, pack
from audit.verification import verify
from domain.decisions import Decision
from domain.errors import BulkOrdersError, KeyRefused, OperationRefused, RowErased
from domain.states import EffectKind
from orchestration import erasing, operations, reviews
from orchestration.erasing import Installed
from orchestration.reviews import RowDecision
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import open_signing_key, trusted_keys
from resources.database import books, erasures, roles
from resources.database.connection import Actor
from resources.database.database import Database
from tests.integration.batches import HEADER, Installation, csv_bytes, order_row, services, work_through
from tests.integration.repairing import write_workbook

PERSON = {
    "customer_name": "消去 花子",
    "email": "hanako.kesu@example.jp",
    "phone": "03-1111-2222",
    "内部メモ": "花子のメモ",
}
TYPED = "Ｈanako.Kesu＠example.jp"
SECRETS = ["消去 花子", "hanako.kesu@example.jp", "Hanako.Kesu@example.jp", TYPED, "03-1111-2222", "花子のメモ"]
WHY = "request 26-114"


ROWS: list[dict[str, str]] = [{}, PERSON, PERSON | {"email": TYPED}, PERSON | {"amount": "7"}, {}]
"""The person twice, once typed in another way, and once in a row that is rejected; and others."""


@pytest.fixture
def of(installation: Installation) -> Iterator[Installed]:
    """Everything, by the login of the application: a person's command needs no more rights than that."""
    password = roles.new_password()
    roles.make_application_login(installation.url, password)
    url = f"postgresql://{roles.APPLICATION_LOGIN}:{password}@{installation.url.partition('@')[2]}"
    acting = Database(url, Actor("cli:hanako", "", "0.0"))
    yield Installed(acting, installation.vault, installation.sheets, installation.files)
    acting.dispose()


def reported(of: Installed, batch: str) -> str:
    folder = of.files.report_dir(batch)
    write_report(of.database, of.vault, batch, folder)
    write_repair_files(of.database, of.vault, of.files, batch, folder)
    close_batch(of.database, batch)
    return batch


@pytest.fixture
def paid(of: Installed, installation: Installation, payments: Any, notifications: Any) -> str:
    """A batch that came to its end, with its report."""
    batch = installation.ordered([order_row(**row) for row in ROWS])
    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    return reported(of, batch)


@pytest.fixture
def finished(of: Installed, installation: Installation) -> str:
    """The same, cancelled before anything was paid: quicker."""
    batch = installation.validated([order_row(**row) for row in ROWS])
    operations.cancel(of.database, batch)
    return reported(of, batch)


def erase(of: Installed) -> int:
    return erasing.decide(of, "shop", erasing.find(of, "shop", PERSON["email"]), WHY)


def everything_below(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def cells_of(of: Installed, batch: str) -> list[list[str] | None]:
    rows = of.database.read(lambda tx: erasures.sealed_rows(tx, batch, range(1, 6)))
    return [of.vault.cells_or_none(batch, row, sealed) for row, sealed in rows]


def test_nothing_of_the_person_is_left_and_every_row_is_accounted_for(of: Installed, paid: str) -> None:
    before = of.database.read(lambda tx: books.read(tx, paid))
    assert all(secret.encode() in everything_below(of.files.home) for secret in SECRETS)

    number = erase(of)

    left = everything_below(of.files.home)
    assert [secret for secret in SECRETS if secret.encode() in left] == []
    assert [cells is None for cells in cells_of(of, paid)] == [False, True, True, True, False]
    assert of.database.read(lambda tx: books.read(tx, paid)) == before
    report = write_report(of.database, of.vault, paid, of.files.report_dir(paid))
    assert sum(report.rows_per_file.values()) >= 5
    assert write_repair_files(of.database, of.vault, of.files, paid, of.files.report_dir(paid)) == 0
    assert of.database.read(lambda tx: erasures.rows_of(tx, number)) == {paid: [2, 3, 4]}


def test_what_a_killed_writer_left_goes_too(of: Installed, finished: str) -> None:
    """Half a list of readings, of whom nothing is left to read; half a copy of the file, taken twice at once."""
    folder = of.files.report_dir(finished)
    (folder.parent / ".source.part").write_text(PERSON["email"], encoding="utf-8")
    for name in ("readings.csv", "changes.csv", "errors.csv", "repair.tsv", "repair.xlsx"):
        (folder / f".{name}.part").write_text(PERSON["email"], encoding="utf-8")

    erase(of)

    left = [*folder.iterdir(), *folder.parent.iterdir()]
    assert [path.name for path in left if path.name.startswith(".")] == []


def test_the_trail_is_whole_and_tells_who_why_and_which_rows(
    of: Installed, paid: str, installation: Installation, tmp_path: Path
) -> None:
    number = erase(of)

    home = of.files.home
    key_file = home / "keys" / "anchors.key"
    archive = Archive(of.files, AnchorFolder(home / "anchors"), open_signing_key(key_file), trusted_keys(key_file))
    packed = pack(of.database, archive, paid, [], tmp_path / "evidence.zip").path.read_bytes()
    assert verify_pack.verify(packed)[1] == []
    assert [secret for secret in SECRETS if secret.encode() in packed] == []

    verified = verify(of.database, archive.anchors, archive.keys)
    assert verified.faults == ()
    about = f"erasure-{number}"
    query = "select event, actor, subjects from audit_events where reason = %s order by at, seq"
    assert installation.execute(query, about) == [
        ("person:erasing", "cli:hanako", []),
        ("cells:erased", "cli:hanako", [2, 3, 4]),
        ("person:erased", "cli:hanako", []),
    ]
    assert installation.execute("select note, decided_by from erasures") == [(WHY, "cli:hanako")]
    trail = str(installation.execute("select * from audit_events"))
    assert [secret for secret in SECRETS if secret in trail] == []


def test_the_archive_keeps_every_other_line_where_it_was(of: Installed, finished: str) -> None:
    archived = of.files.archived(finished)
    assert archived is not None
    before = archived.read_bytes().split(b"\r\n")
    erase(of)
    after = archived.read_bytes().split(b"\r\n")

    assert [len(line) for line in after] == [len(line) for line in before]
    assert [i for i, line in enumerate(after) if line != before[i]] == [2, 3, 4]
    assert set(b"".join(after[2:5])) == {ord("x")}
    assert archived.stat().st_mode & 0o777 == 0o400


def test_a_workbook_goes_as_a_whole_and_stays_away(of: Installed, installation: Installation) -> None:
    """Killed with its note beside it already, or brought back beside the note by a backup of the files."""
    rows = [HEADER, *(order_row(**row) for row in ROWS)]
    batch = installation.admitted(write_workbook(installation.folder / "orders.xlsx", rows))
    validate_batch(of.database, of.vault, of.files, batch, ReadingLimits())
    operations.cancel(of.database, batch)
    [archived] = of.files.archives(reported(of, batch))
    workbook = archived.read_bytes()
    number = erase(of)
    folder = archived.parent
    assert [path.name for path in folder.glob("source*")] == ["source.erased"]

    archived.write_bytes(workbook)
    erasing.carry_out(of, number)

    assert [path.name for path in folder.glob("source*")] == ["source.erased"]
    assert "求めによる消去" in (folder / "source.erased").read_text(encoding="utf-8-sig")


def test_a_backup_of_the_database_brings_nobody_back(of: Installed, finished: str, installation: Installation) -> None:
    """The rows come back, their keys do not; and that the database is older is noticed, said and mended."""
    sealed = of.database.read(lambda tx: erasures.sealed_rows(tx, finished, [2]))[0][1]
    erase(of)
    for table in ("erased_rows", "erasures"):
        installation.execute(f"alter table {table} disable trigger all")
        installation.execute(f"delete from {table}")
        installation.execute(f"alter table {table} enable always trigger append_only")
        installation.execute(f"alter table {table} enable always trigger audit")

    with pytest.raises(RowErased):
        of.vault.open_cells(finished, 2, sealed)
    with pytest.raises(KeyRefused) as refused:
        of.database.read(lambda tx: erasures.refuse_undone(tx, of.sheets))
    assert refused.value.code == "SYS-ERASURES-UNDONE"
    assert erasing.resume(of) == [1]
    assert of.database.read(lambda tx: erasures.rows_of_batch(tx, finished)) == [2, 3, 4]
    of.database.read(lambda tx: erasures.refuse_undone(tx, of.sheets))


def test_a_backup_of_the_keys_brings_nobody_back_unnoticed(of: Installed, finished: str, tmp_path: Path) -> None:
    shutil.copytree(of.sheets.folder, tmp_path / "backup")
    erase(of)
    shutil.rmtree(of.sheets.folder)
    shutil.copytree(tmp_path / "backup", of.sheets.folder)
    assert cells_of(of, finished)[1] is not None

    with pytest.raises(KeyRefused) as refused:
        of.database.read(lambda tx: erasures.refuse_undone(tx, of.sheets))
    assert refused.value.code == "SYS-ERASURES-UNDONE"
    assert erasing.resume(of) == [1]
    assert [cells is None for cells in cells_of(of, finished)] == [False, True, True, True, False]
    of.database.read(lambda tx: erasures.refuse_undone(tx, of.sheets))


STEPS = ["destroy_keys", "_redact_archives", "_destroy_copies", "_report_again"]


def test_killed_in_between_it_is_finished_by_the_next(
    of: Installed, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step in turn: what was decided stays decided, and whoever comes next does the rest."""

    class Killed(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Killed

    for step in STEPS:
        with monkeypatch.context() as patched:
            patched.setattr(erasing, step, dies)
            with pytest.raises(Killed):
                _ = erasing.resume(of) if step != STEPS[0] else erase(of)
    assert erasing.resume(of) == [1]

    assert [cells is None for cells in cells_of(of, finished)] == [False, True, True, True, False]
    assert [secret for secret in SECRETS if secret.encode() in everything_below(of.files.home)] == []
    assert erasing.resume(of) == []


def test_a_person_whose_payment_is_not_finished_is_refused(of: Installed, installation: Installation) -> None:
    batch = installation.ordered([order_row(**PERSON), order_row()])

    with pytest.raises(OperationRefused) as refused:
        erase(of)

    assert refused.value.code == "BATCH-ERASE-UNFINISHED"
    assert refused.value.facts == {"rows": 1, "batch": batch, "row": 1, "why": "batch ordered"}
    assert installation.execute("select count(*) from erasures") == [(0,)]
    assert cells_of(of, batch)[0] is not None


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(BulkOrdersError) as refused:
        act()
    return refused.value.code


def test_what_is_not_to_be_erased_is_refused_each_with_its_code(
    of: Installed, finished: str, installation: Installation
) -> None:
    """Another client's customer with the same address is another matter."""
    found = erasing.find(of, "shop", PERSON["email"])
    nobody = dataclasses.replace(of, database=installation.database)

    assert code_of(lambda: erasing.find(of, "other", PERSON["email"])) == "BATCH-ERASE-NOBODY"
    assert code_of(lambda: erasing.find(of, "shop", "nobody@example.jp")) == "BATCH-ERASE-NOBODY"
    assert code_of(lambda: erasing.decide(of, "shop", found, "of hanako@example.jp")) == "BATCH-NOTE-REFUSED"
    assert code_of(lambda: erasing.decide(nobody, "shop", found, WHY)) == "BATCH-PERSON-UNKNOWN"
    installation.execute("insert into legal_holds (scope, subject, note) values ('client', 'shop', 'case 7')")
    assert code_of(lambda: erase(of)) == "BATCH-ERASE-HELD"
    installation.execute("update legal_holds set lifted_by = 'x', lifted_at = now()")
    erase(of)
    assert code_of(lambda: erase(of)) == "BATCH-ERASE-NOBODY"
    assert installation.execute("select count(*) from erasures") == [(1,)]


def test_nothing_of_an_erased_row_is_sent_again(
    of: Installed, installation: Installation, payments: Any, notifications: Any
) -> None:
    """Its mail could not be written any more."""
    batch = installation.ordered([order_row(**PERSON), order_row()])
    payments.behave(fault_orders={"decline": installation.order_ids(batch)})
    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    close_batch(installation.database, batch)
    installation.execute("update payments set reason = 'PAY-RETRIES-EXHAUSTED' where batch_id = %s", batch)
    assert operations.redrive(of.database, batch, dry_run=True).payments.effects == 2
    erase(of)

    assert operations.redrive(of.database, batch, dry_run=True).payments.effects == 1


@pytest.fixture
def paid_after_all(of: Installed, installation: Installation, payments: Any, notifications: Any) -> str:
    """Declined, and the person erased; then the service says that it was paid, which is for a person to settle."""
    batch = installation.ordered([order_row(**PERSON), order_row()])
    payments.behave(fault_orders={"decline": installation.order_ids(batch)})
    work_through(installation, batch, services(str(payments.http.base_url), str(notifications.http.base_url)))
    close_batch(installation.database, batch)
    erase(of)
    installation.execute(
        "update payments set state = 'review', reason = 'PAY-EVENT-AFTER-REFUSAL' where batch_id = %s", batch
    )
    return batch


def decided(row: int, decision: Decision) -> RowDecision:
    return RowDecision(row, EffectKind.PAYMENT, decision, "asked the service")


def test_an_erased_person_who_paid_after_all_is_paid_and_told_nothing(
    of: Installed, installation: Installation, payments: Any, notifications: Any, paid_after_all: str
) -> None:
    """The money is theirs to take; nobody is there to be written to, and the batch comes to its end."""
    batch, ids = paid_after_all, installation.order_ids(paid_after_all)

    for row in (1, 2):
        reviews.decide(of.database, of.vault, batch, decided(row, Decision.DONE))
    of_services = services(str(payments.http.base_url), str(notifications.http.base_url))
    _, now = work_through(installation, batch, of_services)

    mailed = notifications.rows("SELECT order_id FROM mails WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    assert mailed == [(ids[1],)]
    assert installation.states("notifications", batch)[ids[0]] == ("rejected", "MAIL-ROW-ERASED")
    assert now.paid_orders == 2
    assert close_batch(of.database, batch).batch.state == "partial"


def test_nothing_of_an_erased_row_is_sent_again_by_decision(of: Installed, paid_after_all: str) -> None:
    erased, other = (decided(row, Decision.SEND_AGAIN) for row in (1, 2))

    assert code_of(lambda: reviews.decide(of.database, of.vault, paid_after_all, erased)) == "BATCH-ROW-ERASED"
    reviews.decide(of.database, of.vault, paid_after_all, other)


def test_a_repair_file_of_before_takes_no_erased_row(of: Installed, finished: str, installation: Installation) -> None:
    repair = next(of.files.report_dir(finished).glob("repair.csv"))
    given = installation.folder / "mended.csv"
    given.write_bytes(repair.read_bytes().replace(b",7,", b",700,"))
    erase(of)
    back = installation.admitted(given)
    from assets.validated_csv.limits import ReadingLimits
    from assets.validated_csv.work import validate_batch

    validate_batch(installation.database, installation.vault, installation.files, back, ReadingLimits())

    found = installation.execute("select state, issues -> 0 ->> 'code' from import_rows where batch_id = %s", back)
    assert found == [("rejected", "ORD-REPAIR-ERASED")]


def test_what_came_twice_is_destroyed_and_what_was_never_read_is_pointed_at(
    of: Installed,
    finished: str,
) -> None:
    archived = of.files.archived(finished)
    assert archived is not None
    twice = of.files.home / "duplicates" / "shop" / "again.csv"
    unread = of.files.home / "quarantine" / "shop" / "broken.csv"
    for path in (twice, unread):
        path.parent.mkdir(parents=True, exist_ok=True)
    twice.write_bytes(archived.read_bytes())
    unread.write_bytes(csv_bytes([order_row(**PERSON)], HEADER[:3]))

    assert erasing.find(of, "shop", PERSON["email"]).files_to_look_at == 2
    erase(of)

    assert not twice.exists()
    assert unread.exists()
