"""The campaign: honest trails, and hands on all that is kept of one.

Chains in memory, a real batch in a database, its pack, the files of anchors, and the months that went to cold storage.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from audit.anchoring import make_anchor
from audit.pack.making import Archive, pack
from audit.verification import verify
from evidence.campaign import Budget, Line
from evidence.scenario import EvidenceBatch, Ground, Scenario
from evidence.tampering import chains, database, exports, packs
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import SigningKey, TrustedKeys, open_signing_key, trusted_keys
from resources.batch_files import BatchFiles
from resources.database.connection import Actor
from resources.database.database import Database

SHORT = {
    "honest": 150,
    "chains": 400,
    "database": len(database.HANDS),
    "packs": 60,
    "anchors": 25,
    "stored": 20,
    "exports": len(exports.HANDS),
}
FULL = {
    "honest": 10_000,
    "chains": 15_000,
    "database": 1_000,
    "packs": 3_500,
    "anchors": 500,
    "stored": 200,
    "exports": 1_000,
}


def run(budget: Budget, seed: int) -> list[Line]:
    """All of it; the tamperings of one line come from one seed."""
    goals = SHORT if budget.is_short else FULL
    lines = [_honest(budget, seed, goals["honest"]), _chains(budget, seed, goals["chains"])]
    with Ground() as ground, ground.scenario("key_and_look_up", seed=2) as place:
        batch = place.batch(rows=14, bad_rows=2)
        batch.finish()
        lines += in_place(place, batch, budget, seed, goals)
    return lines


def in_place(place: Scenario, batch: EvidenceBatch, budget: Budget, seed: int, goals: dict[str, int]) -> list[Line]:
    """The lines that need a finished batch: it is anchored, packed, and tampered with."""
    with_trail = Anchored.of(place, batch)
    try:
        return [
            _database(with_trail, budget, seed, goals["database"]),
            _anchor_files(with_trail, budget, seed, goals["anchors"]),
            _packs(with_trail, budget, seed, goals["packs"]),
            # Last: the trail grows, and so do its verifications; and then months pass.
            _stored_honest(with_trail, budget, seed, goals["stored"]),
            _exports(with_trail, budget, seed, goals["exports"]),
        ]
    finally:
        with_trail.database.dispose()


@dataclass(frozen=True)
class Anchored:
    """A finished batch with its anchors."""

    place: Scenario
    batch_id: str
    database: Database
    folder: AnchorFolder
    key: SigningKey
    keys: TrustedKeys
    home: Path

    @classmethod
    def of(cls, place: Scenario, batch: EvidenceBatch) -> Anchored:
        """Anchor it twice: once is the only time an anchor has none before it."""
        key_file = batch.folder / "keys" / "anchors.key"
        database_ = Database(place.database_url, Actor("evidence"))
        folder, key = AnchorFolder(batch.folder / "anchors"), open_signing_key(key_file)
        for _ in range(3):
            make_anchor(database_, folder, key)
        [[batch_id]] = place.execute("select batch_id from batches order by created_at desc limit 1")
        return cls(place, batch_id, database_, folder, key, trusted_keys(key_file), batch.folder / "home")


def _line(name: str, goal: int, seed: int, budget: Budget, one: Callable[[random.Random], str | None]) -> Line:
    """``one`` until the goal or the time is reached; it gives a complaint, or None when all was right."""
    began, rng, done = time.monotonic(), random.Random(seed), 0
    violations: list[str] = []
    while done < goal and not budget.is_over():
        complaint = one(rng)
        done += 1
        if complaint is not None:
            violations.append(complaint)
    return Line(name, goal, done, violations, seed, time.monotonic() - began)


def _honest(budget: Budget, seed: int, goal: int) -> Line:
    def one(rng: random.Random) -> str | None:
        fault = chains.judged(chains.honest(rng))
        return None if fault is None else f"false alarm: {fault}"

    return _line("honest chains, no false alarm", goal, seed, budget, one)


def _chains(budget: Budget, seed: int, goal: int) -> Line:
    def one(rng: random.Random) -> str | None:
        tampered = chains.tamper(rng, chains.honest(rng))
        return chains.complaint(tampered, chains.judged(tampered.trail))

    return _line("tampered chains, found and rightly named", goal, seed, budget, one)


def _stored_honest(at: Anchored, budget: Budget, seed: int, goal: int) -> Line:
    """The whole database verified again and again, while events are appended and anchors made."""
    append = """select audit_append('honest-' || n, 'test:event', null, array_fill(n, array[mod(n, 9)]), n)
                from generate_series(1, 25) n"""

    def one(rng: random.Random) -> str | None:
        at.place.execute(append)
        if rng.random() < 0.2:
            make_anchor(at.database, at.folder, at.key)
        found = verify(at.database, at.folder, at.keys)
        return None if found.whole else f"false alarm: {found.faults[:2]}"

    return _line("honest databases, no false alarm", goal, seed, budget, one)


def _database(at: Anchored, budget: Budget, seed: int, goal: int) -> Line:
    tamperer = database.Tamperer(at.place.database_url, at.batch_id, at.folder, at.keys)
    hands = itertools.cycle(database.HANDS)
    try:
        return _line(
            "tampered databases, found and rightly named",
            goal,
            seed,
            budget,
            lambda rng: tamperer.complaint(next(hands), rng),
        )
    finally:
        tamperer.close()


def _anchor_files(at: Anchored, budget: Budget, seed: int, goal: int) -> Line:
    """A bit of a file flipped, a file gone, two files exchanged."""

    def one(rng: random.Random) -> str | None:
        files = sorted(at.folder.folder.glob("*/*.json"))
        number = rng.randrange(len(files))
        path = files[number]
        octets = packs.spoil_file(rng, path)
        wanted = {"AUDIT-ANCHOR-ALTERED", "AUDIT-ANCHOR-FOREIGN"}
        if rng.random() < 0.3:
            path.unlink()
            wanted = {"AUDIT-ANCHOR-MISSING"}
        faults = verify(at.database, at.folder, at.keys).faults
        path.unlink(missing_ok=True)
        path.write_bytes(octets)
        named = [fault.kind.value for fault in faults if fault.chain == "anchors" and fault.seq == number + 1]
        return None if wanted & {*named} else f"anchor {number + 1}: called {[f.kind.value for f in faults[:3]]}"

    return _line("tampered anchors, found and rightly named", goal, seed, budget, one)


def _exports(at: Anchored, budget: Budget, seed: int, goal: int) -> Line:
    months = exports.ColdMonths(at.database, at.folder, at.key, at.keys, at.home, at.place.database_url)
    hands = itertools.cycle(exports.HANDS)
    try:
        alarms = months.honest().faults
        line = _line(
            "tampered exports and manifests, found and rightly named",
            goal,
            seed,
            budget,
            lambda rng: months.complaint(next(hands), rng),
        )
    finally:
        months.close()
    return replace(line, violations=[*(f"false alarm: {fault}" for fault in alarms), *line.violations])


def _packs(at: Anchored, budget: Budget, seed: int, goal: int) -> Line:
    archive = Archive(BatchFiles(at.home, at.home / "import"), at.folder, at.key, at.keys)
    path = at.home / "evidence.zip"
    public = pack(at.database, archive, at.batch_id, [], path).public_key
    octets = path.read_bytes()
    return _line(
        "tampered packs, found and rightly named", goal, seed, budget, lambda rng: packs.complaint(rng, octets, public)
    )
