"""The trail as bytes: what an event is, how it is framed and hashed, and whether the events of a chain hold together.

    hash = SHA-256( hash before (32 bytes) | fields, each as <length in bytes>:<itself>, joined by commas )

Fields are, in this order: chain, number, microseconds since 1970, actor, run id, code version, event, reason, subjects
(numbers with spaces between), yen, and the facts' digest in hexadecimal where there is one. A field that is absent is a
hyphen; absent facts are left out. Everything is bytes here: 100,000 events a second leave no time for more.

The database hashes the same in SQL, and the script inside an evidence pack a third time; none of them uses another.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

GENESIS = b"00" * 32
"""The hash before the first event."""


class Event(NamedTuple):
    """One event as text fields; None where there is nothing. Hashes are hexadecimal."""

    chain: bytes
    seq: bytes
    at_us: bytes
    actor: bytes
    run_id: bytes | None
    code_version: bytes | None
    event: bytes
    reason: bytes | None
    subjects: bytes
    amount_jpy: bytes | None
    facts: bytes | None
    prev_hash: bytes
    hash: bytes


class Head(NamedTuple):
    """Where a chain ends: the number of its last event and that event's hash, hexadecimal."""

    seq: int
    hash: bytes


BEGINNING = Head(0, GENESIS)
"""Where a chain begins of which nothing is kept elsewhere."""

Fields = tuple[bytes | None, ...] | list[bytes | None]
"""The thirteen fields of an ``Event``, in its order."""


@dataclass(frozen=True, slots=True)
class Walked:
    """One chain after a walk over its events. ``broken_at``: the first place where it does not hold; None: it holds."""

    chain: bytes
    events: int
    last: Head
    broken_at: int | None


def framed(fields: Iterable[bytes | None]) -> bytes:
    """The fields in a way that no other fields give."""
    return b",".join([b"-" if field is None else b"%d:%b" % (len(field), field) for field in fields])


def hash_of(event: Event, *, seq: int | None = None, prev_hash: bytes | None = None) -> bytes:
    """The hash that this event should have; with another number or another hash before it, if given."""
    fields: list[bytes | None] = [*event[:10]]
    if seq is not None:
        fields[1] = b"%d" % seq
    if event.facts is not None:
        fields.append(event.facts)
    try:
        before = unhexlify(prev_hash or event.prev_hash)
    except ValueError:  # not what a hash looks like
        return b""
    return sha256(before + framed(fields)).hexdigest().encode()


def walk(
    events: Iterable[Fields],
    known: Mapping[tuple[bytes, int], bytes] | None = None,
    starts: Mapping[bytes, Head] | None = None,
) -> Iterator[Walked]:
    """Walk over the events of many chains, which come chain by chain and in the order of their numbers.

    ``known``: hashes that were signed for earlier, by chain and number; another one there is a break too. ``starts``:
    the last event of a chain that is kept elsewhere; without one, a chain begins with its first event.
    """
    signed: dict[bytes, dict[int, bytes]] = {}
    for (name, seq), value in (known or {}).items():
        signed.setdefault(name, {})[seq] = value
    for chain, of_chain in groupby(events, key=itemgetter(0)):
        assert chain is not None
        yield _walk_one(chain, of_chain, signed.get(chain, {}), (starts or {}).get(chain, BEGINNING))


class _Framed(dict[bytes | None, bytes]):
    """Fields that many events share, framed once."""

    def __missing__(self, field: bytes | None) -> bytes:
        if len(self) > _MOST_SHARED:
            self.clear()
        frame = self[field] = framed([field])
        return frame


_MOST_SHARED = 4_096


def _walk_one(chain: bytes, events: Iterable[Fields], known: Mapping[int, bytes], start: Head) -> Walked:
    """One loop almost without calls: this is where a verification spends its time."""
    place, before, broken_at, shared = start.seq, start.hash, None, _Framed()
    for name, seq, at_us, actor, run, version, event, reason, subjects, jpy, facts, prev_hash, its_hash in events:
        place += 1
        try:
            frame = b"%b,%d:%b,%d:%b,%b,%b,%b,%b,%b,%d:%b,%b" % (  # type: ignore[str-format]  # as below
                shared[name],
                len(seq),  # type: ignore[arg-type]  # not null, here and below, or it is caught
                seq,
                len(at_us),  # type: ignore[arg-type]
                at_us,
                shared[actor],
                shared[run],
                shared[version],
                shared[event],
                shared[reason],
                len(subjects),  # type: ignore[arg-type]
                subjects,
                shared[jpy],
            )
        except TypeError:  # nothing where the trail always has something
            frame = b""
        if facts is not None:
            frame = b"%b,%d:%b" % (frame, len(facts), facts)
        if broken_at is None and (
            seq != b"%d" % place
            or prev_hash != before
            or sha256(unhexlify(before) + frame).hexdigest().encode() != its_hash
            or (place in known and known[place] != its_hash)
        ):
            broken_at = place
        before = its_hash or GENESIS
    return Walked(chain, place - start.seq, Head(place, before), broken_at)
