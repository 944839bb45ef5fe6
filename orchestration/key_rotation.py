"""Another master key, while everything goes on: what older keys sealed is sealed anew, a little at a time.

A key sheet is opened and sealed under the newest key, one file after the other; rows of before there were sheets get
keys of their own. Killed anywhere, each sheet and each row is under one of the two keys, both of which are there: run
again, the rest follows. What a running process still seals with its older key meanwhile is found by the next round; it
takes newer keys from where they come from, without being started again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from domain.cells import CellReader, reader_of
from domain.errors import KeyRefused, OperationRefused
from domain.people import folded_mail
from resources.database import batches, erasures, keys, trail
from resources.database.database import Database
from resources.encryption import Vault, key_id_of
from resources.key_sheets import BETWEEN_CELLS
from resources.key_sources import KeySource
from resources.sheet_folder import KeySheets

ROWS_AT_ONCE = 500
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One master key: how many key sheets, and how many rows of before there were sheets, are sealed with it."""

    key_id: str
    newest: bool
    sheets: int
    rows: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """What was sealed anew."""

    sheets: int
    rows: int


def status(database: Database, vault: Vault, sheets: KeySheets) -> list[KeyUse]:
    """Every key that was admitted, the newest first; and any other that something is sealed with."""

    def read(tx: Connection) -> tuple[list[str], dict[str, int]]:
        return keys.admitted(tx), erasures.rows_by_master_key(tx)

    admitted, rows = database.read(read)
    of_sheets = Counter(_key_of(sheets, batch_id, sheet_id) for batch_id, sheet_id in _all(sheets))
    order = {key_id: place for place, key_id in enumerate(master.key_id for master in vault.masters)}
    names = sorted({*admitted, *rows, *of_sheets}, key=lambda name: (order.get(name, len(order)), name))
    return [KeyUse(name, name == vault.key_id, of_sheets[name], rows.get(name, 0)) for name in names]


def rotate(database: Database, vault: Vault, sheets: KeySheets) -> Rotated:
    """Seal everything with the newest key; with nothing to do, nothing is done.

    Raises:
        KeyRefused: something is sealed with a key that was not given.
    """
    done = Rotated(0, 0)
    for _ in range(_ROUNDS):
        rows = sum(own_keys(database, vault))
        wrapped = sum(_rewrap(vault, sheets, batch_id, sheet_id) for batch_id, sheet_id in _all(sheets))
        done = Rotated(done.sheets + wrapped, done.rows + rows)
        if not rows + wrapped:
            break
    if done.sheets + done.rows:
        about = f"{vault.key_id} sheets-{done.sheets} rows-{done.rows}"
        database.run(lambda tx: trail.note(tx, "key:rotated", about))
    return done


def retire(database: Database, vault: Vault, source: KeySource, sheets: KeySheets, key_id: str) -> None:
    """Forget a key for good: it is no longer needed to start, and taken out of the key file where it stands there.

    Raises:
        OperationRefused: something is sealed with it, or it is the newest, or not known.
    """

    def forget(tx: Connection) -> None:
        keys.retire(tx, key_id)  # waits for whoever is sealing with it
        used = sum(_key_of(sheets, *each) == key_id for each in _all(sheets))
        used += erasures.rows_by_master_key(tx).get(key_id, 0)
        if used or key_id == vault.key_id:
            raise OperationRefused("SYS-KEY-IN-USE", key_id=key_id, values=used)

    database.run(forget)
    if source.makes_keys:
        source.drop(key_id)


def own_keys(database: Database, vault: Vault, batch_id: str | None = None) -> Iterator[int]:
    """Give rows of before there were key sheets keys of their own, some at a time; how many each time."""
    while True:
        count = database.run(lambda tx: _own_keys(tx, vault, batch_id))
        if not count:
            return
        yield count


def _own_keys(tx: Connection, vault: Vault, only: str | None) -> int:
    keys.must_be_admitted(tx, vault)
    found = erasures.rows_without_own_key(tx, only, ROWS_AT_ONCE)
    for batch_id in sorted({batch for batch, _, _ in found}):
        batch = batches.get(tx, batch_id)
        reader = reader_of(batch.reading, batch.source_columns or ())
        rows = [(row, cells) for batch, row, cells in found if batch == batch_id]
        for run in _runs(rows):
            erasures.put_cells(tx, batch_id, _sealed_anew(vault, batch_id, reader, run))
    return len(found)


def _sealed_anew(vault: Vault, batch_id: str, reader: CellReader, run: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
    opened = [vault.open_cells(batch_id, row, cells) for row, cells in run]
    people = [mail_of(reader, cells) for cells in opened]
    plain = [BETWEEN_CELLS.join(cells).encode() for cells in opened]
    sealed = vault.seal_rows(batch_id, run[0][0], plain, people)
    return dict(zip((row for row, _ in run), sealed, strict=True))


def mail_of(reader: CellReader, cells: Sequence[str]) -> bytes:
    """The folded mail address of a row; empty where none can be told."""
    try:
        return folded_mail(reader.value("email", cells))
    except IndexError:  # a row with fewer cells than the header
        return b""


def _runs(rows: Sequence[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Rows that follow each other without a gap."""
    run: list[tuple[int, bytes]] = []
    for row in rows:
        if run and row[0] != run[-1][0] + 1:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _rewrap(vault: Vault, sheets: KeySheets, batch_id: str, sheet_id: bytes) -> bool:
    with sheets.changing(batch_id):
        if _key_of(sheets, batch_id, sheet_id) in (vault.key_id, ""):
            return False
        old = vault.master_of(sheets.head(batch_id, sheet_id))
        sheets.rewrap(batch_id, sheet_id, old, vault.newest)
    return True


def _key_of(sheets: KeySheets, batch_id: str, sheet_id: bytes) -> str:
    """Empty where the sheet is gone meanwhile: its batch was destroyed."""
    try:
        return key_id_of(sheets.head(batch_id, sheet_id)) or ""
    except KeyRefused as error:
        if error.code == "SYS-ROW-KEYS-MISSING":
            return ""
        raise


def _all(sheets: KeySheets) -> Iterator[tuple[str, bytes]]:
    for batch_id in sheets.batches():
        for sheet_id in sheets.of_batch(batch_id):
            yield batch_id, sheet_id
