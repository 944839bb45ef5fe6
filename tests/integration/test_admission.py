"""Taking a file while somebody else takes it, or takes it away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.work import validate_batch
from domain.errors import FileRefused
from domain.states import BatchState
from orchestration import admission
from orchestration.admission import Admission, admit
from resources.batch_files import BatchFiles, FileChanged
from resources.database import batches
from tests.integration.batches import Installation, csv_bytes, order_row


def dropped(installation: Installation, octets: bytes) -> Path:
    """A file in the import folder."""
    path = installation.folder / "home" / "import" / "shop" / "orders.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(octets)
    return path


def taken(installation: Installation, path: Path) -> Admission:
    return admit(installation.database, installation.files, path, "shop")


def meanwhile(monkeypatch: pytest.MonkeyPatch, where: tuple[object, str], happens: Callable[[], object]) -> None:
    """It happens once, before the first call of what is ``where``."""
    holder, name = where
    original = getattr(holder, name)

    def called(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(holder, name, original)
        happens()
        return original(*arguments, **options)

    monkeypatch.setattr(holder, name, called)


REGISTER, ARCHIVE = (admission, "_register"), (BatchFiles, "archive")


@pytest.mark.parametrize("where", [REGISTER, ARCHIVE])
def test_a_file_that_another_takes_meanwhile_is_taken_once_and_not_refused(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str]
):
    """A sensor that was stopped, and the one that took its place."""
    path = dropped(installation, csv_bytes([order_row(), order_row()]))
    of_other: list[Admission] = []
    meanwhile(monkeypatch, where, lambda: of_other.append(taken(installation, path)))
    late = taken(installation, path)
    [first] = of_other

    assert (first.batch.batch_id, first.duplicate) == (late.batch.batch_id, False)
    assert late.duplicate
    assert not path.exists()
    assert installation.batch(late.batch.batch_id) == ("received", None)
    found = validate_batch(
        installation.database, installation.vault, installation.files, late.batch.batch_id, ReadingLimits()
    )
    assert found.books.rows_accepted == 2


def test_a_file_that_another_took_and_worked_on_is_left_as_it_is(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
):
    path = dropped(installation, csv_bytes([order_row()]))

    def take_and_validate() -> None:
        batch_id = taken(installation, path).batch.batch_id
        validate_batch(installation.database, installation.vault, installation.files, batch_id, ReadingLimits())

    meanwhile(monkeypatch, ARCHIVE, take_and_validate)
    late = taken(installation, path)

    assert installation.batch(late.batch.batch_id) == ("validated", None)


def test_a_refused_batch_that_another_took_up_again_is_left_as_it_is(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
):
    """The file was dropped again after a refusal; both found the batch refused."""
    octets = csv_bytes([order_row()])
    path = dropped(installation, octets)
    batch_id = taken(installation, path).batch.batch_id
    with installation.database.begin() as tx:
        batches.move(tx, batch_id, BatchState.REFUSED, FileRefused("FILE-UNREADABLE"))
    dropped(installation, octets)

    def take_and_validate() -> None:
        taken(installation, dropped(installation, octets))
        validate_batch(installation.database, installation.vault, installation.files, batch_id, ReadingLimits())

    meanwhile(monkeypatch, (admission, "_reopened"), take_and_validate)
    late = taken(installation, path)

    assert installation.batch(late.batch.batch_id) == ("validated", None)


def test_another_file_in_its_place_is_not_this_batch(installation: Installation, monkeypatch: pytest.MonkeyPatch):
    """The other took it, and the client dropped the next one under the same name."""
    path, following = dropped(installation, csv_bytes([order_row()])), csv_bytes([order_row()])

    def take_and_drop() -> None:
        taken(installation, path)
        dropped(installation, following)

    meanwhile(monkeypatch, ARCHIVE, take_and_drop)
    with pytest.raises(FileChanged):
        taken(installation, path)
    next_one = taken(installation, path)

    assert not next_one.duplicate
    assert installation.execute("select state from batches order by state") == [("received",), ("received",)]


def test_a_file_that_is_taken_away_is_refused_and_taken_when_it_comes_back(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
):
    octets = csv_bytes([order_row()])
    path = dropped(installation, octets)
    meanwhile(monkeypatch, ARCHIVE, path.unlink)
    with pytest.raises(FileRefused, match="FILE-NOT-FOUND"):
        taken(installation, path)
    assert installation.execute("select state, reason from batches") == [("refused", "FILE-NOT-FOUND")]

    again = taken(installation, dropped(installation, octets))

    assert installation.batch(again.batch.batch_id) == ("received", None)


def test_a_file_that_was_refused_in_another_clients_folder_is_its_own_clients_afterwards(installation: Installation):
    """The same bytes are one batch for ever: paid under another client, no number of its own would be found twice."""
    octets = csv_bytes([order_row()])
    path = installation.folder / "orders.csv"
    path.write_bytes(octets)
    wrong = admit(installation.database, installation.files, path, "other shop", keep_original=True).batch.batch_id
    with installation.database.begin() as tx:
        batches.move(tx, wrong, BatchState.REFUSED, FileRefused("FILE-ENCODING-UNSURE"))

    again = taken(installation, dropped(installation, octets))

    assert (again.batch.batch_id, again.batch.client, again.batch.state) == (wrong, "shop", BatchState.RECEIVED)
    changed = "select reason from audit_events where chain = %s and event = 'client:changed'"
    assert installation.execute(changed, wrong) == [("shop",)]
    [note] = (installation.folder / "home" / "duplicates" / "shop").glob("*.note.txt")
    assert "FILE-TAKEN-AGAIN" in note.read_text(encoding="utf-8")


def test_a_batch_that_was_not_refused_stays_its_clients(installation: Installation):
    octets = csv_bytes([order_row()])
    first = taken(installation, dropped(installation, octets))

    again = admit(installation.database, installation.files, dropped(installation, octets), "other")

    assert (again.duplicate, again.batch.batch_id, again.batch.client) == (True, first.batch.batch_id, "shop")
    [note] = (installation.folder / "home" / "duplicates" / "other").glob("*.note.txt")
    assert "FILE-DUPLICATE" in note.read_text(encoding="utf-8")
