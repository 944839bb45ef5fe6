"""A restored database is marked before anybody uses it; one that went back without being marked is noticed.

Anchors and archived files are outside the database, and often newer than a backup: they tell which batches it does not
know any more. Marking is one transaction; killed before its commit, the database still has its other name
(orchestration/backups.py) or still counts as gone back, and is marked the next time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from domain.anchors import NO_ANCHOR, Anchor, read_statement
from domain.errors import InvariantBroken
from domain.restoring import SKIPPED_ORDER_IDS, RestoreStatement, read_restore_statement
from domain.states import BatchState, EffectKind
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import SigningKey, TrustedKeys
from resources.batch_files import BatchFiles
from resources.database import restorations, trail, trail_anchors
from resources.database.database import Database
from resources.database.restorations import Loss, Marked


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What is outside the database: anchors with the keys to check and to sign, and the archive of files."""

    anchors: AnchorFolder
    trusted: TrustedKeys
    key: SigningKey
    files: BatchFiles


def mark_restored(
    database: Database, witnesses: Witnesses, backup_at: datetime, settle_seconds: Mapping[EffectKind, float]
) -> tuple[Marked, tuple[str, ...]]:
    """Mark the database as restored from a backup of this moment; with the batches that it has lost.

    Raises:
        DatabaseUnavailable, InvariantBroken: it cannot be; nothing was changed.
    """
    with database.begin() as tx:
        trail_anchors.take_turn_to_anchor(tx)
        number = restorations.next_number(tx)
        last = trail_anchors.newest_anchor(tx)
        last_number = 0 if last is None else last[0]
        later = _later_anchors(witnesses, last_number)
        lost = _lost_batches(tx, witnesses, later)
        newest = max(later, default=last_number)
        previous = later[newest].digest if later else NO_ANCHOR if last is None else last[1].digest
        body = RestoreStatement(
            trail.installation_id(tx), number, _us(backup_at), last_number, newest, previous, lost, witnesses.key.key_id
        ).to_body()
        loss = Loss(backup_at, last_number, newest, lost, settle_seconds, SKIPPED_ORDER_IDS)
        marked = restorations.mark(tx, number, loss, body, witnesses.key.sign(body.encode()))
        for anchor_number, anchor in sorted(later.items()):
            trail_anchors.store_anchor(tx, anchor_number, anchor)  # the next one continues them
    return marked, lost


def _later_anchors(witnesses: Witnesses, last_number: int) -> dict[int, Anchor]:
    """Good anchors of ours that the database does not know."""
    found: dict[int, Anchor] = {}
    for number, anchor in witnesses.anchors.read_all():
        said = None if anchor is None else read_statement(anchor.body)
        if anchor is not None and said is not None and said.number == number > last_number:
            signature = bytes.fromhex(anchor.signature)
            if witnesses.trusted.signed(said.key_id, anchor.body.encode(), signature):
                found[number] = anchor
    return found


def _lost_batches(tx: Connection, witnesses: Witnesses, later: Mapping[int, Anchor]) -> tuple[str, ...]:
    """Those that the database does not know, and those that it knows without the orders they may have by now."""
    heads = [head for anchor in later.values() for head in anchor.heads if not head.chain.startswith("system")]
    names = {head.chain for head in heads} | set(witnesses.files.batch_names())
    unknown = names - restorations.known_batches(tx, sorted(names))
    ends = {head.chain: head.seq for head in sorted(heads, key=lambda head: head.seq)}
    return tuple(sorted(unknown | _may_have_orders(tx, witnesses.files, ends)))


def _may_have_orders(tx: Connection, files: BatchFiles, ends: Mapping[str, int]) -> set[str]:
    """Batches that had no orders at the backup; one that was refused then only where something happened since.

    Their orders would be made with other numbers, under which no look-up finds a payment.
    """
    states = restorations.batches_without_orders(tx)
    known = trail.heads_of(tx, sorted(states))
    return {
        batch
        for batch, state in states.items()
        if state is not BatchState.REFUSED or ends.get(batch, 0) > known.get(batch, 0) or files.has_report(batch)
    }


def refuse_rolled_back(database: Database, folder: AnchorFolder) -> None:
    """Let nobody work on a database that knows less than the newest anchor: it came from a backup and was not marked.

    Raises:
        InvariantBroken: SYS-DATABASE-ROLLED-BACK.
    """
    newest = folder.newest()
    if newest is None:
        return
    number, anchor = newest
    ends = {head.chain: head.seq for head in anchor.heads}
    behind = database.read(lambda tx: _is_behind(tx, number, ends))
    if behind:
        raise InvariantBroken("SYS-DATABASE-ROLLED-BACK", anchor=number)


def _is_behind(tx: Connection, number: int, ends: Mapping[str, int]) -> bool:
    restored = restorations.newest(tx)
    if restored is not None and number <= restored.lost_anchors_to:
        return False
    known = trail.heads_of(tx, sorted(ends))
    return any(known.get(chain, 0) < seq for chain, seq in ends.items())


def lost_anchors(tx: Connection, keys: TrustedKeys) -> frozenset[int]:
    """The anchors of which a signed restoration says that their history was lost; an unsigned one says nothing."""
    lost: set[int] = set()
    for statement, signature in restorations.statements(tx):
        said = read_restore_statement(statement)
        if said is not None and keys.signed(said.key_id, statement.encode(), signature):
            lost |= set(range(said.last_anchor + 1, said.lost_anchors_to + 1))
    return frozenset(lost)


def _us(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1_000_000)
