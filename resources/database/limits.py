"""What all processes share about a service: when the next call may leave, and whether the service is out of order."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


def take_permit(tx: Connection, service: str, spacing_seconds: float) -> float:
    """Reserve the next place in the queue of calls; seconds from now until it comes.

    One row per service, one UPDATE per permit: callers of all processes get places in the order they asked, each
    ``spacing_seconds`` after the one before. The clock is the database's.
    """
    query = text("""
        insert into rate_permits as p (service, next_at)
        values (:service, clock_timestamp() + make_interval(secs => :spacing))
        on conflict (service) do update
            set next_at = greatest(p.next_at, clock_timestamp()) + make_interval(secs => :spacing)
        returning extract(epoch from next_at - clock_timestamp()) - :spacing""")
    return float(tx.execute(query, {"service": service, "spacing": spacing_seconds}).scalar_one())


def freeze(tx: Connection, service: str, seconds: float) -> None:
    """Nobody calls the service for so long: it said that we call too often (R-37)."""
    tx.execute(
        text("""insert into rate_permits as p (service, next_at)
                values (:service, clock_timestamp() + make_interval(secs => :seconds))
                on conflict (service) do update
                    set next_at = greatest(p.next_at, clock_timestamp() + make_interval(secs => :seconds))"""),
        {"service": service, "seconds": seconds},
    )


def seconds_frozen(tx: Connection, service: str) -> float:
    """Seconds until a service may be called again; 0 when nothing is known against it."""
    query = text("select extract(epoch from next_at - clock_timestamp()) from rate_permits where service = :service")
    return max(0.0, float(tx.execute(query, {"service": service}).scalar() or 0.0))


@dataclass(frozen=True, slots=True)
class BreakerState:
    """``open``: the service is out of order; ``seconds_to_probe`` until one call may find out whether it still is."""

    open: bool
    reason: str | None = None
    seconds_to_probe: float = 0.0


def breaker(tx: Connection, service: str) -> BreakerState:
    """Where the breaker of a service stands."""
    row = tx.execute(
        text("""select state = 'open', reason, extract(epoch from probe_at - clock_timestamp())
                from breakers where service = :service"""),
        {"service": service},
    ).one_or_none()
    if row is None or not row[0]:
        return BreakerState(open=False)
    return BreakerState(True, row[1], max(0.0, float(row[2])))


def open_breaker(tx: Connection, service: str, reason: str, cooldown_seconds: float, *, probe_failed: bool) -> None:
    """Stop all calls to the service. Each failed probe doubles the time until the next, up to ten times as long.

    One that is open already stays as it is, unless its probe has just failed.
    """
    tx.execute(
        text("""insert into breakers as b (service, state, failures, reason, opened_at, probe_at)
                values (:service, 'open', 0, :reason, clock_timestamp(),
                        clock_timestamp() + make_interval(secs => :cooldown))
                on conflict (service) do update
                    set state = 'open', reason = :reason, opened_at = clock_timestamp(),
                        failures = b.failures + cast(:again as integer),
                        probe_at = clock_timestamp() + make_interval(secs =>
                            :cooldown * least(power(2, least(b.failures + cast(:again as integer), 5)), 10))
                    where b.state = 'closed' or :again = 1"""),
        {"service": service, "reason": reason, "cooldown": cooldown_seconds, "again": int(probe_failed)},
    )


def take_probe(tx: Connection, service: str, hold_seconds: float) -> bool:
    """Be the one who probes an open service; the next probe is free again after ``hold_seconds``."""
    taken = tx.execute(
        text("""update breakers set probe_at = clock_timestamp() + make_interval(secs => :hold)
                where service = :service and state = 'open' and probe_at <= clock_timestamp() returning service"""),
        {"service": service, "hold": hold_seconds},
    )
    return taken.scalar() is not None


def close_breaker(tx: Connection, service: str) -> None:
    """The service answers again."""
    tx.execute(
        text(
            """update breakers set state = 'closed', failures = 0, reason = null, probe_at = null
                where service = :service"""
        ),
        {"service": service},
    )
