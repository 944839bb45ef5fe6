"""Make an anchor: a signed statement about where every chain ends now, in a file outside the database.

The file first, then its copy and its event in the database. Killed in between, the file is there and the copy is not:
the next anchoring takes it in. So a verification never misses an anchor that nobody took away.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from domain.anchors import NO_ANCHOR, Anchor, Statement, merkle_root, read_statement
from domain.errors import InvariantBroken
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import SigningKey
from resources.database import trail, trail_anchors
from resources.database.database import Database


@dataclass(frozen=True, slots=True)
class Anchored:
    """The anchor that was made, and how many chains had moved."""

    number: int
    chains: int


def make_anchor(database: Database, folder: AnchorFolder, key: SigningKey) -> Anchored:
    """Anchor all chains that have moved since the last anchor.

    Raises:
        TransientError: the folder cannot be written, or the database does not answer.
        InvariantBroken: the folder has an anchor of this number that does not continue ours.
    """
    with database.begin() as tx:
        trail_anchors.take_turn_to_anchor(tx)
        last = _take_in(tx, folder, key, trail_anchors.newest_anchor(tx))
        number = 1 if last is None else last[0] + 1
        anchor, at_us = _stated(tx, number, NO_ANCHOR if last is None else last[1].digest, key)
        folder.write(number, at_us, anchor)
        trail_anchors.store_anchor(tx, number, anchor)
    return Anchored(number, len(anchor.heads))


def _stated(tx: Connection, number: int, previous: str, key: SigningKey) -> tuple[Anchor, int]:
    heads = tuple(trail_anchors.heads_moved_since(tx, trail_anchors.anchored_numbers(tx)))
    at_us = trail_anchors.now_us(tx)
    statement = Statement(
        trail.installation_id(tx), number, at_us, previous, len(heads), merkle_root(heads), key.key_id
    )
    body = statement.to_body()
    return Anchor(body, key.sign(body.encode()).hex(), heads), at_us


def _take_in(
    tx: Connection, folder: AnchorFolder, key: SigningKey, last: tuple[int, Anchor] | None
) -> tuple[int, Anchor] | None:
    """The last anchor, after one whose maker was killed before it was in the database has been taken in."""
    number = 1 if last is None else last[0] + 1
    left = folder.read(number)
    if left is None:
        return last
    said = read_statement(left.body)
    continues = said is not None and (said.installation, said.number, said.previous) == (
        trail.installation_id(tx),
        number,
        NO_ANCHOR if last is None else last[1].digest,
    )
    if not continues or left.signature != key.sign(left.body.encode()).hex():
        raise InvariantBroken("SYS-ANCHOR-IN-THE-WAY", number=number)
    trail_anchors.store_anchor(tx, number, left)
    return number, left
