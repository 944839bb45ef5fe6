"""Read the archived file, validate every row, and store all of them in one transaction, part by part.

Killed anywhere before its commit, nothing is stored and the batch is still `received`; run again after it, the stage
finds the batch `validated` and changes nothing. A file that is refused further down leaves nothing either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from assets.validated_csv.account import reading_record, reading_text
from assets.validated_csv.judged_file import JudgedFile
from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.repaired import Repaired, recognise
from assets.validated_csv.rows import stored_rows
from assets.validated_csv.source_table import SourceTable
from assets.validated_csv.totals import refuse_without_totals, side_totals
from domain.client_profile import NO_PROFILE
from domain.deidentified import refuse_deidentified
from domain.errors import FileRefused, InvariantBroken
from domain.states import BatchState
from resources.batch_files import BatchFiles
from resources.client_profiles import ClientProfiles
from resources.database import batches, books, import_rows, keys, orders, repairs, row_storage, trail
from resources.database.batches import Batch
from resources.database.books import Books
from resources.database.database import BatchHold, Database
from resources.encryption import Vault


@dataclass(frozen=True, slots=True)
class Validated:
    """The books after validation, and how often each fault occurs: (column, code, rows)."""

    books: Books
    issue_counts: list[tuple[str, str, int]]

    def faults_table(self) -> str:
        """The faults as a markdown table, most frequent first: codes and counts."""
        if not self.issue_counts:
            return "none"
        lines = [f"| {column or '-'} | {code} | {rows:,} |" for column, code, rows in self.issue_counts]
        return "\n".join(["| column | code | rows |", "|---|---|---:|", *lines])

    def reading(self) -> str:
        """How the file was read, as markdown."""
        return reading_text(self.books.batch.reading, self.books.batch.source_columns or ())


def validate_batch(
    database: Database,
    vault: Vault,
    files: BatchFiles,
    batch_id: str,
    limits: ReadingLimits,
    profiles: ClientProfiles | None = None,
) -> Validated:
    """Validate the batch unless that is done already; without ``profiles`` no client has one.

    Raises:
        FileRefused: the file as a whole. The batch is `refused` then, and a copy lies in quarantine with a note.
        InvariantBroken: the archived file is not the one the batch was registered with.
    """
    with database.hold_batch(batch_id) as hold:
        batch = hold.run(lambda tx: batches.get(tx, batch_id))
        if batch.state is BatchState.REFUSED:
            raise FileRefused(batch.reason or "FILE-UNREADABLE", **batch.reason_facts)
        if batch.state is BatchState.RECEIVED:
            _take_in(hold, batch, files, vault, limits, profiles)
        return hold.run(lambda tx: _found(tx, batch_id))


def _found(tx: Connection, batch_id: str) -> Validated:
    found = books.read(tx, batch_id)
    return Validated(found, import_rows.issue_counts(tx, batch_id) if found.rows_rejected else [])


def _take_in(
    hold: BatchHold,
    batch: Batch,
    files: BatchFiles,
    vault: Vault,
    limits: ReadingLimits,
    profiles: ClientProfiles | None,
) -> None:
    source = files.archived(batch.batch_id)
    try:
        if source is None:
            # Registered, then the file was gone before it could be archived: nothing was taken, the client sends it
            # again.
            raise FileRefused("FILE-ARCHIVE-MISSING", batch=batch.batch_id)
        profile = profiles.of(batch.client) if profiles is not None else NO_PROFILE
        beside = side_totals(files.archived_totals(batch.batch_id))
        judged = partial(JudgedFile, source, limits, profile, beside=beside)
        hold.run(
            lambda tx: _store(tx, batch, judged(partial(_recognised, tx, vault, batch)), vault, limits.test_system)
        )
    except FileRefused as error:
        if source is not None:
            files.quarantine(source, batch.client, error, name=batch.source_name)
        hold.run(partial(batches.move, batch_id=batch.batch_id, to=BatchState.REFUSED, why=error))
        raise


def _recognised(tx: Connection, vault: Vault, batch: Batch, table: SourceTable) -> Repaired | None:
    return recognise(tx, vault, table, batch.client, batch.batch_id)


def _store(tx: Connection, batch: Batch, file: JudgedFile, vault: Vault, test_system: bool) -> None:
    if batches.get(tx, batch.batch_id).state is not BatchState.RECEIVED:
        return  # a commit that was never answered
    keys.must_be_admitted(tx, vault)
    installation = trail.installation_id(tx)
    for part in file.parts():
        refuse_deidentified(part.table.header, installation, test_system=test_system)
        rows = stored_rows(batch.batch_id, batch.client, part.table, part.validation, vault)
        row_storage.store(tx, batch.batch_id, rows.parts, rows.keep_keys)
    if file.repaired is None:
        refuse_without_totals(file.last.profile, file.beside, batch.source_name)
    if file.last.sha256 != batch.file_sha256:
        raise InvariantBroken("FILE-ARCHIVE-CHANGED", batch=batch.batch_id)
    _count_accepted(tx, batch, file.repaired)
    batches.record_file(
        tx,
        batch.batch_id,
        file.last.header,
        reading_record(file.last, file.tally.cells, file.beside)
        | (file.repaired.record if file.repaired is not None else {}),
        rows=file.tally.rows,
        amount_jpy=file.tally.declared_amount_jpy,
    )
    batches.move(tx, batch.batch_id, BatchState.VALIDATED)


def _count_accepted(tx: Connection, batch: Batch, repaired: Repaired | None) -> None:
    """Count what is accepted, without the rows that others took: an order number, or the row that they repair."""
    # As one set in the database: at most 40 ms where asking for 10,000 numbers takes 140.
    lowest, highest = batches.count_accepted(tx, batch.batch_id)
    rejected = 0
    if orders.may_be_taken(tx, batch.client, lowest, highest):
        rejected = orders.reject_taken(tx, batch.batch_id, batch.client)
    if repaired is not None:
        rejected += repairs.record(tx, batch.batch_id, repaired.parent.batch_id, repaired.repairs)
    if rejected:
        batches.count_accepted(tx, batch.batch_id)
