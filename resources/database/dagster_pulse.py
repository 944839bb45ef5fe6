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
    """Schedules and sensors whose last ticks all failed, and how many were looked at."""
    if not _is_readable(tx, "job_ticks"):
        return {}
    rows = tx.execute(_TICKS, {"n": _FAILED_IN_A_ROW})
    return {str(name): int(ticks) for name, ticks in rows}


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
