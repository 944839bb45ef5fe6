"""What was done to a chain that does not hold, and to which event: named from what is left of it.

The hashes of a chain tell its true order whatever numbers its events carry: the event that hashes right as the first,
then the one that hashes right as the second on top of it, and so on. Where this true order and the stored one part,
somebody's hand can be seen. What cannot be told apart is called by one name: an event appended behind the head, and a
head that was set back to an earlier event, look the same (``BEYOND_HEAD``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from domain.trail import BEGINNING, GENESIS, Event, Head, hash_of


class FaultKind(StrEnum):
    """The value is a code of the catalogue."""

    CHANGED = "AUDIT-CHANGED"  # an event is not as it was written
    MISSING = "AUDIT-MISSING"  # an event is gone
    REORDERED = "AUDIT-REORDERED"  # an event stands where another was written
    INSERTED = "AUDIT-INSERTED"  # an event that was never written by the trail
    TAIL_CUT = "AUDIT-TAIL-CUT"  # the last events are gone
    BEYOND_HEAD = "AUDIT-BEYOND-HEAD"  # good events behind the head: appended by a hand, or the head was set back
    HEAD_ALTERED = "AUDIT-HEAD-ALTERED"
    HEAD_MISSING = "AUDIT-HEAD-MISSING"
    REWRITTEN = "AUDIT-REWRITTEN"  # whole in itself, but not what was signed for: hashed anew from somewhere on
    ANCHOR_MISSING = "AUDIT-ANCHOR-MISSING"
    ANCHOR_ALTERED = "AUDIT-ANCHOR-ALTERED"
    ANCHOR_FOREIGN = "AUDIT-ANCHOR-FOREIGN"  # signed by another key, or made by another installation
    BOOKS_DIFFER = "AUDIT-BOOKS-DIFFER"  # a table says something else than the trail
    GUARD_OFF = "AUDIT-GUARD-OFF"  # a trigger that protects the trail is missing or switched off
    EXPORT_MISSING = "AUDIT-EXPORT-MISSING"  # a month went to cold storage, and is not there
    EXPORT_ALTERED = "AUDIT-EXPORT-ALTERED"  # it is not as it was signed
    EXPORT_FOREIGN = "AUDIT-EXPORT-FOREIGN"  # signed by another key, or of another installation
    PARTITION_MISSING = "AUDIT-PARTITION-MISSING"  # a month is neither in the database nor in cold storage
    VERIFIERS_DISAGREE = "AUDIT-VERIFIERS-DISAGREE"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: in which chain, at which event (of an anchor: its number); ``until``: one of these, up to here."""

    kind: FaultKind
    chain: str
    seq: int
    until: int
    about: str = "-"  # an anchor, an order, a trigger: what the fault is about, where that is not an event

    @staticmethod
    def at(kind: FaultKind, chain: str, seq: int, until: int | None = None, about: str = "-") -> Fault:
        """A fault of one event, or of one of several."""
        return Fault(kind, chain, seq, seq if until is None else until, about)


def diagnose(
    chain: str,
    events: Sequence[Event],
    head: Head | None,
    signed: Mapping[int, bytes],
    start: Head = BEGINNING,
) -> Fault | None:
    """The first fault of a chain; None when it is whole.

    ``events`` are all that is stored under this chain, ``signed`` the hashes by number that anchors know. ``start``:
    the last event that is kept elsewhere; places in front of it are taken as they should be.
    """
    kept = [_kept_elsewhere(chain, seq, start) for seq in range(1, start.seq + 1)]
    rows = kept + sorted(events, key=lambda event: (_number(event), event.hash))
    signed = {seq: known for seq, known in signed.items() if seq > start.seq}
    known = {*signed.values(), *([head.hash] if head is not None else [])}
    true_order = kept + _true_order(rows[start.seq :], known, start)
    places = {id(row): place for place, row in enumerate(true_order, start=1)}
    for place, row in enumerate(rows, start=1):
        if places.get(id(row)) != place or _number(row) != place:
            return _misplaced(chain, rows, true_order, place, places.get(id(row)), head)
    return _contradiction(chain, rows, head, signed)


def _kept_elsewhere(chain: str, seq: int, start: Head) -> Event:
    own_hash = start.hash if seq == start.seq else b""
    return Event(chain.encode(), b"%d" % seq, b"", b"", None, None, b"", None, b"", None, None, b"", own_hash)


def _number(event: Event) -> int:
    return int(event.seq)


def _true_order(rows: Sequence[Event], known: Collection[bytes], start: Head) -> list[Event]:
    """The way from the beginning by hashes alone; ``known`` are those that head and anchors name."""
    after: dict[bytes, list[Event]] = defaultdict(list)
    for row in rows:
        after[row.prev_hash].append(row)
    found: list[Event] = []
    before, used = start.hash, set[int]()
    while True:
        place = start.seq + len(found) + 1
        fitting = [row for row in after[before] if id(row) not in used and hash_of(row, seq=place) == row.hash]
        if not fitting:
            return found
        # Two that fit: one was forged. The true one is known, or others were written after it.
        found.append(max(fitting, key=lambda row: (row.hash in known or row.hash in after, _number(row) == place)))
        used.add(id(found[-1]))
        before = found[-1].hash


def _misplaced(
    chain: str,
    rows: Sequence[Event],
    true_order: Sequence[Event],
    place: int,
    true_place: int | None,
    head: Head | None,
) -> Fault:
    """The fault at ``place``, where the event of ``true_place`` (None: of none) stands."""
    row = rows[place - 1]
    if head is None and not true_order:
        return Fault.at(FaultKind.INSERTED, chain, _number(row))  # strayed here from another chain
    if head is not None and head.seq == place - 1 and head.hash == (rows[place - 2].hash if place > 1 else GENESIS):
        return Fault.at(FaultKind.INSERTED, chain, _number(row))
    if true_place == place:
        return Fault.at(FaultKind.CHANGED, chain, place)  # its number
    if place <= len(true_order):
        if true_place is None:
            return Fault.at(FaultKind.INSERTED, chain, _number(row))
        return Fault.at(FaultKind.REORDERED, chain, place)
    if _number(row) < place:  # a number that is there twice, or below the first
        return Fault.at(FaultKind.INSERTED, chain, _number(row))
    if _number(row) > place or _renumbered(row, place, len(rows)):
        return Fault.at(FaultKind.MISSING, chain, place)
    if hash_of(row) == row.hash and place > 1:
        return Fault.at(FaultKind.CHANGED, chain, place - 1)  # and hashed anew: what follows knew another
    return Fault.at(FaultKind.CHANGED, chain, place)


def _renumbered(row: Event, place: int, events: int) -> bool:
    """Whether this event was written with a later number: those before it were taken out and the gap was closed."""
    return any(hash_of(row, seq=seq) == row.hash for seq in range(place + 1, place + events + 1_000))


def _contradiction(chain: str, rows: Sequence[Event], head: Head | None, signed: Mapping[int, bytes]) -> Fault | None:
    """Events that follow each other without a flaw: do head and anchors know the same ones?"""
    last, agreed = len(rows), 0
    for seq, known in sorted(signed.items()):
        if seq > last:
            return Fault.at(FaultKind.TAIL_CUT, chain, last + 1, seq)
        if rows[seq - 1].hash != known:
            return Fault.at(FaultKind.REWRITTEN, chain, agreed + 1, seq)
        agreed = seq
    if head is None:
        return Fault.at(FaultKind.HEAD_MISSING, chain, last) if rows else None
    at_head = rows[head.seq - 1].hash if 1 <= head.seq <= last else None
    if head.seq == last and (at_head == head.hash or last == 0):
        return None
    if head.seq > last and (last == 0 or head.hash != rows[-1].hash):
        return Fault.at(FaultKind.TAIL_CUT, chain, last + 1, head.seq)
    if head.seq < last and at_head == head.hash and not any(seq > head.seq for seq in signed):
        return Fault.at(FaultKind.BEYOND_HEAD, chain, head.seq + 1, last)
    return Fault.at(FaultKind.HEAD_ALTERED, chain, head.seq)
