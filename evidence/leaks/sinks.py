"""Where a canary could turn up: everything that is written, answered or shown, piece by piece; and what is left out.

Left out is only where the customer's own data are meant to be: sealed cells, the customer's files as they came, the
result and repair files of a batch (0600), and the bodies of mails on their way to the notification service.
"""

from __future__ import annotations

import fnmatch
import json
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from evidence.leaks.canaries import Flock
from evidence.leaks.search import Found, search, search_raw

SEALED = frozenset({"import_rows.cells", "encryption_keys.check_value", "encryption_keys.index_keys"})
"""Columns that hold nothing but ciphertext; that they do is another test's business."""

CUSTOMERS_FILES = (
    "import/*",
    "batches/*/source.*",
    "batches/*/totals-*",
    "batches/*/report/*",
    "duplicates/*",
    "quarantine/*",
)
NOTES = "*.txt"
_ROWS_AT_ONCE = 500
_MOST_OF_A_FILE = 400_000_000


@dataclass(frozen=True, slots=True)
class Piece:
    """Some octets of a sink. ``raw``: of a foreign format and large, so only what is uncompressed is looked for."""

    sink: str
    where: str
    octets: bytes
    raw: bool = False


def look(flock: Flock, pieces: Iterator[Piece]) -> list[Found]:
    """Every canary in these pieces."""
    found: list[Found] = []
    for piece in pieces:
        found += (search_raw if piece.raw else search)(flock, piece.sink, piece.where, piece.octets)
    return found


# -- the database ------------------------------------------------------------------------------------------------------


def tables(url: str) -> Iterator[Piece]:
    """Every column of every table that is not sealed, of ours, of the legacy system and of Dagster."""
    with psycopg.connect(url) as connection:
        columns = connection.execute(
            """select n.nspname, c.relname, a.attname, a.atttypid = 'bytea'::regtype from pg_class c
               join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
               where c.relkind in ('r', 'm') and a.attnum > 0 and not a.attisdropped
                     and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1, 2, a.attnum"""
        ).fetchall()
        for schema, table, column, is_octets in columns:
            if f"{table}.{column}" not in SEALED:
                yield from _column(connection, schema, table, column, is_octets)


def _column(
    connection: psycopg.Connection[Any], schema: str, table: str, column: str, is_octets: bool
) -> Iterator[Piece]:
    sink = f"table of {schema}"
    place = f"{table}.{column}"
    query = sql.SQL("select {} from {} where {} is not null").format(
        sql.Identifier(column) if is_octets else sql.SQL("{}::text").format(sql.Identifier(column)),
        sql.Identifier(schema, table),
        sql.Identifier(column),
    )
    with connection.cursor(name="leaks") as cursor:
        cursor.execute(query)
        while values := cursor.fetchmany(_ROWS_AT_ONCE):
            if is_octets:
                yield from (Piece(sink, place, bytes(value)) for (value,) in values)
            else:
                yield Piece(sink, place, "\n".join(value for (value,) in values).encode())


def activity(url: str) -> Iterator[Piece]:
    """What the server shows of its sessions: their statements."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select query, application_name from pg_stat_activity").fetchall()
    yield Piece("sessions of the database", "pg_stat_activity", repr(rows).encode())


# -- files -------------------------------------------------------------------------------------------------------------


def home(folder: Path, data: Path, since: float = 0.0) -> Iterator[Piece]:
    """Everything under the home that was changed since; the database's own files raw."""
    for path in files_of(folder, since):
        name = path.relative_to(folder).as_posix()
        if path.is_relative_to(data) or name.startswith("postgres/"):
            continue
        if any(fnmatch.fnmatch(name, pattern) for pattern in CUSTOMERS_FILES) and not _is_note(name):
            continue
        sink = "logs" if name.startswith("logs/") else "Dagster's home" if name.startswith("dagster/") else "home"
        yield Piece(sink, name, _octets(path))
    for path in files_of(data, since):
        yield Piece("files of the database", path.relative_to(data).as_posix(), _octets(path), raw=True)


def _is_note(name: str) -> bool:
    return name.startswith(("duplicates/", "quarantine/")) and fnmatch.fnmatch(name, NOTES)


def folder(sink: str, where: Path) -> Iterator[Piece]:
    """Every file of a folder."""
    for path in files_of(where):
        yield Piece(sink, path.name, _octets(path))


def files_of(folder: Path, since: float = 0.0) -> Iterator[Path]:
    """Regular files below a folder that were changed since; names are looked at with them."""
    for parent, _, names in os.walk(folder, onerror=lambda _: None):
        for name in sorted(names):
            path = Path(parent, name)
            with suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mtime >= since:
                    yield path


def _octets(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return path.name.encode(errors="surrogateescape") + b"\n" + file.read(_MOST_OF_A_FILE)
    return b""


# -- Dagster's answers -------------------------------------------------------------------------------------------------

_RUNS = """{ runsOrError(limit: 500) { ... on Runs { results {
    id runId jobName status runConfigYaml tags { key value }
    eventConnection(limit: 1000) { events { __typename
      ... on MessageEvent { message level stepKey }
      ... on ErrorEvent { error { message stack className cause { message stack } errorChain { error { message } } } }
      ... on ExecutionStepFailureEvent { failureMetadata { metadataEntries { label description ...V } } }
      ... on MaterializationEvent { label description metadataEntries { label description ...V } tags { key value } }
      ... on ObservationEvent { label description metadataEntries { label description ...V } }
      ... on AssetCheckEvaluationEvent { evaluation { checkName metadataEntries { label description ...V } } }
    } } } } ... on PythonError { message stack } } }
  fragment V on MetadataEntry { ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
    ... on JsonMetadataEntry { jsonString } ... on PathMetadataEntry { path } ... on UrlMetadataEntry { url }
    ... on TableMetadataEntry { table { records } } }"""
_TICKS = """{ repositoriesOrError { ... on RepositoryConnection { nodes { name
    sensors { name description sensorState { ticks(limit: 500) { ...T } } }
    schedules { name scheduleState { ticks(limit: 100) { ...T } } }
    jobs { name description } assetNodes { assetKey { path } description } } } } }
  fragment T on InstigationTick { status error { message stack } skipReason cursor }"""
_ASSETS = """{ assetNodes { assetKey { path } partitionKeys
    assetMaterializations(limit: 200) { partition label description metadataEntries { label description ...V } }
    assetObservations(limit: 200) { partition label description metadataEntries { label description ...V } } } }
  fragment V on MetadataEntry { ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
    ... on JsonMetadataEntry { jsonString } ... on PathMetadataEntry { path } ... on UrlMetadataEntry { url } }"""


def dagster(url: str) -> Iterator[Piece]:
    """What the web server answers of runs, their events, ticks and assets, and its page.

    Raises:
        RuntimeError: a question that it does not understand: nothing would be searched.
    """
    for name, query in (("runs", _RUNS), ("ticks", _TICKS), ("assets", _ASSETS)):
        answer = ask_dagster(url, query)
        if "errors" in answer:
            raise RuntimeError(f"Dagster does not answer about {name}: {str(answer['errors'])[:500]}")
        yield Piece("answers of Dagster", name, json.dumps(answer, ensure_ascii=False).encode())
    yield Piece("answers of Dagster", "page", _fetched(f"{url}/runs"))


def ask_dagster(
    url: str, query: str, variables: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One answer of its GraphQL endpoint."""
    body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
    sent = {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(f"{url}/graphql", body, sent)
    answer: dict[str, Any] = json.loads(_fetched(request))
    return answer


def _fetched(request: str | urllib.request.Request) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as refused:
        return refused.read()
