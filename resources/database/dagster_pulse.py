"""Whether Dagster's daemons live and its schedules and sensors succeed, read from its tables in our database.

Only for looking: no instance is needed, and where Dagster never ran, or its tables are not ours to read, nothing is
known.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_SCHEMA = "dagster"
_FAILED_IN_A_ROW = 3
_NEEDED_DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING")


def daemons_silent(tx: Connection) -> dict[str, float]:
    """Seconds since the last sign of each daemon that we need."""
    if not _is_readable(tx, "daemon_heartbeats"):
        return {}
    query = text(f"""select daemon_type, extract(epoch from (clock_timestamp() at time zone 'UTC') - max(timestamp))
                     from {_SCHEMA}.daemon_heartbeats where daemon_type = any(:needed) group by 1""")
    rows = tx.execute(query, {"needed": list(_NEEDED_DAEMONS)})
    return {f"dagster:{name.lower()}": float(seconds) for name, seconds in rows}


def failing(tx: Connection) -> dict[str, int]:
    """Schedules and sensors whose last ticks all failed, or schedules whose last runs did; how many were looked at."""
    found: dict[str, int] = {}
    for table, query in (("job_ticks", _TICKS), ("runs", _RUNS)):
        if _is_readable(tx, table):
            found |= {str(name): int(times) for name, times in tx.execute(query, {"n": _FAILED_IN_A_ROW})}
    return found


def queued_partitions(tx: Connection) -> frozenset[str]:
    """The partitions, our batches, of which a run waits for its turn."""
    if not _is_readable(tx, "runs"):
        return frozenset()
    return frozenset(tx.execute(_QUEUED).scalars())


_QUEUED = text(f"""
    select k.value from {_SCHEMA}.runs r join {_SCHEMA}.run_tags k using (run_id)
    where r.status in ('QUEUED', 'NOT_STARTED') and k.key = 'dagster/partition'""")

# Begun from the few runs that failed lately: the longest interval of ours is a day.
_RUNS = text(f"""
    select f.name, count(*)
    from (select distinct k.value as name from {_SCHEMA}.runs r join {_SCHEMA}.run_tags k using (run_id)
          where r.status = 'FAILURE' and r.update_timestamp > (clock_timestamp() at time zone 'UTC') - interval '3 days'
            and k.key = 'dagster/schedule_name') f
    cross join lateral (
        select r.status from {_SCHEMA}.run_tags k join {_SCHEMA}.runs r using (run_id)
        where k.key = 'dagster/schedule_name' and k.value = f.name and r.status in ('SUCCESS', 'FAILURE')
        order by r.id desc limit :n) t
    group by f.name having count(*) = :n and bool_and(t.status = 'FAILURE')""")

# The newest ticks of each, by the index of selector and time; those that are under way are not over yet.
_TICKS = text(f"""
    select coalesce(min(t.name), i.selector_id), count(*) from {_SCHEMA}.instigators i
    cross join lateral (
        select status, tick_body::jsonb ->> 'job_name' as name from {_SCHEMA}.job_ticks k
        where k.selector_id = i.selector_id and k.status <> 'STARTED' order by k.timestamp desc limit :n) t
    where i.status = 'RUNNING' or i.status = 'DECLARED_IN_CODE' or i.status = 'AUTOMATICALLY_RUNNING'
    group by i.selector_id having count(*) = :n and bool_and(t.status = 'FAILURE')""")


def _is_readable(tx: Connection, table: str) -> bool:
    query = text("""select case when to_regclass(:t) is null then false
                    else has_table_privilege(cast(to_regclass(:t) as oid), 'select') end""")
    return bool(tx.execute(query, {"t": f"{_SCHEMA}.{table}"}).scalar_one())
