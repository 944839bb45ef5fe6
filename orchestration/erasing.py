"""Erase one person: every key of their rows is destroyed, every copy of ours redacted; the rows stay accounted for.

First the decision, with who and why, in one transaction with the numbers of the rows: from then on it is decided. Then,
again and again the same, until the last step says that it is finished: keys, archives, copies, reports, fingerprints.
Killed anywhere, `resume` does the rest, or the next night; done twice, it changes nothing. What has left us is out of
reach, and said.

The same steps mend what a backup brought back: erasures of which only the database, or only the folder of keys, knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from assets.batch_report.work import write_repair_files, write_report
from assets.validated_csv.reading.originals import redacted
from assets.validated_csv.reading.taken import text_as_taken
from domain import guards
from domain.cells import reader_of
from domain.decisions import checked_note
from domain.errors import OperationRefused
from domain.identity import client_slug
from domain.people import folded_mail
from orchestration.key_rotation import mail_of, own_keys
from resources.batch_files import BatchFiles
from resources.database import batches, erasures, personal_files
from resources.database.batches import Batch
from resources.database.database import Database
from resources.encryption import Vault
from resources.redaction import destroy_copies, holding, replace_archive
from resources.sheet_folder import KeySheets

Rows = Mapping[str, Sequence[int]]

ERASED_ARCHIVE = "source.erased"
_NOTE = """このファイルは、ご本人の求めによる消去のため破棄しました。
This file was destroyed when a person in it was erased.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What of a person there is: their rows by batch, and how many files of ours may hold them that nobody can redact.

    ``copies_out``: how often files of these batches were fetched, or packed as evidence.
    """

    rows: Rows
    files_to_look_at: int
    copies_out: int

    @property
    def count(self) -> int:
        """Their rows."""
        return sum(map(len, self.rows.values()))


@dataclass(frozen=True, slots=True)
class Installed:
    """Everything of one installation that an erasure touches."""

    database: Database
    vault: Vault
    sheets: KeySheets
    files: BatchFiles


# -- finding ----------------------------------------------------------------------------------------------------------


def find(of: Installed, client: str, mail: str, rows: Iterable[tuple[str, int]] = ()) -> Found:
    """The rows of a person: by mail address, and those named beside; changes nothing.

    Raises:
        OperationRefused: there are none, or none any more although an erasure was cut short.
        NotFound: a batch that is named does not exist.
    """
    slug, person = client_slug(client), folded_mail(mail)
    named: dict[str, set[int]] = {}
    for batch_id, row in rows:
        named.setdefault(batch_id, set()).add(row)

    def read(tx: Connection) -> Found:
        found = {batch: set(numbers) for batch, numbers in named.items()}
        for batch_id in erasures.batches_of(tx, slug):
            mine = _rows_of(tx, of, batches.get(tx, batch_id), person)
            if mine:
                found.setdefault(batch_id, set()).update(mine)
        related = erasures.with_related(tx, {batch: sorted(numbers) for batch, numbers in found.items()})
        left = {batch: _not_erased(tx, batch, numbers) for batch, numbers in related.items()}
        left = {batch: numbers for batch, numbers in left.items() if numbers}
        return Found(left, _files_holding(of.files, mail), personal_files.fetched(tx, list(left)))

    found = of.database.read(read)
    if not found.count:
        _refuse_cut_short(of)
        raise OperationRefused("BATCH-ERASE-NOBODY")
    return found


def _refuse_cut_short(of: Installed) -> None:
    """It may be theirs: whoever hears that there is nobody believes that it is done."""
    for erasure in of.database.read(erasures.all_of):
        if erasure.finished_at is None:
            raise OperationRefused("BATCH-ERASE-CUT-SHORT", number=erasure.erasure_id)


def _not_erased(tx: Connection, batch_id: str, rows: Sequence[int]) -> list[int]:
    batches.get(tx, batch_id)  # there is such a batch
    gone = set(erasures.rows_of_batch(tx, batch_id))
    return [row for row, _ in erasures.sealed_rows(tx, batch_id, rows) if row not in gone]


def _rows_of(tx: Connection, of: Installed, batch: Batch, person: bytes) -> set[int]:
    """By the blind index of each key sheet; rows without an address, or of before there were sheets, one by one."""
    reader = reader_of(batch.reading, batch.source_columns or ())
    listed, unlisted = set[int](), set[int]()
    for sheet_id in of.sheets.of_batch(batch.batch_id):
        sheet = of.vault.sheet(batch.batch_id, sheet_id)
        listed.update(sheet.rows_of(person))
        unlisted.update(sheet.rows_of_nobody())
    mine = {row for row, cells in _opened(tx, of.vault, batch, listed) if mail_of(reader, cells) == person}
    others = list(_opened(tx, of.vault, batch, unlisted))
    others += _opened_one_by_one(tx, of.vault, batch)
    numbers = {reader.value("order_number", cells) for _, cells in _opened(tx, of.vault, batch, mine)} - {""}
    for row, cells in others:
        same_order = len(cells) == len(batch.source_columns or ()) and reader.value("order_number", cells) in numbers
        if same_order or any(person in folded_mail(cell) for cell in cells):
            mine.add(row)
    return mine


def _opened(tx: Connection, vault: Vault, batch: Batch, rows: set[int]) -> Iterator[tuple[int, list[str]]]:
    for row, sealed in erasures.sealed_rows(tx, batch.batch_id, rows):
        cells = vault.cells_or_none(batch.batch_id, row, sealed)
        if cells is not None:
            yield row, cells


def _opened_one_by_one(tx: Connection, vault: Vault, batch: Batch) -> list[tuple[int, list[str]]]:
    rows = erasures.rows_under_master_key(tx, batch.batch_id)
    return [(row, vault.open_cells(batch.batch_id, row, sealed)) for row, sealed in rows]


_ENCODINGS = ("utf-8", "cp932", "euc_jp", "utf-16-le", "utf-16-be")


def _files_holding(files: BatchFiles, mail: str) -> int:
    """Files set aside, which were never read row by row, with this address in them as it is written."""
    words = {mail.encode(encoding, "ignore") for encoding in _ENCODINGS} - {b""}
    return sum(holding(files.home / kind, words) for kind in ("quarantine", "duplicates"))


# -- deciding ---------------------------------------------------------------------------------------------------------


def decide(of: Installed, client: str, found: Found, why: str) -> int:
    """Record who erases the person and why, and do it; the number of the erasure.

    Raises:
        OperationRefused: who decides is not known, the reason may not be kept, something of the person is not
            finished, or is held.
    """
    if guards.person_of(of.database.actor.name) is None:
        raise OperationRefused("BATCH-PERSON-UNKNOWN")
    note = checked_note(why)
    resume(of)  # what somebody began before, and was killed

    def record(tx: Connection) -> int:
        for batch_id in sorted(found.rows):
            batches.lock(tx, batch_id)
        refuse_unfinished(tx, found.rows)
        return erasures.decide(tx, client_slug(client), note, found.rows)

    number = of.database.run(record)
    carry_out(of, number)
    return number


def refuse_unfinished(tx: Connection, rows: Rows) -> None:
    """Nothing, when all that was ordered with these rows has come to its end and nobody holds it.

    Raises:
        OperationRefused: BATCH-ERASE-UNFINISHED or BATCH-ERASE-HELD.
    """
    if held := erasures.held(tx, list(rows)):
        raise OperationRefused("BATCH-ERASE-HELD", batch=held[0])
    if unfinished := erasures.unfinished(tx, rows):
        first = unfinished[0]
        raise OperationRefused(
            "BATCH-ERASE-UNFINISHED",
            rows=len(unfinished),
            batch=first.batch_id,
            row=first.import_row_number,
            why=first.why,
        )


def resume(of: Installed) -> list[int]:
    """Finish what was decided and not finished, and erase again what a backup brought back; the erasures."""

    def left(tx: Connection) -> list[int]:
        unfinished = [erasure.erasure_id for erasure in erasures.all_of(tx) if erasure.finished_at is None]
        return sorted({*unfinished, *erasures.undone(tx, of.sheets)})

    numbers = of.database.read(left)
    for number in numbers:
        of.database.run(partial(_know_again, of, number))
        carry_out(of, number)
    return numbers


def finish(of: Installed, decided_before: datetime) -> list[int]:
    """Finish what was decided before a moment and is not carried out yet: whoever did it was killed. The erasures."""
    known = of.database.read(erasures.all_of)
    numbers = [one.erasure_id for one in known if one.finished_at is None and one.decided_at < decided_before]
    for number in numbers:
        carry_out(of, number)
    return numbers


def _know_again(of: Installed, number: int, tx: Connection) -> None:
    """The database is older than the erasure: what the folder of keys knows of it is written down again."""
    if number not in {erasure.erasure_id for erasure in erasures.all_of(tx)}:
        erasures.record_again(tx, number, of.sheets.erasures()[number])


# -- carrying out -----------------------------------------------------------------------------------------------------


def carry_out(of: Installed, number: int) -> None:
    """Destroy what is left of the rows of an erasure. Each step may be repeated.

    Raises:
        TransientError: a file cannot be replaced; `resume` goes on there.
    """
    rows = of.database.read(lambda tx: erasures.rows_of(tx, number))
    for batch_id in rows:
        for _ in own_keys(of.database, of.vault, batch_id):
            pass
        destroy_keys(of, batch_id, rows[batch_id])
    for batch_id in rows:
        _redact_archives(of, batch_id)
        of.database.run(partial(erasures.forget_fingerprints, batch_id=batch_id, rows=rows[batch_id]))
    _destroy_copies(of, list(rows))
    for batch_id in rows:
        _report_again(of, batch_id)
    if number not in of.sheets.erasures():
        of.sheets.note_erasure(number, rows)
    of.database.run(lambda tx: erasures.finish(tx, number))


def destroy_keys(of: Installed, batch_id: str, rows: Sequence[int]) -> None:
    """No key of these rows is left, whichever sheet of the batch had one."""
    for sheet_id in of.sheets.of_batch(batch_id):
        with of.sheets.changing(batch_id):
            sheet = of.vault.sheet(batch_id, sheet_id)
            if set(rows) & (set(range(sheet.first_row, sheet.first_row + len(sheet.ends))) - set(sheet.rows_erased())):
                of.sheets.destroy(sheet, rows, of.vault.newest)


def _redact_archives(of: Installed, batch_id: str) -> None:
    """Of a text the records of erased rows; a workbook is destroyed as a whole: its cells stand in many places."""
    of.files.remove_half_copy(batch_id)
    for archived in of.files.archives(batch_id):
        if archived.name != ERASED_ARCHIVE:
            _redact_archive(of, batch_id, archived)


def _redact_archive(of: Installed, batch_id: str, archived: Path) -> None:
    def read(tx: Connection) -> tuple[Batch, list[int]]:
        return batches.get(tx, batch_id), erasures.lines_of_erased(tx, batch_id)

    batch, lines = of.database.read(read)
    taken = text_as_taken(batch.reading)
    if taken is None:
        digest, what = replace_archive(archived, [_NOTE.encode("utf-8-sig")], ERASED_ARCHIVE), "whole"
    else:
        digest, what = replace_archive(archived, redacted(archived, taken, frozenset(lines))), "lines"
    of.database.run(lambda tx: personal_files.note_redacted(tx, batch_id, what, digest))


def _destroy_copies(of: Installed, batch_ids: Sequence[str]) -> None:
    """Files that came a second time are the same, octet by octet."""

    def read(tx: Connection) -> set[bytes]:
        return {batches.get(tx, batch_id).file_sha256 for batch_id in batch_ids}

    digests = of.database.read(read)
    for kind in ("duplicates", "quarantine"):
        destroy_copies(of.files.home / kind, digests)


def _report_again(of: Installed, batch_id: str) -> None:
    folder = of.files.report_dir(batch_id)
    if any(folder.iterdir()):
        write_report(of.database, of.vault, batch_id, folder)
        write_repair_files(of.database, of.vault, of.files, batch_id, folder)
