"""Who looks after the service levels, when, and for how long nobody did.

A *round* is one look by any watcher. Rounds come at a pace; time without one, unless everything was stopped in order,
is time in which the system was not there, or nobody could have said that it was. After such a time, watchers are missed
only from then on: nobody could have been seen before.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

_ROUND = "round"
_MISSED_ROUNDS = 3  # so many intervals without a round are an absence
_KEPT_DAYS = 400


def begin_round(tx: Connection, watcher: str, every_seconds: float) -> bool:
    """Note that this watcher looks; whether a round is due, or another watcher has just made it."""
    tx.execute(text("select pg_advisory_xact_lock(hashtextextended('watch', 0))"))
    see(tx, watcher)
    since = seconds_since_round(tx)
    if since is not None and since < 0:
        _believe_the_clock(tx)
        since = 0.0
    elif since is not None and since < 0.8 * every_seconds:
        return False
    if since is not None:
        away = max(0.0, since - every_seconds) if since > _MISSED_ROUNDS * every_seconds else 0.0
        _count(tx, since - away, away)
        if away:
            expect(tx, _ROUND)
    see(tx, _ROUND)
    return True


def _believe_the_clock(tx: Connection) -> None:
    """It was set back: nobody is missed for the time that comes a second time."""
    tx.execute(
        text("""update watchers
                set seen_at = least(seen_at, clock_timestamp()), since = least(since, clock_timestamp())""")
    )


def see(tx: Connection, watcher: str) -> None:
    """This watcher is there."""
    tx.execute(
        text("""insert into watchers (watcher) values (:w)
                on conflict (watcher) do update set seen_at = clock_timestamp()"""),
        {"w": watcher},
    )


def expect(tx: Connection, watcher: str) -> None:
    """This watcher begins: it is missed from now on, and for nothing that was before."""
    tx.execute(text("delete from watchers where watcher = :w"), {"w": watcher})
    see(tx, watcher)


def seconds_expected(tx: Connection, watcher: str) -> float | None:
    """For how long this watcher has been expected, without a break in the rounds; None: it is not."""
    query = text("""select extract(epoch from clock_timestamp() - greatest(w.since, r.since))
                    from watchers w left join watchers r on r.watcher = :round where w.watcher = :w""")
    seconds = tx.execute(query, {"w": watcher, "round": _ROUND}).scalar()
    return None if seconds is None else float(seconds)


def stopped(tx: Connection) -> None:
    """Everything is stopped in order: nobody is missed from now on."""
    tx.execute(text("delete from watchers"))


def seconds_since_round(tx: Connection) -> float | None:
    """How long ago anybody looked; None: nobody did since the last orderly stop."""
    query = text("select extract(epoch from clock_timestamp() - seen_at) from watchers where watcher = :round")
    seconds = tx.execute(query, {"round": _ROUND}).scalar()
    return None if seconds is None else float(seconds)


def silent(tx: Connection) -> dict[str, float]:
    """Seconds since each expected watcher was seen, or since somebody could have seen it again."""
    rows = tx.execute(
        text("""select w.watcher, extract(epoch from clock_timestamp() - greatest(w.seen_at, r.since))
                from watchers w left join watchers r on r.watcher = :round where w.watcher <> :round"""),
        {"round": _ROUND},
    )
    return {name: float(seconds) for name, seconds in rows}


def availability_percent(tx: Connection, days: int = 30) -> float | None:
    """Of the time that was watched in the last days, how much the system was there; None before a whole day."""
    watched, away = tx.execute(
        text("""select coalesce(sum(watched_seconds), 0), coalesce(sum(away_seconds), 0) from watch_days
                where day > (clock_timestamp() at time zone 'UTC')::date - cast(:days as integer)"""),
        {"days": days},
    ).one()
    total = float(watched) + float(away)
    return None if total < 86_400 else 100 * float(watched) / total


def _count(tx: Connection, there: float, away: float) -> None:
    tx.execute(
        text("""insert into watch_days as d (day, watched_seconds, away_seconds)
                values ((clock_timestamp() at time zone 'UTC')::date, :there, :away)
                on conflict (day) do update set watched_seconds = d.watched_seconds + excluded.watched_seconds,
                                                away_seconds = d.away_seconds + excluded.away_seconds"""),
        {"there": there, "away": away},
    )
    too_old = text(
        "delete from watch_days where day < (clock_timestamp() at time zone 'UTC')::date - cast(:d as integer)"
    )
    tx.execute(too_old, {"d": _KEPT_DAYS})
