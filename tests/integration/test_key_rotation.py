"""Another master key while everything goes on: nothing is ever unreadable, and an old key goes when it may."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from assets.batch_report.work import write_report
from domain.errors import BulkOrdersError, KeyRefused, RowErased
from orchestration import key_rotation
from orchestration.bindings import admitted_vault, key_sheets, key_source
from orchestration.key_rotation import KeyUse, Rotated
from orchestration.settings import Settings
from resources.database import erasures, keys, roles
from resources.database.connection import Actor
from resources.database.database import Database
from resources.encryption import MasterKey, Vault
from resources.key_sheets import BETWEEN_CELLS, row_address
from resources.key_sources import KeySource
from resources.sheet_folder import KeySheets
from tests.integration.batches import HEADER, Installation, order_row


@pytest.fixture
def source(installation: Installation) -> KeySource:
    """A key file, whose key is admitted and is the installation's."""
    made = KeySource(None, installation.folder / "home" / "keys" / "personal-data.key")
    installation.vault = keys.admitted_vault(installation.database, made, installation.sheets)
    return made


def vault_of(installation: Installation, source: KeySource) -> Vault:
    return keys.admitted_vault(installation.database, source, installation.sheets)


def opened(installation: Installation, vault: Vault, batch: str) -> list[list[str]]:
    rows = installation.database.read(lambda tx: erasures.sealed_rows(tx, batch, range(1, 1_000)))
    return [vault.open_cells(batch, row, sealed) for row, sealed in rows]


def made_old(installation: Installation, batch: str, vault: Vault) -> None:
    """As rows were sealed before there were keys of rows."""
    for row, cells in enumerate(opened(installation, vault, batch), start=1):
        old = vault.newest.seal(BETWEEN_CELLS.join(cells).encode(), row_address(batch, row))
        query = "update import_rows set cells = %s where batch_id = %s and import_row_number = %s"
        installation.execute(query, old, batch, row)
    assert installation.sheets.destroy_batch(batch) == 1


def test_everything_is_under_the_newest_key_and_the_old_one_may_go(
    installation: Installation, source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "ROWS_AT_ONCE", 3)
    rows = [order_row() for _ in range(3)]
    batch, older = installation.validated(rows), installation.validated([order_row() for _ in range(7)])
    first = installation.vault
    made_old(installation, older, first)
    source.make_newest()
    second = vault_of(installation, source)

    before = key_rotation.status(installation.database, second, installation.sheets)
    done = key_rotation.rotate(installation.database, second, installation.sheets)
    after = key_rotation.status(installation.database, second, installation.sheets)
    password = roles.new_password()
    roles.make_application_login(installation.url, password)
    login = f"postgresql://{roles.APPLICATION_LOGIN}:{password}@{installation.url.partition('@')[2]}"
    application = Database(login, Actor("cli:hanako", "", "0.0"))
    key_rotation.retire(application, second, source, installation.sheets, first.key_id)
    application.dispose()

    assert before == [KeyUse(second.key_id, True, 0, 0), KeyUse(first.key_id, False, 1, 7)]
    assert done == Rotated(sheets=1, rows=7)
    assert after == [KeyUse(second.key_id, True, 4, 0), KeyUse(first.key_id, False, 0, 0)]
    alone = vault_of(installation, source)
    assert [master.key_id for master in alone.masters] == [second.key_id]
    assert opened(installation, alone, batch) == rows
    assert len(opened(installation, alone, older)) == 7
    assert (alone.tag("t"), alone.likenesses([b"l"])) == (first.tag("t"), first.likenesses([b"l"]))
    told = installation.execute("select event, reason from audit_events where chain = 'system' and event like 'key:%%'")
    assert told == [
        ("key:admitted", first.key_id),
        ("key:admitted", second.key_id),
        ("key:rotated", f"{second.key_id} sheets-1 rows-7"),
        ("key:removed", first.key_id),
    ]


def test_a_process_that_began_before_reads_on_and_seals_on(installation: Installation, source: KeySource) -> None:
    """Its key file has the newer key too; what it seals with its own is found by the next round."""
    batch = installation.validated([order_row()])
    running = installation.vault
    source.make_newest()
    newer = vault_of(installation, source)
    key_rotation.rotate(installation.database, newer, installation.sheets)

    assert len(opened(installation, running, batch)) == 1
    later = installation.validated([order_row()])
    assert key_rotation.rotate(installation.database, newer, installation.sheets) == Rotated(sheets=1, rows=0)
    assert key_rotation.rotate(installation.database, newer, installation.sheets) == Rotated(sheets=0, rows=0)
    assert len(opened(installation, newer, later)) == 1

    key_rotation.retire(installation.database, newer, source, installation.sheets, running.key_id)
    with pytest.raises(KeyRefused) as refused:
        installation.validated([order_row()])
    assert refused.value.code == "SYS-KEY-RETIRED"


def test_killed_in_between_every_row_opens_and_the_next_round_does_the_rest(
    installation: Installation, source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [installation.validated([order_row()]) for _ in range(3)]
    made_old(installation, batches[0], installation.vault)
    source.make_newest()
    newer = vault_of(installation, source)
    replace, passed = Path.replace, 0

    class Killed(BaseException):
        pass

    def dies(path: Path, target: Path) -> Path:
        nonlocal passed
        passed += 1
        if passed == 3:
            raise Killed
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dies)
        with pytest.raises(Killed):
            key_rotation.rotate(installation.database, newer, installation.sheets)

    assert [len(opened(installation, newer, batch)) for batch in batches] == [1, 1, 1]
    assert key_rotation.rotate(installation.database, newer, installation.sheets) == Rotated(sheets=1, rows=0)


def test_a_key_with_which_something_is_sealed_stays(installation: Installation, source: KeySource) -> None:
    installation.validated([order_row()])
    first = installation.vault.key_id
    source.make_newest()
    newer = vault_of(installation, source)

    def code_of(key_id: str) -> tuple[str, object]:
        with pytest.raises(BulkOrdersError) as refused:
            key_rotation.retire(installation.database, newer, source, installation.sheets, key_id)
        return refused.value.code, refused.value.facts.get("values")

    assert code_of(first) == ("SYS-KEY-IN-USE", 1)
    assert code_of("00000000") == ("SYS-KEY-UNKNOWN", None)
    key_rotation.rotate(installation.database, newer, installation.sheets)
    assert code_of(newer.key_id) == ("SYS-KEY-IN-USE", 1)
    assert len(source.keys()) == 2


def encoded(*given: bytes) -> str:
    return "\n".join(base64.b64encode(key).decode() for key in given)


def test_whoever_starts_needs_every_key_that_is_in_use(installation: Installation) -> None:
    """One clear line each, at start: a wrong key, a missing one, the newest alone, the folder of row keys gone."""
    first, second, wrong = os.urandom(32), os.urandom(32), os.urandom(32)

    def code_of(given: str | None) -> str:
        settings = Settings(home=installation.folder / "none", database_url=installation.url, encryption_key=given)
        try:
            admitted_vault(settings, installation.database)
        except KeyRefused as refused:
            return refused.code
        return "admitted"

    assert code_of(encoded(first)) == "admitted"
    assert code_of(encoded(wrong)) == "SYS-KEY-WRONG"
    assert code_of(encoded(second, first)) == "admitted"
    assert code_of(encoded(first)) == "SYS-KEY-INCOMPLETE"
    assert code_of(encoded(second)) == "SYS-KEY-INCOMPLETE"
    assert code_of(encoded(first, second)) == "admitted"
    assert code_of(encoded(wrong, second)) == "SYS-KEY-INCOMPLETE"
    assert code_of(None) == "SYS-KEY-MISSING"
    assert code_of("short") == "SYS-KEY-INVALID"
    assert installation.execute("select count(*) from encryption_keys") == [(2,)]


def test_rows_whose_keys_are_gone_say_so(installation: Installation, tmp_path: Path) -> None:
    """A backup of the data alone: nobody reads it."""
    batch = installation.validated([order_row()])
    elsewhere = Vault(base64.b64decode(installation.key), sheets=KeySheets(tmp_path / "none"))

    with pytest.raises(KeyRefused) as refused:
        opened(installation, elsewhere, batch)

    assert (refused.value.code, refused.value.facts) == ("SYS-ROW-KEYS-MISSING", {"batch": batch})


def test_rows_whose_time_is_over_are_said_to_be_gone(installation: Installation) -> None:
    """Retention destroys every sheet of a batch; that is no missing backup, and its report can still be written."""
    batch = installation.validated([order_row(), order_row()])
    assert installation.sheets.destroy_batch(batch) == 1

    with pytest.raises(RowErased) as refused:
        opened(installation, installation.vault, batch)
    report = write_report(installation.database, installation.vault, batch, installation.folder / "report")

    assert (refused.value.code, refused.value.facts) == ("BATCH-ROWS-EXPIRED", {"batch": batch})
    assert sum(report.rows_per_file.values()) == 2
    assert key_rotation.rotate(installation.database, installation.vault, installation.sheets) == Rotated(0, 0)


def test_the_settings_say_where_keys_are(tmp_path: Path) -> None:
    given = {"BULK_ORDERS_HOME": str(tmp_path), "BULK_ORDERS_KEY_COMMAND": "kms", "BULK_ORDERS_KEY_SHEETS_DIR": "s"}
    settings = Settings.from_environment(given)

    assert key_source(settings) == KeySource(None, tmp_path / "keys" / "personal-data.key", "kms")
    assert key_sheets(settings).folder.is_absolute()
    assert MasterKey(bytes(32)).key_id not in repr(settings)
    assert HEADER
