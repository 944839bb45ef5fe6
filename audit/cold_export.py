"""A month into a Parquet file with a signed manifest, read back and compared before anything is dropped.

    1. the rows go into a file of ours; chains are walked while they pass
    2. the file goes into cold storage, under a name that tells its content
    3. it is fetched from there, and compared with the database row by row
    4. the manifest is signed, stored beside it and read back
    5. manifest and ranges stand in the database, with their event: from now on the month is exported

Killed before 5, the database is as it was, and the next try arrives at the same names. The rows are in the order of
their keys and the writer is the same, so the file is, too; were it not, its name would be another.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from sqlalchemy import Connection

from domain.errors import InvariantBroken
from domain.retention import Category, ChainRange, ExportManifest, partition_name
from domain.trail import Fields, Head, walk
from resources.anchor_keys import SigningKey
from resources.cold_store import ColdStore
from resources.database import retention, trail
from resources.database.database import Database

Row = tuple[str | None, ...]

_ROWS_AT_ONCE = 20_000
_TEXT, _WHOLE, _BYTES = pa.string(), pa.int64(), pa.binary()
_MOMENT, _NUMBERS = pa.timestamp("us", tz="UTC"), pa.list_(pa.int32())
_SCHEMAS = {
    Category.TRAIL: pa.schema(
        {
            "chain": _TEXT,
            "seq": _WHOLE,
            "at": _MOMENT,
            "actor": _TEXT,
            "run_id": _TEXT,
            "code_version": _TEXT,
            "event": _TEXT,
            "reason": _TEXT,
            "subjects": _NUMBERS,
            "amount_jpy": _WHOLE,
            "facts": _BYTES,
            "prev_hash": _BYTES,
            "hash": _BYTES,
        }
    ),
    Category.ATTEMPTS: pa.schema(
        {
            "attempt_id": _WHOLE,
            "kind": _TEXT,
            "order_id": _WHOLE,
            "attempt": _WHOLE,
            "purpose": _TEXT,
            "lease_epoch": _WHOLE,
            "started_at": _MOMENT,
            "ended_at": _MOMENT,
            "outcome": _TEXT,
            "reason": _TEXT,
            "http_status": _WHOLE,
            "service_request_id": _TEXT,
            "recorded_at": _MOMENT,
        }
    ),
}


@dataclass(frozen=True, slots=True)
class ColdPart:
    """With what a month is exported; ``keep_until``: nothing of it may go before."""

    store: ColdStore
    key: SigningKey
    scratch: Path
    keep_until: datetime


def export(database: Database, part: ColdPart, category: Category, month: date) -> ExportManifest:
    """Export one month; one that is exported already is not touched.

    Raises:
        InvariantBroken: a chain of it does not hold, or what was read back is not what was written.
        TransientError: cold storage cannot be reached.
    """
    part.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=part.scratch) as folder:
        written, back = Path(folder) / "written.parquet", Path(folder) / "back.parquet"
        with database.snapshot() as tx:
            manifest = _written(tx, category, month, written, part.key.key_id)
            part.store.put(manifest.file, written, part.keep_until)
            part.store.fetch(manifest.file, back)
            _compare(tx, manifest, back)
        body = manifest.to_body()
        name = manifest_name(manifest)
        signature = part.key.sign(body.encode())
        text = signed_text(body, signature)
        part.store.put_text(name, text, Path(folder) / "manifest.json", part.keep_until)
        if part.store.text(name) != text:
            raise InvariantBroken("SYS-EXPORT-DIFFERS", partition=manifest.partition)
    database.run(lambda tx: _record(tx, manifest, body, signature))
    return manifest


def manifest_name(manifest: ExportManifest) -> str:
    """Beside its file."""
    return manifest.file.removesuffix(".parquet") + ".manifest"


def signed_text(body: str, signature: bytes) -> str:
    """A manifest as it is stored: the signed bytes, and the signature in the last line."""
    return f"{body}\n{signature.hex()}\n"


def _record(tx: Connection, manifest: ExportManifest, body: str, signature: bytes) -> None:
    if all(known.partition != manifest.partition for known in retention.exports(tx)):
        retention.record_export(tx, manifest, body, signature)


def _written(tx: Connection, category: Category, month: date, path: Path, key_id: str) -> ExportManifest:
    partition = partition_name(category, month)
    seen = _Seen(category)
    schema = _SCHEMAS[category]
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _in_parts(seen.passing(retention.rows(tx, category, partition))):
            writer.write_batch(_batch(schema, rows))
    seen.refuse_broken(tx, partition)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return ExportManifest(
        installation=trail.installation_id(tx),
        category=category,
        partition=partition,
        month=month,
        rows=seen.rows,
        file=f"{category.value}/{month:%Y}/{partition}-{digest[:12]}.parquet",
        file_bytes=len(content),
        file_sha256=digest,
        content_sha256=seen.digest,
        columns=tuple(schema.names),
        chains=tuple(seen.chains),
        batches=tuple(retention.batches_of(tx, category, partition)),
        key_id=key_id,
    )


class _Seen:
    """What passes on its way into the file: counted, digested, and the stretches of chains noted."""

    def __init__(self, category: Category) -> None:
        self.rows = 0
        self.chains: list[ChainRange] = []
        self._trail = category is Category.TRAIL
        self._hasher = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of the rows as text."""
        return self._hasher.hexdigest()

    def passing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows."""
        for row in rows:
            self.rows += 1
            self._hasher.update(_framed(row))
            if self._trail:
                self._note(str(row[0]), int(str(row[1])), str(row[11]), str(row[12]))
            yield row

    def _note(self, chain: str, seq: int, prev_hash: str, its_hash: str) -> None:
        if self.chains and self.chains[-1].chain == chain:
            self.chains[-1] = replace(self.chains[-1], last_seq=seq, last_hash=its_hash)
        else:
            self.chains.append(ChainRange(chain, seq, prev_hash, seq, its_hash))

    def refuse_broken(self, tx: Connection, partition: str) -> None:
        """A chain that does not hold stays where it is, for everybody to see.

        Raises:
            InvariantBroken: SYS-EXPORT-BROKEN with the first such chain.
        """
        if not self._trail:
            return
        starts = {chain.chain.encode(): Head(chain.first_seq - 1, chain.first_prev.encode()) for chain in self.chains}
        rows = retention.rows(tx, Category.TRAIL, partition)
        broken = {walked.chain.decode() for walked in walk(map(_fields, rows), starts=starts) if walked.broken_at}
        known = retention.chain_starts(tx)
        for chain in self.chains:
            before = known.get(chain.chain, Head(0, b"00" * 32))
            follows = (before.seq + 1, before.hash.decode()) == (chain.first_seq, chain.first_prev)
            if chain.chain in broken or not follows or not retention.goes_on(tx, chain):
                raise InvariantBroken("SYS-EXPORT-BROKEN", partition=partition, chain=chain.chain)


def _fields(row: Row) -> Fields:
    return [None if field is None else field.encode() for field in row]


def _framed(row: Row) -> bytes:
    return ",".join("-" if field is None else f"{len(field)}:{field}" for field in row).encode() + b"\n"


def _in_parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while part := list(islice(left, _ROWS_AT_ONCE)):
        yield part


def _compare(tx: Connection, manifest: ExportManifest, path: Path) -> None:
    """What came back is, row by row, what the database holds now.

    Raises:
        InvariantBroken: SYS-EXPORT-DIFFERS.
    """
    there = retention.rows(tx, manifest.category, manifest.partition)
    if any(ours != theirs for ours, theirs in zip_longest(there, read_rows(path))):
        raise InvariantBroken("SYS-EXPORT-DIFFERS", partition=manifest.partition)


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _batch(schema: pa.Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    columns = [
        pa.array([None if value is None else _typed(field.type, value) for value in values], field.type)
        for field, values in zip(schema, zip(*rows, strict=True), strict=True)
    ]
    return pa.record_batch(columns, schema=schema)


def _typed(kind: pa.DataType, value: str) -> Any:
    if kind in (_WHOLE, _MOMENT):
        return int(value)
    if kind == _BYTES:
        return bytes.fromhex(value)
    return [int(number) for number in value.split()] if kind == _NUMBERS else value


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of an exported month, as the database gave them."""
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            columns = [_texts(column) for column in batch.columns]
            yield from zip(*columns, strict=True)


def _texts(column: Any) -> list[str | None]:
    kind = column.type
    if kind == _MOMENT:
        return [None if value is None else str(value) for value in column.cast(_WHOLE).to_pylist()]
    values = column.to_pylist()
    if kind == _BYTES:
        return [None if value is None else value.hex() for value in values]
    if kind == _NUMBERS:
        return [None if value is None else " ".join(map(str, value)) for value in values]
    return [None if value is None else str(value) for value in values]


def keep_until(month: date, cold_months: int) -> datetime:
    """The first moment at which a month may be destroyed."""
    index = month.year * 12 + month.month - 1 + cold_months + 1
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
