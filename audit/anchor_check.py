"""Are all anchors there, ours, and as they were signed? The files count; the copies in the database are compared.

What the good ones say of the chains' heads is what a verification of the events is held against.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from domain.anchors import NO_ANCHOR, Anchor, Statement, merkle_root, read_statement
from domain.trail_faults import Fault, FaultKind
from resources.anchor_keys import TrustedKeys
from resources.database.trail_anchors import StoredAnchor

ANCHORS = "anchors"
"""Stands in a fault for the name of a chain."""
IN_DATABASE = "database"


@dataclass(frozen=True, slots=True)
class AnchorWitness:
    """What there is to check: files and copies by number, digests that the trail tells of, whose trail it is."""

    files: Sequence[tuple[int, Anchor | None]]
    copies: Sequence[StoredAnchor]
    told: Mapping[int, str]
    installation: str
    lost: Collection[int] = frozenset()  # they tell of a history that a restoration from a backup has lost
    told_from: int = 1  # the events of earlier ones are in cold storage


@dataclass(frozen=True, slots=True)
class CheckedAnchors:
    """``signed``: the hash of each event that a good anchor names, by chain and number."""

    good: int
    faults: tuple[Fault, ...]
    signed: Mapping[tuple[bytes, int], bytes]


def check_anchors(seen: AnchorWitness, keys: TrustedKeys) -> CheckedAnchors:
    """Check every number from the first to the last that anybody knows of."""
    files = dict(seen.files)
    copies = {copy.number: copy for copy in seen.copies}
    twice = {number for number, times in Counter(number for number, _ in seen.files).items() if times > 1}
    faults: list[Fault] = []
    signed: dict[tuple[bytes, int], bytes] = {}
    good = 0
    previous: str | None = NO_ANCHOR
    for number in range(1, max([0, *files, *copies, *seen.told]) + 1):
        anchor = files.get(number)
        fault = _missing_or_twice(number, number in files, number in twice) or _of_file(
            number, anchor, previous, seen.installation, keys
        )
        if fault is None and anchor is not None:
            good += 1
            if number not in seen.lost:
                signed |= {(head.chain.encode(), head.seq): head.hash.encode() for head in anchor.heads}
            told = seen.told.get(number) if number >= seen.told_from else anchor.digest
            fault = _of_copy(number, anchor, copies.get(number), told, last=max([0, *copies]))
        if fault is not None:
            faults.append(fault)
        previous = _digest(anchor, copies.get(number))
    return CheckedAnchors(good, tuple(faults), signed)


def _missing_or_twice(number: int, there: bool, twice: bool) -> Fault | None:
    if twice:
        return _fault(FaultKind.ANCHOR_ALTERED, number)
    return None if there else _fault(FaultKind.ANCHOR_MISSING, number)


def _of_file(
    number: int, anchor: Anchor | None, previous: str | None, installation: str, keys: TrustedKeys
) -> Fault | None:
    said = None if anchor is None else read_statement(anchor.body)
    if anchor is None or said is None:
        return _fault(FaultKind.ANCHOR_ALTERED, number)
    signed = keys.signed(said.key_id, anchor.body.encode(), _octets(anchor.signature))
    if signed is None or (signed and said.installation != installation):
        return _fault(FaultKind.ANCHOR_FOREIGN, number)
    if not signed or said.number != number or not _states_heads(said, anchor):
        return _fault(FaultKind.ANCHOR_ALTERED, number)
    # Where the one before is gone or spoilt, that is its own fault.
    return _fault(FaultKind.ANCHOR_ALTERED, number) if previous not in (None, said.previous) else None


def _states_heads(said: Statement, anchor: Anchor) -> bool:
    return (said.heads, said.root) == (len(anchor.heads), merkle_root(anchor.heads))


def _of_copy(number: int, anchor: Anchor, copy: StoredAnchor | None, told: str | None, *, last: int) -> Fault | None:
    """The database must say the same; of the newest file alone it need not know yet."""
    if copy is None:
        unfinished = number == last + 1 and told is None
        return None if unfinished else _fault(FaultKind.ANCHOR_MISSING, number, IN_DATABASE)
    if copy.anchor != anchor or told != anchor.digest:
        return _fault(FaultKind.ANCHOR_ALTERED, number, IN_DATABASE)
    return None


def _digest(anchor: Anchor | None, copy: StoredAnchor | None) -> str | None:
    if anchor is not None:
        return anchor.digest
    return None if copy is None else copy.anchor.digest


def _octets(hexadecimal: str) -> bytes:
    try:
        return bytes.fromhex(hexadecimal)
    except ValueError:
        return b""


def _fault(kind: FaultKind, number: int, about: str = "-") -> Fault:
    return Fault.at(kind, ANCHORS, number, about=about)
