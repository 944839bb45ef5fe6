"""Chains in memory: honest ones, and one hand on each of them. What was done is known, so the verdict can be judged."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from domain.trail import GENESIS, Event, Head, hash_of, walk
from domain.trail_faults import Fault, FaultKind, diagnose

CHAIN = "20260101-shop-000000000000"
_FIELDS = Event._fields


@dataclass(frozen=True, slots=True)
class Trail:
    """One chain: its events as stored, its head, and what anchors know of it."""

    events: tuple[Event, ...]
    head: Head | None
    signed: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Tampered:
    """A trail after one hand; ``kinds`` are right names for what was done, ``at`` the event it was done to."""

    what: str
    trail: Trail
    kinds: frozenset[FaultKind]
    at: int


def honest(rng: random.Random) -> Trail:
    """A chain as the database writes it, anchored now and then and at its end."""
    events: list[Event] = []
    for seq in range(1, rng.randint(2, 40) + 1):
        events.append(_sealed(_told(rng, seq), events[-1].hash if events else GENESIS))
    numbers = {seq for seq in range(1, len(events)) if rng.random() < 0.2} | {len(events)}
    return Trail(tuple(events), Head(len(events), events[-1].hash), {seq: events[seq - 1].hash for seq in numbers})


def _told(rng: random.Random, seq: int) -> Event:
    def maybe(value: bytes) -> bytes | None:
        return value if rng.random() < 0.5 else None

    subjects = b" ".join(b"%d" % rng.randint(1, 99_999) for _ in range(rng.randint(0, 12)))
    return Event(
        CHAIN.encode(),
        b"%d" % seq,
        b"%d" % (1_700_000_000_000_000 + seq * rng.randint(1, 999)),
        b"cli:" + _word(rng),
        maybe(_word(rng)),
        maybe(b"0.1.0+" + _word(rng)),
        rng.choice((b"payment:planned:sending", b"order:created", b"batch:ordered:paused", "支払い:済".encode())),
        maybe(_word(rng)),
        subjects,
        maybe(b"%d" % rng.randint(-5, 9_999_999)),
        maybe(rng.randbytes(32).hex().encode()),
        b"",
        b"",
    )


def _word(rng: random.Random) -> bytes:
    return "".join(rng.choices(string.ascii_lowercase + ",:- \\", k=rng.randint(1, 12))).encode()


def _sealed(event: Event, before: bytes) -> Event:
    linked = event._replace(prev_hash=before)
    return linked._replace(hash=hash_of(linked))


def judged(trail: Trail) -> Fault | None:
    """As a verification goes about it: a quick walk, and only where that finds something the long look.

    Raises:
        AssertionError: the two do not agree whether there is anything to find.
    """
    signed = {(CHAIN.encode(), seq): known for seq, known in trail.signed.items()}
    walked = next(walk(trail.events, signed), None)
    last = walked.last if walked else None
    cut = any(seq > (last.seq if last else 0) for seq in trail.signed)
    suspect = cut or last != trail.head or (walked is not None and walked.broken_at is not None)
    fault = diagnose(CHAIN, trail.events, trail.head, trail.signed)
    assert suspect == (fault is not None), (suspect, fault)
    return fault


# -- hands ------------------------------------------------------------------------------------------------------------


def tamper(rng: random.Random, trail: Trail) -> Tampered:
    """One hand, drawn from all there are."""
    return rng.choice(HANDS)(rng, trail)


def _field(name: str) -> Callable[[random.Random, Trail], Tampered]:
    def change(rng: random.Random, trail: Trail) -> Tampered:
        at = rng.randrange(len(trail.events))
        before = trail.events[at]
        changed: dict[str, Any] = {name: _other(rng, getattr(before, name))}
        after = before._replace(**changed)
        return Tampered(f"{name} changed", _with(trail, at, after), frozenset({FaultKind.CHANGED}), at + 1)

    return change


def _other(rng: random.Random, value: bytes | None) -> bytes | None:
    """Another value: a bit, a byte more or less, nothing at all, something where nothing was."""
    if value is None:
        return rng.choice((b"", b"x", b"-"))
    ways: list[bytes | None] = [value + b"0", b"" if value else b"0", None]
    if value:
        place = rng.randrange(len(value))
        flipped = bytes([value[place] ^ (1 << rng.randrange(7))])
        ways += [value[:place] + flipped + value[place + 1 :]] * 3 + [value[:-1] or b"00"]
    return rng.choice([way for way in ways if way != value])


def _hash_field(name: str) -> Callable[[random.Random, Trail], Tampered]:
    def change(rng: random.Random, trail: Trail) -> Tampered:
        at = rng.randrange(len(trail.events))
        value = bytearray.fromhex(getattr(trail.events[at], name).decode())
        value[rng.randrange(32)] ^= 1 << rng.randrange(8)
        after = trail.events[at]._replace(**{name: value.hex().encode()})
        return Tampered(f"{name} changed", _with(trail, at, after), frozenset({FaultKind.CHANGED}), at + 1)

    return change


def _with(trail: Trail, at: int, event: Event) -> Trail:
    return replace(trail, events=(*trail.events[:at], event, *trail.events[at + 1 :]))


def _number_changed(rng: random.Random, trail: Trail) -> Tampered:
    at = rng.randrange(len(trail.events))
    number = len(trail.events) + rng.randint(1, 50)
    moved = trail.events[at]._replace(seq=b"%d" % number)
    events = sorted((*trail.events[:at], *trail.events[at + 1 :], moved), key=lambda event: int(event.seq))
    kinds = frozenset({FaultKind.CHANGED, FaultKind.REORDERED})
    return Tampered("number changed", replace(trail, events=tuple(events)), kinds, at + 1)


def _swapped(rng: random.Random, trail: Trail) -> Tampered:
    first, second = sorted(rng.sample(range(len(trail.events)), 2))
    one, other = trail.events[first], trail.events[second]
    swapped = _with(_with(trail, first, other._replace(seq=one.seq)), second, one._replace(seq=other.seq))
    return Tampered("two events swapped", swapped, frozenset({FaultKind.REORDERED}), first + 1)


def _deleted(rng: random.Random, trail: Trail) -> Tampered:
    at = rng.randrange(len(trail.events) - 1)
    events = (*trail.events[:at], *trail.events[at + 1 :])
    return Tampered("event deleted", replace(trail, events=events), frozenset({FaultKind.MISSING}), at + 1)


def _deleted_and_closed(rng: random.Random, trail: Trail) -> Tampered:
    tampered = _deleted(rng, trail)
    events = tuple(event._replace(seq=b"%d" % place) for place, event in enumerate(tampered.trail.events, start=1))
    return replace(tampered, what="deleted, gap closed", trail=replace(tampered.trail, events=events))


def _moved_away(rng: random.Random, trail: Trail) -> Tampered:
    """Into another chain: here it is missing."""
    tampered = _deleted(rng, trail)
    return replace(tampered, what="moved to another chain")


def _strayed_in(rng: random.Random, trail: Trail) -> Tampered:
    """From another chain, behind the last one."""
    stray = honest(rng).events[-1]._replace(seq=b"%d" % (len(trail.events) + rng.randint(1, 9)))
    events = (*trail.events, stray)
    return Tampered(
        "came from another chain", replace(trail, events=events), frozenset({FaultKind.INSERTED}), int(stray.seq)
    )


def _forged_in_between(rng: random.Random, trail: Trail) -> Tampered:
    """The others make room for it; it even hashes right on top of the one before."""
    at = rng.randrange(len(trail.events))
    forged = _told(rng, at + 1)
    before = trail.events[at - 1].hash if at else GENESIS
    forged = _sealed(forged, before) if rng.random() < 0.5 else forged._replace(prev_hash=before, hash=GENESIS)
    later = tuple(event._replace(seq=b"%d" % (int(event.seq) + 1)) for event in trail.events[at:])
    events = (*trail.events[:at], forged, *later)
    return Tampered("event forged in between", replace(trail, events=events), frozenset({FaultKind.INSERTED}), at + 1)


def _doubled(rng: random.Random, trail: Trail) -> Tampered:
    at = rng.randrange(len(trail.events))
    events = (*trail.events[: at + 1], Event(*trail.events[at]), *trail.events[at + 1 :])
    return Tampered("event there twice", replace(trail, events=events), frozenset({FaultKind.INSERTED}), at + 1)


def _appended(rng: random.Random, trail: Trail) -> Tampered:
    forged = _sealed(_told(rng, len(trail.events) + 1), trail.events[-1].hash)
    events = (*trail.events, forged)
    return Tampered("event appended", replace(trail, events=events), frozenset({FaultKind.BEYOND_HEAD}), len(events))


def _changed_and_hashed(rng: random.Random, trail: Trail) -> Tampered:
    at = rng.randrange(len(trail.events))
    forged = _sealed(trail.events[at]._replace(actor=b"cli:somebody-else"), trail.events[at].prev_hash)
    last = at + 1 == len(trail.events)  # nothing follows but the anchor
    kinds = {FaultKind.REWRITTEN} if last else {FaultKind.CHANGED}
    return Tampered("changed, hashed anew", _with(trail, at, forged), frozenset(kinds), at + 1)


def _rewritten(rng: random.Random, trail: Trail) -> Tampered:
    """Changed, and everything after it hashed anew, the head too: only an anchor knows."""
    at = rng.randrange(len(trail.events))
    events = [*trail.events[:at], trail.events[at]._replace(actor=b"cli:somebody-else"), *trail.events[at + 1 :]]
    for place in range(at, len(events)):
        events[place] = _sealed(events[place], events[place - 1].hash if place else GENESIS)
    after = Trail(tuple(events), Head(len(events), events[-1].hash), trail.signed)
    return Tampered("rewritten to the end", after, frozenset({FaultKind.REWRITTEN}), at + 1)


def _tail_cut(rng: random.Random, trail: Trail) -> Tampered:
    kept = rng.randrange(len(trail.events))
    after = replace(trail, events=trail.events[:kept])
    return Tampered("tail cut", after, frozenset({FaultKind.TAIL_CUT}), kept + 1)


def _tail_cut_and_head_back(rng: random.Random, trail: Trail) -> Tampered:
    kept = rng.randrange(len(trail.events))
    head = Head(kept, trail.events[kept - 1].hash) if kept else None
    after = replace(trail, events=trail.events[:kept], head=head)
    return Tampered("tail cut, head set back", after, frozenset({FaultKind.TAIL_CUT}), kept + 1)


def _head(rng: random.Random, trail: Trail) -> Tampered:
    assert trail.head is not None
    number, value = trail.head.seq, trail.head.hash
    earlier = rng.randint(1, number)
    heads = [
        Head(number + rng.choice((-1, 1, 7)), value),
        Head(number, rng.randbytes(32).hex().encode()),
        Head(number - 1, trail.events[number - 2].hash),
        Head(earlier, GENESIS),
    ]
    head = rng.choice(heads)
    return Tampered("head altered", replace(trail, head=head), frozenset({FaultKind.HEAD_ALTERED}), head.seq)


def _headless(rng: random.Random, trail: Trail) -> Tampered:
    after = replace(trail, head=None)
    return Tampered("head deleted", after, frozenset({FaultKind.HEAD_MISSING}), len(trail.events))


_TEXTS = tuple(name for name in _FIELDS if name not in ("chain", "seq", "prev_hash", "hash"))
HANDS: tuple[Callable[[random.Random, Trail], Tampered], ...] = (
    *(_field(name) for name in _TEXTS),
    _hash_field("prev_hash"),
    _hash_field("hash"),
    _number_changed,
    _swapped,
    _deleted,
    _deleted_and_closed,
    _moved_away,
    _strayed_in,
    _forged_in_between,
    _doubled,
    _appended,
    _changed_and_hashed,
    _rewritten,
    _tail_cut,
    _tail_cut_and_head_back,
    _head,
    _headless,
)
"""Every way of changing a chain, one at a time."""


def complaint(tampered: Tampered, fault: Fault | None) -> str | None:
    """What is wrong with the verdict on a tampered trail; None when it is right."""
    if fault is None:
        return f"{tampered.what} at {tampered.at}: not detected"
    if fault.kind not in tampered.kinds or not fault.seq <= tampered.at <= fault.until:
        return f"{tampered.what} at {tampered.at}: called {fault.kind} at {fault.seq}-{fault.until}"
    return None
