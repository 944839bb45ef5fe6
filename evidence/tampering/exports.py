"""Hands on months that went to cold storage: on their files, their manifests, and what the database keeps of both.

Files are put back, and what is done in the database is taken back with its transaction, before the next hand.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, create_engine, text

from audit import retention
from audit.anchoring import make_anchor
from audit.retention import Keeping
from audit.verification import Verification, verify_in
from domain.anchors import Anchor
from domain.retention import Category, Periods, RetentionRules, partition_name
from domain.trail_faults import FaultKind as K
from resources.anchor_folder import AnchorFolder
from resources.anchor_keys import SigningKey, TrustedKeys
from resources.batch_files import BatchFiles
from resources.cold_store import ColdPlace, ColdStore
from resources.database.database import Database
from resources.sheet_folder import KeySheets

_KEPT = Periods(hot=3, warm=4, cold=96)
_MONTHS = 6  # so many pass: the first two are cold by then, the third is not
_COLD = 2
_CLOCK = "create or replace function moment() returns timestamptz language sql volatile as $$ select {} $$"
_APPEND = "select audit_append('months', 'test:event', null, array[1, 2], 100, sha256('x'))"


@dataclass(frozen=True, slots=True)
class Hand:
    """``files``: done to the paths of a month's file and manifest; ``statement``: done in the database.

    ``kinds`` are right names for it; the fault is about the month, but for ``elsewhere``, about a chain of it.
    """

    what: str
    kinds: frozenset[K]
    files: Callable[[random.Random, Path, Path], object] | None = None
    statement: str = ""
    elsewhere: bool = False


def _flip(rng: random.Random, path: Path) -> None:
    octets = path.read_bytes()
    at = rng.randrange(len(octets))
    path.write_bytes(octets[:at] + bytes([octets[at] ^ (1 << rng.randrange(8))]) + octets[at + 1 :])


def _cut(rng: random.Random, path: Path) -> None:
    octets = path.read_bytes()
    path.write_bytes(octets[: rng.randrange(len(octets))])


def _append(rng: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 40)))


def _swap(path: Path, other: Path) -> None:
    octets = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(octets)


def _file(what: str, kind: K, do: Callable[[random.Random, Path, Path], object]) -> Hand:
    return Hand(what, frozenset({kind}), files=do)


def _statement(what: str, statement: str, *kinds: K, elsewhere: bool = False) -> Hand:
    return Hand(what, frozenset(kinds), statement=statement, elsewhere=elsewhere)


_OF_MONTH = "where partition = :partition"
_CHANGED_AT = """update exports set manifest = overlay(manifest placing
                     case substr(manifest, :at, 1) when 'x' then 'y' else 'x' end from :at for 1)"""
HANDS = (
    _file("file: bit flipped", K.EXPORT_ALTERED, lambda rng, file, _: _flip(rng, file)),
    _file("file: cut", K.EXPORT_ALTERED, lambda rng, file, _: _cut(rng, file)),
    _file("file: appended to", K.EXPORT_ALTERED, lambda rng, file, _: _append(rng, file)),
    _file("file: gone", K.EXPORT_MISSING, lambda _, file, __: file.unlink()),
    _file("manifest: bit flipped", K.EXPORT_ALTERED, lambda rng, _, manifest: _flip(rng, manifest)),
    _file("manifest: cut", K.EXPORT_ALTERED, lambda rng, _, manifest: _cut(rng, manifest)),
    _file("manifest: appended to", K.EXPORT_ALTERED, lambda rng, _, manifest: _append(rng, manifest)),
    _file("manifest: gone", K.EXPORT_MISSING, lambda _, __, manifest: manifest.unlink()),
    _file("file and manifest: swapped", K.EXPORT_ALTERED, lambda _, file, manifest: _swap(file, manifest)),
    _statement("copy: changed", f"{_CHANGED_AT} {_OF_MONTH}", K.EXPORT_ALTERED, K.EXPORT_FOREIGN),
    _statement("copy: cut", f"update exports set manifest = left(manifest, :at) {_OF_MONTH}", K.EXPORT_ALTERED),
    _statement("copy: appended to", f"update exports set manifest = manifest || ' ' {_OF_MONTH}", K.EXPORT_ALTERED),
    _statement("copy: signature", f"update exports set signature = sha512(signature) {_OF_MONTH}", K.EXPORT_ALTERED),
    _statement(
        "copy: another's key",
        f"update exports set manifest = regexp_replace(manifest, '\"key_id\":\"..', '\"key_id\":\"zz') {_OF_MONTH}",
        K.EXPORT_FOREIGN,
    ),
    _statement("copy: another month", f"update exports set month = month - 365 {_OF_MONTH}", K.EXPORT_ALTERED),
    _statement(
        "copy: another month's manifest",
        f"""update exports set (manifest, signature) = (select o.manifest, o.signature from exports o
                where o.partition <> :partition limit 1) {_OF_MONTH}""",
        K.EXPORT_ALTERED,
    ),
    _statement("copy: gone", f"delete from exports {_OF_MONTH}", K.PARTITION_MISSING),
    _statement(
        "chains: hash", f"update exported_chains set last_hash = sha256(last_hash) {_OF_MONTH}", K.VERIFIERS_DISAGREE,
        elsewhere=True,
    ),
    _statement(
        "chains: number", f"update exported_chains set last_seq = last_seq + 1 {_OF_MONTH}", K.VERIFIERS_DISAGREE,
        elsewhere=True,
    ),
    _statement("month: as if not gone", f"update exports set dropped_at = null {_OF_MONTH}", K.PARTITION_MISSING),
)  # fmt: skip
_OF_TRAIL_ALONE = {hand for hand in HANDS if hand.elsewhere}


class ColdMonths:
    """A database of which two months stand in cold storage, each with its calls and its stretch of the trail."""

    def __init__(
        self, database: Database, folder: AnchorFolder, key: SigningKey, keys: TrustedKeys, home: Path, owner_url: str
    ) -> None:
        self._folder, self._keys = folder, keys
        self._engine = create_engine(
            f"postgresql+psycopg://{owner_url.partition('://')[2]}",
            connect_args={"options": "-c search_path=bulk_orders,public -c event_triggers=off"},
        )
        self._cold = home / "cold"
        now = datetime.now(UTC)
        self._months = [_month_after(now, number) for number in range(_MONTHS + 1)]
        for month in self._months[1:]:
            self._go_to(month)
            make_anchor(database, folder, key)
        keeping = Keeping(
            RetentionRules(_KEPT, _KEPT), self._months[-1], ColdStore(ColdPlace(str(self._cold))), key,
            KeySheets(home / "keys" / "sheets"), BatchFiles(home, home / "import"), home / "scratch",
        )  # fmt: skip
        failed = [done.failed for done in retention.run(database, keeping) if done.failed]
        assert not failed, failed
        self._store = keeping.store
        self._files: list[tuple[int, Anchor | None]] = list(folder.read_all())

    def close(self) -> None:
        """Close the session."""
        self._engine.dispose()

    def honest(self) -> Verification:
        """What is found when nobody did anything."""
        with self._engine.connect() as tx:
            return self._verified(tx)

    def complaint(self, hand: Hand, rng: random.Random) -> str | None:
        """What is wrong with the verdict after this hand; None: it was found, and rightly named."""
        categories = [Category.TRAIL] if hand in _OF_TRAIL_ALONE else [Category.TRAIL, Category.ATTEMPTS]
        partition = partition_name(rng.choice(categories), rng.choice(self._months[:_COLD]).date())
        with self._engine.connect() as tx, self._spoilt(tx, hand, rng, partition):
            found = [fault for fault in self._verified(tx).faults if fault.kind is not K.GUARD_OFF]
            tx.rollback()
        what = f"{hand.what} of {partition}"
        if not found:
            return f"{what}: not detected"
        if found[0].kind in hand.kinds and (hand.elsewhere or found[0].about == partition):
            return None
        return f"{what}: called {[(f.kind.value, f.chain, f.seq, f.about) for f in found[:3]]}"

    def _verified(self, tx: Connection) -> Verification:
        return verify_in(tx, self._folder, self._files, self._keys, None, self._store)

    @contextmanager
    def _spoilt(self, tx: Connection, hand: Hand, rng: random.Random, partition: str) -> Iterator[None]:
        if hand.files is None:
            self._change(tx, hand.statement, rng, partition)
            yield
            return
        paths = self._paths(partition)
        before = [path.read_bytes() for path in paths]
        for path in paths:
            path.chmod(0o600)
        hand.files(rng, *paths)
        try:
            yield
        finally:
            for path, octets in zip(paths, before, strict=True):
                path.write_bytes(octets)

    def _paths(self, partition: str) -> tuple[Path, Path]:
        [file] = self._cold.rglob(f"{partition}-*.parquet")
        return file, file.with_suffix(".manifest")

    @staticmethod
    def _change(tx: Connection, statement: str, rng: random.Random, partition: str) -> None:
        for table in ("exports", "exported_chains"):
            tx.execute(text(f"alter table {table} disable trigger all"))
        tx.execute(text("alter table exported_chains drop constraint exported_chains_partition_fkey"))
        query = text("select length(manifest) from exports where partition = :partition")
        length = int(tx.execute(query, {"partition": partition}).scalar_one())
        values = {"partition": partition, "at": rng.randint(1, length - 1)}
        wanted = {name: value for name, value in values.items() if f":{name}" in statement}
        assert tx.execute(text(statement), wanted).rowcount > 0, statement

    def _go_to(self, month: datetime) -> None:
        """It is the middle of that month, and something happens in it."""
        with self._engine.begin() as tx:
            tx.execute(text("select make_partitions(moment(), 4)"))
            tx.exec_driver_sql(_CLOCK.format(f"timestamptz '{month.isoformat()}'"))
            tx.execute(text(_APPEND))


def _month_after(now: datetime, months: int) -> datetime:
    index = now.year * 12 + now.month - 1 + months
    return datetime(index // 12, index % 12 + 1, 15, 12, tzinfo=UTC)
