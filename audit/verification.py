"""Verify the trail: content, links, gaps, heads, anchors, the tables beside it, and what protects it.

Everything is read of one moment, while others go on writing. The database verifies the same by itself, in SQL; where
the two do not agree, that is a fault too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from audit.anchor_check import AnchorWitness, CheckedAnchors, check_anchors
from audit.cold_check import check_exports
from audit.restored import lost_anchors
from domain.anchors import Anchor
from domain.errors import KeyRefused, NotFound
from domain.trail import BEGINNING, Event, Head, walk
from domain.trail_faults import Fault, FaultKind, diagnose
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import TrustedKeys
from resources.cold_store import ColdStore
from resources.database import trail, trail_anchors, trail_books
from resources.database.database import Database

_SYSTEM = ("system",)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and every fault: of each chain the first. ``seconds`` are those of reading the events."""

    chains: int
    events: int
    anchors: int
    unanchored: int  # events that no anchor covers yet
    batches: int  # whose tables were compared
    seconds: float
    faults: tuple[Fault, ...]

    @property
    def whole(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


def verify(
    database: Database,
    folder: AnchorFolder,
    keys: TrustedKeys,
    chain: str | None = None,
    store: ColdStore | None = None,
) -> Verification:
    """Verify one chain, or all. With ``store``, the months in cold storage too, file by file.

    Raises:
        TransientError: cold storage cannot be reached.
        NotFound: nothing has this name.
        KeyRefused: there are anchors, and no public key to check them with.
    """
    files = list(folder.read_all())  # before the snapshot: what they name is in it
    if files and not keys.by_id:
        raise KeyRefused("SYS-ANCHOR-KEY-MISSING")
    return database.read(lambda tx: verify_in(tx, folder, files, keys, chain, store))


def verify_in(
    tx: Connection,
    folder: AnchorFolder,
    files: list[tuple[int, Anchor | None]],
    keys: TrustedKeys,
    chain: str | None,
    store: ColdStore | None = None,
) -> Verification:
    """The same in a transaction that sees one moment; ``files``: what the folder held before it began."""
    exports = check_exports(tx, keys, store)
    starts = exports.starts
    anchors = check_anchors(_witness(tx, folder, files, keys, starts), keys)
    if chain is not None and not trail.chain_exists(tx, chain) and not _is_anchored(anchors, chain):
        raise NotFound("BATCH-NOT-FOUND", batch=chain)
    signed = _of_chain(anchors.signed, chain)
    started = time.perf_counter()
    lasts, broken = _walked(tx, chain, signed, starts)
    seconds = time.perf_counter() - started
    heads = trail.heads(tx, chain)
    suspects = broken | _heads_that_differ(lasts, heads) | _chains_cut(lasts, signed)
    faults = [_diagnosed(tx, name, heads.get(name), signed, starts.get(name, BEGINNING)) for name in sorted(suspects)]
    faults += _disagreements(suspects, trail.database_verdict(tx, chain), anchors)
    batches = trail_books.complete(tx, [name for name in sorted({*lasts, *heads}) if not name.startswith(_SYSTEM)])
    faults += [_differs(name, found) for name in batches for found in trail_books.differences(tx, name)]
    faults += [Fault.at(FaultKind.GUARD_OFF, trail.SYSTEM_CHAIN, 0, about=name) for name in trail.guards_missing(tx)]
    return Verification(
        chains=len({*lasts, *heads}),
        events=sum(last.seq - starts.get(name, BEGINNING).seq for name, last in lasts.items()),
        anchors=anchors.good,
        unanchored=_unanchored(lasts, signed),
        batches=len(batches),
        seconds=seconds,
        faults=(*exports.faults, *anchors.faults, *faults),
    )


def _witness(
    tx: Connection,
    folder: AnchorFolder,
    files: list[tuple[int, Anchor | None]],
    keys: TrustedKeys,
    starts: Mapping[str, Head],
) -> AnchorWitness:
    """Files and copies of one moment: an anchor that was made after the folder was read is read now."""
    copies = list(trail_anchors.anchors(tx))
    read = {number for number, _ in files}
    late = [(copy.number, folder.read(copy.number)) for copy in copies if copy.number > max([0, *read])]
    found = [(number, anchor) for number, anchor in late if anchor is not None]
    told = trail_anchors.anchor_events(tx)
    return AnchorWitness(
        [*files, *found],
        copies,
        told,
        trail.installation_id(tx),
        lost=lost_anchors(tx, keys),
        # The events of earlier anchors went to cold storage; the anchors themselves never go.
        told_from=min(told, default=max([0, *read]) + 1) if trail.SYSTEM_CHAIN in starts else 1,
    )


def _walked(
    tx: Connection, chain: str | None, signed: Mapping[tuple[bytes, int], bytes], starts: Mapping[str, Head]
) -> tuple[dict[str, Head], set[str]]:
    lasts = {name: head for name, head in starts.items() if chain in (None, name)}
    broken: set[str] = set()
    begins = {name.encode(): head for name, head in starts.items()}
    for walked in walk(trail.events(tx, chain), signed, begins):
        name = walked.chain.decode()
        lasts[name] = walked.last
        if walked.broken_at is not None:
            broken.add(name)
    return lasts, broken


def _heads_that_differ(lasts: Mapping[str, Head], heads: Mapping[str, Head]) -> set[str]:
    return {name for name in {*lasts, *heads} if lasts.get(name) != heads.get(name)}


def _chains_cut(lasts: Mapping[str, Head], signed: Mapping[tuple[bytes, int], bytes]) -> set[str]:
    return {name.decode() for name, seq in signed if seq > lasts.get(name.decode(), Head(0, b"")).seq}


def _diagnosed(
    tx: Connection, chain: str, head: Head | None, signed: Mapping[tuple[bytes, int], bytes], start: Head
) -> Fault:
    events = [Event(*fields) for fields in trail.events(tx, chain)]
    known = {seq: its_hash for (name, seq), its_hash in signed.items() if name.decode() == chain}
    fault = diagnose(chain, events, head, known, start)
    return fault or Fault.at(FaultKind.CHANGED, chain, 0)


def _disagreements(suspects: set[str], found: Mapping[str, tuple[int, str]], anchors: CheckedAnchors) -> list[Fault]:
    """Chains about which the two verifiers do not say the same. The database knows only its own copies of anchors."""
    apart = suspects ^ set(found)
    if anchors.faults:
        apart = {name for name in apart if found.get(name, (0, ""))[1] != "anchor" and name in found}
    return [
        Fault.at(FaultKind.VERIFIERS_DISAGREE, name, found.get(name, (0, ""))[0], about=found.get(name, (0, "-"))[1])
        for name in sorted(apart)
    ]


def _differs(batch: str, found: trail_books.Difference) -> Fault:
    return Fault.at(FaultKind.BOOKS_DIFFER, batch, found.seq, about=found.about)


def _of_chain(signed: Mapping[tuple[bytes, int], bytes], chain: str | None) -> Mapping[tuple[bytes, int], bytes]:
    return signed if chain is None else {key: known for key, known in signed.items() if key[0].decode() == chain}


def _is_anchored(anchors: CheckedAnchors, chain: str) -> bool:
    return any(name.decode() == chain for name, _ in anchors.signed)


def _unanchored(lasts: Mapping[str, Head], signed: Mapping[tuple[bytes, int], bytes]) -> int:
    covered: dict[str, int] = {}
    for name, seq in signed:
        covered[name.decode()] = max(seq, covered.get(name.decode(), 0))
    return sum(max(0, last.seq - covered.get(name, 0)) for name, last in lasts.items())
