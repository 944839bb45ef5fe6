"""Batches as files for test systems (R-53): the same shape, the same sums where wanted, and nobody in it.

Only rows that were accepted: what is wrong with a row may be that a name stands where nobody looks for one. Free text,
and columns that are none of ours, are left out and not cleaned.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from domain import columns
from domain.cells import CellReader, reader_of
from domain.deidentified import make_mark
from domain.errors import InvariantBroken, TerminalError
from domain.money import MAX_JPY, MIN_JPY
from domain.pseudonyms import FEWEST, OTHER_ITEM, OTHER_PREFECTURE, Pseudonyms, folded, parts_of, prefecture_of
from resources.database import batches, import_rows, trail
from resources.database.database import Database
from resources.database.import_rows import AcceptedRow
from resources.encryption import Vault

_IDENTIFYING = ("customer_name", "email", "phone", "postal_code", "address", "note")
_LEFT_OUT = frozenset({"note", "unit_price"})
COLUMNS = tuple(name for name in columns.NAMES if name not in _LEFT_OUT)
_VARY_PERCENT = 10


class Amounts(StrEnum):
    """What becomes of the yen."""

    KEEP = "keep"
    VARY = "vary"  # each up to ten percent more or less


@dataclass(frozen=True, slots=True)
class Written:
    """One file: its batch, its rows, and how many rows of the batch are not in it."""

    batch_id: str
    path: Path
    rows: int
    left_out: int


@dataclass(frozen=True, slots=True)
class _Original:
    """One accepted row, opened. ``others`` are all its cells that are none of the columns we read."""

    row: AcceptedRow
    values: dict[str, str]
    others: tuple[str, ...]

    @property
    def person(self) -> str:
        return folded(self.values["email"]) or folded(self.values["customer_name"])


@dataclass(frozen=True, slots=True)
class _Shared:
    """What enough persons share to be kept."""

    items: frozenset[tuple[str | None, str | None]]
    prefectures: frozenset[str]


def refuse_our_folders(folder: Path, ours: Iterable[Path]) -> None:
    """Nothing, when ``folder`` is none that this installation works with.

    Raises:
        TerminalError: SYS-DEIDENTIFY-FOLDER.
    """
    wanted = folder.resolve()
    for own in ours:
        if wanted == own.resolve() or wanted.is_relative_to(own.resolve()):
            raise TerminalError("SYS-DEIDENTIFY-FOLDER")


def deidentify(
    database: Database, vault: Vault, batch_ids: Sequence[str], folder: Path, amounts: Amounts, today: date
) -> list[Written]:
    """Write one file for each batch; the same person is the same in all of them, and in no other export.

    Raises:
        NotFound: there is no such batch.
        KeyRefused: its rows cannot be opened.
        TerminalError: the folder cannot be written.
    """

    def read(tx: Connection) -> tuple[dict[str, list[_Original]], dict[str, int], str]:
        opened = {batch_id: list(_opened(tx, vault, batch_id)) for batch_id in batch_ids}
        stored = {batch_id: import_rows.count(tx, batch_id) for batch_id in batch_ids}
        return opened, stored, trail.installation_id(tx)

    found, stored, installation = database.read(read)
    everything = [original for originals in found.values() for original in originals]
    drawn = Pseudonyms(secrets.token_bytes(32), parts_of(_identifying(everything)), today)
    shared = _shared(everything)
    written = []
    for at, (batch_id, originals) in enumerate(found.items(), start=1):
        octets = _file(originals, drawn, shared, amounts, make_mark(installation))
        path = folder / f"deidentified-{at}.csv"
        database.run(partial(trail.note, event="export:deidentified", about=batch_id, facts_sha256=_sha256(octets)))
        _write(path, octets)
        written.append(Written(batch_id, path, len(originals), stored[batch_id] - len(originals)))
    return written


def _opened(tx: Connection, vault: Vault, batch_id: str) -> Iterator[_Original]:
    batch = batches.get(tx, batch_id)
    reader = reader_of(batch.reading, batch.source_columns or ())
    ours = {at for positions in reader.positions.values() for at in positions}
    for row in import_rows.accepted(tx, batch_id):
        cells = vault.cells_or_none(batch_id, row.import_row_number, row.cells)
        if cells is not None:
            others = tuple(cell for at, cell in enumerate(cells) if at not in ours)
            yield _Original(row, {name: _value(reader, name, cells) for name in _IDENTIFYING}, others)


def _value(reader: CellReader, name: str, cells: Sequence[str]) -> str:
    return reader.value(name, cells) if name in reader.positions else ""


def _identifying(originals: Iterable[_Original]) -> Iterator[str]:
    for original in originals:
        yield from original.values.values()
        yield from original.others
        yield original.row.order_number


def _shared(originals: Sequence[_Original]) -> _Shared:
    """Of items and prefectures those that at least ``FEWEST`` persons have, and that name nobody."""
    of_item: dict[tuple[str | None, str | None], set[str]] = defaultdict(set)
    of_prefecture: dict[str, set[str]] = defaultdict(set)
    for original in originals:
        of_item[original.row.item_code, original.row.item_name].add(original.person)
        if (prefecture := prefecture_of(original.values["address"])) is not None:
            of_prefecture[prefecture].add(original.person)
    names = {part for part in parts_of(_identifying(originals)) if len(part) > 2}
    items = {item for item, people in of_item.items() if len(people) >= FEWEST and not _tells(item, names)}
    return _Shared(
        frozenset(items),
        frozenset(name for name, people in of_prefecture.items() if len(people) >= FEWEST),
    )


def _tells(item: Iterable[str | None], names: set[str]) -> bool:
    """Whether the text of an item holds a value that identifies somebody: an engraved name, a number to call."""
    texts = [folded(text) for text in item if text]
    return any(name in text for text in texts for name in names)


# -- the file ---------------------------------------------------------------------------------------------------------


def _file(originals: Iterable[_Original], drawn: Pseudonyms, shared: _Shared, amounts: Amounts, mark: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, mark])
    try:
        for original in originals:
            replaced = _replaced(original, drawn, shared, amounts)
            writer.writerow([*(replaced[name] for name in COLUMNS), ""])
    except OverflowError:
        raise InvariantBroken("SYS-PSEUDONYMS-EXHAUSTED") from None
    return text.getvalue().encode("utf-8-sig")


def _replaced(original: _Original, drawn: Pseudonyms, shared: _Shared, amounts: Amounts) -> dict[str, str]:
    row, values, person = original.row, original.values, original.person
    item = (row.item_code, row.item_name)
    code, name = item if item in shared.items else OTHER_ITEM
    prefecture = prefecture_of(values["address"])
    kept = prefecture if prefecture in shared.prefectures and prefecture is not None else OTHER_PREFECTURE
    jpy = row.amount_jpy
    if amounts is Amounts.VARY:
        jpy = drawn.amount(f"{row.batch_id}|{row.import_row_number}", jpy, _VARY_PERCENT, MIN_JPY, MAX_JPY)
    return {
        "order_number": drawn.order_number(row.order_number),
        "customer_name": drawn.name(person) if values["customer_name"] else "",
        "email": drawn.mail(person) if values["email"] else "",
        "item_code": code or "",
        "item_name": name or "",
        "quantity": "" if row.quantity is None else str(row.quantity),
        "amount": str(jpy),
        "currency": "JPY",
        "ordered_on": "" if row.ordered_on is None else drawn.day(row.ordered_on).isoformat(),
        "phone": drawn.phone(person) if values["phone"] else "",
        "postal_code": drawn.postal_code(person) if values["postal_code"] else "",
        "address": drawn.address(person, kept) if values["address"] else "",
    }


def _sha256(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def _write(path: Path, octets: bytes) -> None:
    half = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(octets)
        half.replace(path)
    except OSError:
        raise TerminalError("SYS-FOLDER-NOT-WRITABLE", variable="-o") from None
