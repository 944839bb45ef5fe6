"""What all processes share about a service: when the next call may leave, and whether the service is out of order."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Permit:
    """When a call may leave, and the time at which that was said; both in seconds by the database's clock."""

    place: float
    now: float


_LONGEST_QUEUE_SECONDS = 150.0  # longer than any service's Retry-After: beyond it, a clock was set back


def take_permit(tx: Connection, service: str, spacing_seconds: float) -> Permit:
    """Reserve the next place in the queue of calls.

    One row per service, one UPDATE per permit: callers of all processes get places in the order they asked, each
    ``spacing_seconds`` after the one before. The clock is the database's.
    """
    query = text("""
        insert into rate_permits as p (service, next_at)
        values (:service, clock_timestamp() + make_interval(secs => :spacing))
        on conflict (service) do update
            set next_at = greatest(least(p.next_at, clock_timestamp() + make_interval(secs => :longest)),
                                   clock_timestamp()) + make_interval(secs => :spacing)
        returning extract(epoch from next_at) - :spacing, extract(epoch from clock_timestamp())""")
    longest = _LONGEST_QUEUE_SECONDS + 100 * spacing_seconds
    place, now = tx.execute(query, {"service": service, "spacing": spacing_seconds, "longest": longest}).one()
    return Permit(float(place), float(now))


def delay_permit(tx: Connection, service: str, permit: Permit, ahead_seconds: float) -> Permit:
    """Move a place that went by unused to ``ahead_seconds`` from now, and with it all that nobody has taken yet."""
    query = text("""
        update rate_permits set next_at = next_at + make_interval(secs =>
            greatest(0, extract(epoch from clock_timestamp())::float8 + :ahead - :place))
        where service = :service
        returning extract(epoch from clock_timestamp())""")
    values = {"service": service, "ahead": ahead_seconds, "place": permit.place}
    now = float(tx.execute(query, values).scalar_one())
    return Permit(now + ahead_seconds, now)


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
    seconds = float(tx.execute(query, {"service": service}).scalar() or 0.0)
    return min(max(0.0, seconds), _LONGEST_QUEUE_SECONDS)


@dataclass(frozen=True, slots=True)
class BreakerState:
    """``open``: the service is out of order; ``seconds_to_probe`` until one call may find out whether it still is.

    ``probing``: somebody is finding out right now.
    """

    open: bool
    reason: str | None = None
    seconds_to_probe: float = 0.0
    probing: bool = False


_CLOCK_WAS_SET_BACK = "opened_at > clock_timestamp()"  # what a breaker says of times is not believed then


def breaker(tx: Connection, service: str) -> BreakerState:
    """Where the breaker of a service stands."""
    row = tx.execute(
        text(f"""select state = 'open', reason,
                        case when not {_CLOCK_WAS_SET_BACK} then extract(epoch from probe_at - clock_timestamp()) end,
                        coalesce(probing_until > clock_timestamp(), false) and not {_CLOCK_WAS_SET_BACK}
                 from breakers where service = :service"""),
        {"service": service},
    ).one_or_none()
    if row is None or not row[0]:
        return BreakerState(open=False)
    return BreakerState(True, row[1], max(0.0, float(row[2] or 0.0)), row[3])


def open_breaker(tx: Connection, service: str, reason: str, cooldown_seconds: float, *, probe_failed: bool) -> None:
    """Stop all calls to the service. Each failed probe doubles the time until the next, up to ten times as long.

    One that is open already stays as it is, unless its probe has just failed.
    """
    tx.execute(
        text("""insert into breakers as b (service, state, failures, reason, opened_at, probe_at)
                values (:service, 'open', 0, :reason, clock_timestamp(),
                        clock_timestamp() + make_interval(secs => :cooldown))
                on conflict (service) do update
                    set state = 'open', reason = :reason, opened_at = clock_timestamp(), probing_until = null,
                        failures = b.failures + cast(:again as integer),
                        probe_at = clock_timestamp() + make_interval(secs =>
                            :cooldown * least(power(2, least(b.failures + cast(:again as integer), 5)), 10))
                    where b.state = 'closed' or :again = 1"""),
        {"service": service, "reason": reason, "cooldown": cooldown_seconds, "again": int(probe_failed)},
    )


def take_probe(tx: Connection, service: str, hold_seconds: float) -> bool:
    """Be the one who probes an open service; the next probe is free again after ``hold_seconds``."""
    taken = tx.execute(
        text(f"""update breakers set probing_until = clock_timestamp() + make_interval(secs => :hold),
                        opened_at = least(opened_at, clock_timestamp()), probe_at = least(probe_at, clock_timestamp())
                 where service = :service and state = 'open'
                   and (probe_at <= clock_timestamp() and coalesce(probing_until, '-infinity') <= clock_timestamp()
                        or {_CLOCK_WAS_SET_BACK}) returning service"""),
        {"service": service, "hold": hold_seconds},
    )
    return taken.scalar() is not None


def close_breaker(tx: Connection, service: str) -> None:
    """The service answers again; what was counted against it is over."""
    tx.execute(text("delete from breaker_windows where service = :service"), {"service": service})
    tx.execute(
        text(
            """update breakers set state = 'closed', failures = 0, reason = null, probe_at = null, probing_until = null
                where service = :service"""
        ),
        {"service": service},
    )


_SLOT_SECONDS = 6.0


def count_calls(tx: Connection, service: str, calls: int, failures: int, window_seconds: float) -> tuple[int, int]:
    """Add what one process saw; calls and systemic failures of all processes in the last ``window_seconds``."""
    tx.execute(
        text("""insert into breaker_windows as w (service, slot, calls, failures)
                values (:service, floor(extract(epoch from clock_timestamp()) / :slot), :calls, :failures)
                on conflict (service, slot) do update
                    set calls = w.calls + excluded.calls, failures = w.failures + excluded.failures"""),
        {"service": service, "slot": _SLOT_SECONDS, "calls": calls, "failures": failures},
    )
    too_old = "slot not between {now} - :window / :slot and {now}".format(
        now="floor(extract(epoch from clock_timestamp()) / :slot)"
    )
    values = {"service": service, "slot": _SLOT_SECONDS, "window": window_seconds}
    tx.execute(text(f"delete from breaker_windows where service = :service and {too_old}"), values)
    query = text("select sum(calls), sum(failures) from breaker_windows where service = :service")
    seen, failed = tx.execute(query, {"service": service}).one()
    return int(seen), int(failed)
