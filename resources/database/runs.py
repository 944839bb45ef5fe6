"""What a run began with: who launched it on which batch, by which settings. From runs to batches and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class RunStart:
    """One run of Dagster on one batch; ``run_config`` is canonical JSON."""

    run_id: str
    batch_id: str
    job: str
    launched_by: str
    run_config: str
    code_version: str


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A run as it was noted when it began; ``settings`` by their variables, secrets masked."""

    run_id: str
    batch_id: str
    job: str
    launched_by: str
    run_config: str
    configuration_sha256: str
    settings: Mapping[str, str | None]
    code_version: str
    started_at: datetime


def note_settings(tx: Connection, settings: Mapping[str, str | None]) -> None:
    """Those that are no longer as the last run had them; each leaves an event of the system's chain."""
    tx.execute(
        text("""insert into settings_in_force as s (variable, value)
                select u.variable, u.value
                from unnest(cast(:names as text[]), cast(:values as text[])) as u (variable, value)
                where not exists (select from settings_in_force k
                                  where k.variable = u.variable and k.value is not distinct from u.value)
                order by u.variable
                on conflict (variable) do update set value = excluded.value, since = clock_timestamp()
                    where s.value is distinct from excluded.value"""),
        {"names": list(settings), "values": list(settings.values())},
    )


def note_start(tx: Connection, start: RunStart, settings: Mapping[str, str | None]) -> None:
    """A run begins to work on a batch; told twice, it is noted once. A batch that is not there is not noted."""
    content = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sha256 = hashlib.sha256(content.encode()).digest()
    tx.execute(
        text("insert into configurations (sha256, settings) values (:sha, :content) on conflict do nothing"),
        {"sha": sha256, "content": content},
    )
    tx.execute(
        text("""insert into batch_runs (run_id, batch_id, job, launched_by, run_config, configuration, code_version)
                select :run_id, b.batch_id, :job, :launched_by, :run_config, :sha, :code_version
                from batches b where b.batch_id = :batch_id on conflict do nothing"""),
        {name: getattr(start, name) for name in RunStart.__slots__} | {"sha": sha256},
    )


_RUNS = """select r.run_id, r.batch_id, r.job, r.launched_by, r.run_config, encode(r.configuration, 'hex'), c.settings,
                  r.code_version, r.started_at
           from batch_runs r join configurations c on c.sha256 = r.configuration where {which} = :id
           order by r.started_at, r.run_id"""
_OF_BATCH = text(_RUNS.format(which="r.batch_id"))
_OF_RUN = text(_RUNS.format(which="r.run_id"))


def of_batch(tx: Connection, batch_id: str) -> list[BatchRun]:
    """All runs that worked on a batch, oldest first."""
    return [_run(tuple(row)) for row in tx.execute(_OF_BATCH, {"id": batch_id})]


def of_run(tx: Connection, run_id: str) -> list[BatchRun]:
    """The batches that a run worked on."""
    return [_run(tuple(row)) for row in tx.execute(_OF_RUN, {"id": run_id})]


def _run(values: tuple[object, ...]) -> BatchRun:
    known = dict(zip(BatchRun.__slots__, values, strict=True))
    known["settings"] = json.loads(str(known["settings"]))
    return BatchRun(**known)  # type: ignore[arg-type]  # the columns' types are the database's
