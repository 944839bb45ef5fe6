"""The service levels as the database and the trail have them. Nothing here needs an extension, and nothing is changed.

Each question is cheap whatever the tables hold: open effects by their partial indexes, the newest calls from the end of
the table, the last events of a chain from its head.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, text

from domain.health import SECURITY_EVENTS, AnswerLevel, Backlog, DatabaseLevel, ServiceLevel, TrailLevel
from domain.states import EffectKind
from resources.database import batches, books, reviews, trail

_NEWEST_CALLS = 20_000
_NEWEST_EVENTS = 20_000


def database_level(tx: Connection) -> DatabaseLevel:
    """Typical queries, each made once and timed as its caller feels it; then what the server says of itself."""
    newest = batches.newest(tx)
    typical: dict[str, Callable[[], object]] = {
        "newest_batches": lambda: batches.newest(tx),
        "unfinished_batches": lambda: batches.unfinished(tx, 100),
        "rows_in_review": lambda: reviews.in_review(tx, None, 50),
    }
    if newest:
        typical["books_of_a_batch"] = lambda: books.read(tx, newest[0].batch_id)
    connections, most, transaction_ms, size = tx.execute(_SERVER).one()
    timed = {name: _milliseconds(ask) for name, ask in typical.items()}
    return DatabaseLevel(timed, int(connections), int(most), float(transaction_ms), int(size))


def _milliseconds(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return 1000 * (time.perf_counter() - started)


_SERVER = text("""
    select (select coalesce(sum(numbackends), 0) from pg_stat_database), current_setting('max_connections')::integer,
           coalesce(d.active_time / nullif(d.xact_commit + d.xact_rollback, 0), 0), pg_database_size(current_database())
    from pg_stat_database d where d.datname = current_database()""")


def service_level(tx: Connection, kind: EffectKind, window_seconds: float) -> ServiceLevel:
    """Calls of the window by class, their percentiles, the breaker, and how far the rate limit is taken."""
    values = {"kind": kind.value, "window": window_seconds, "newest": _NEWEST_CALLS}
    calls, p50, p95, p99, throttled = tx.execute(_CALLS, values).one()
    outcomes = {name: int(count) for name, count in tx.execute(_OUTCOMES, values)}
    row = tx.execute(_BREAKER, {"service": kind.value}).one_or_none()
    ahead = tx.execute(_QUEUE, {"service": kind.value}).scalar()
    return ServiceLevel(
        service=kind.value,
        calls=int(calls),
        p50_ms=float(p50 or 0),
        p95_ms=float(p95 or 0),
        p99_ms=float(p99 or 0),
        by_outcome=outcomes,
        throttled=int(throttled),
        queue_seconds=max(0.0, float(ahead or 0)),
        open_seconds=None if row is None else float(row[0]),
        reason="-" if row is None else str(row[1] or "-"),
    )


_WINDOW = """from (select * from effect_attempts order by attempt_id desc limit :newest) a
             where a.kind = :kind and a.ended_at > clock_timestamp() - make_interval(secs => :window)"""
_CALLS = text(f"""
    select count(*), percentile_cont(0.5) within group (order by ms), percentile_cont(0.95) within group (order by ms),
           percentile_cont(0.99) within group (order by ms), count(*) filter (where http_status = 429)
    from (select 1000 * extract(epoch from a.ended_at - a.started_at)::float8 as ms, a.http_status {_WINDOW}) c""")
_OUTCOMES = text(f"select a.outcome, count(*) {_WINDOW} group by a.outcome")
# Since its first failure in a row: a probe that fails opens it again.
_BREAKER = text("""
    select greatest(0, extract(epoch from clock_timestamp() - coalesce(
               (select max(e.at) from (select event, reason, at from audit_events where chain = 'system'
                                       order by seq desc limit 5000) e
                where e.event = 'breaker:open' and split_part(e.reason, ' ', 1) = b.service), b.opened_at))),
           b.reason
    from breakers b where b.service = :service and b.state = 'open'""")
_QUEUE = text("select extract(epoch from next_at - clock_timestamp()) from rate_permits where service = :service")


def backlog(tx: Connection) -> Backlog:
    """What is not finished, and for how long."""
    open_effects = {kind: _by_state(tx, kind) for kind in EffectKind}
    oldest_open, oldest_review = tx.execute(_OLDEST).one()
    since_last_end = tx.execute(_SINCE_LAST_END).scalar()
    return Backlog(
        batches={state: int(count) for state, count in tx.execute(_BATCHES)},
        payments=open_effects[EffectKind.PAYMENT],
        notifications=open_effects[EffectKind.NOTIFICATION],
        oldest_open_seconds=float(oldest_open or 0),
        oldest_review_seconds=float(oldest_review or 0),
        still={name: float(seconds) for name, seconds in tx.execute(_STILL)},
        waiting={name: float(seconds) for name, seconds in tx.execute(_WAITING)},
        open_at={kind.value: frozenset(tx.execute(_OPEN_AT[kind]).scalars()) for kind in EffectKind},
        since_last_end=None if since_last_end is None else float(since_last_end),
        webhook_alarms=int(tx.execute(_ALARMS).scalar_one()),
    )


def _by_state(tx: Connection, kind: EffectKind) -> Mapping[str, int]:
    query = text(f"""
        select state, count(*) from {kind.value}
        where state in ('planned', 'sending', 'unknown', 'retry_wait') group by 1
        union all
        select 'review', count(*) from {kind.value} where state = 'review' having count(*) > 0""")
    return {state: int(count) for state, count in tx.execute(query)}


_BATCHES = text("""
    select state, count(*) from batches where state not in ('done', 'partial', 'refused', 'cancelled') group by 1""")
_OPEN = """select min(coalesce(first_sent_at, created_at)) from {table}
           where state in ('planned', 'sending', 'unknown', 'retry_wait')"""
_REVIEW = "select min(settled_at) from {table} where state = 'review'"
_OLDEST = text(
    "select extract(epoch from clock_timestamp() - least(({}), ({}))), ".format(
        *(_OPEN.format(table=kind.value) for kind in EffectKind)
    )
    + "extract(epoch from clock_timestamp() - least(({}), ({})))".format(
        *(_REVIEW.format(table=kind.value) for kind in EffectKind)
    )
)
# Progress is a row, an order or an effect that got somewhere, or a decision. Runs that begin, calls that are repeated
# and a pause that ends and begins again are none.
_STILL = text("""
    select b.batch_id, extract(epoch from clock_timestamp() - coalesce(
        (select e.at from audit_events e where e.chain = b.batch_id and (
             e.event ~ '^(row|order|decision):'
             or e.event ~ '^(payment|notification):(.*:)?(planned|done|rejected|review|cancelled)$'
             or e.event ~ '^batch:((received:)?validated|validated:ordered|received|(partial|cancelled)\\:ordered)$')
         order by e.seq desc limit 1), b.created_at))
    from batches b
    where b.state not in ('done', 'partial', 'refused', 'cancelled') and not b.waits_for_person order by 2 desc""")
_WAITING = text("""
    select b.batch_id, extract(epoch from clock_timestamp() - coalesce(
        (select e.at from audit_events e where e.chain = b.batch_id and e.event like 'batch:%\\:paused'
         order by e.seq desc limit 1), b.created_at))
    from batches b where b.waits_for_person order by 2 desc""")
_OPEN_AT = {
    kind: text(f"""select distinct batch_id from {kind.value} where batch_id is not null
                   and state in ('planned', 'sending', 'unknown', 'retry_wait')""")
    for kind in EffectKind
}
_SINCE_LAST_END = text("select extract(epoch from clock_timestamp() - max(finished_at)) from batches")
_ALARMS = text("""
    select count(*) from webhook_inbox w where w.outcome in ('alarm', 'expired')
    and not exists (select from webhook_acknowledgements k where k.event_id = w.event_id)""")


def security_events(tx: Connection, window_seconds: float) -> dict[str, int]:
    """How many there were within the window, by the names of ``SECURITY_EVENTS``."""
    rows = tx.execute(_SECURITY, {"window": window_seconds, "newest": _NEWEST_EVENTS})
    found: dict[str, int] = {}
    for event, count in rows:
        name = next((known for known in SECURITY_EVENTS if event.startswith(known)), None)
        if name is not None:
            found[name] = found.get(name, 0) + int(count)
    return found


# An event says how many requests or results it is about, where that is more than one ("3 requests").
_SECURITY = text("""
    select e.event, sum(coalesce(nullif(substring(e.reason from '^([0-9]{1,9}) '), '')::bigint, 1))
    from (select * from audit_events where chain = 'system' order by seq desc limit :newest) e
    where e.at > clock_timestamp() - make_interval(secs => :window)
      and (e.event like 'security:%' or e.event = 'access:refused') group by 1
    union all
    select e.event, sum(coalesce(nullif(substring(e.reason from '^([0-9]{1,9}) '), '')::bigint, 1))
    from (select * from audit_events where chain = 'system:webhooks' order by seq desc limit :newest) e
    where e.at > clock_timestamp() - make_interval(secs => :window) and e.event like 'webhook:refused:%' group by 1""")


def trail_level(tx: Connection) -> TrailLevel:
    """Ages of the last anchor and the last verification, what that found, and which guards are off now."""
    anchor_age, moved, verified_age, first_age, faults, first_fault = tx.execute(_TRAIL).one()
    return TrailLevel(
        anchor_age=None if anchor_age is None else float(anchor_age),
        moved_since_anchor=bool(moved),
        verified_age=None if verified_age is None else float(verified_age),
        first_event_age=None if first_age is None else float(first_age),
        faults=int(faults or 0),
        first_fault=str(first_fault or "-"),
        guards_off=trail.guards_missing(tx),
    )


# Whether anything but the anchor itself, and what alerts and verifications leave, came after the last anchor.
_TRAIL = text("""
    with anchor as (select made_at from audit_anchors order by number desc limit 1),
         verified as (select * from trail_verifications order by verification_id desc limit 1)
    select extract(epoch from clock_timestamp() - (select made_at from anchor)),
           exists (select from batches b where b.created_at > coalesce((select made_at from anchor), '-infinity')
                   or b.state not in ('done', 'partial', 'refused', 'cancelled')),
           extract(epoch from clock_timestamp() - (select verified_at from verified)),
           extract(epoch from clock_timestamp() - (select min(created_at) from batches)),
           (select faults from verified), (select first_fault from verified)""")


def answers_level(tx: Connection, window_seconds: float) -> AnswerLevel:
    """How long our endpoint took to answer, by the steps of its count: the upper end of the step counts."""
    steps = [(int(ms), int(count)) for ms, count in tx.execute(_ANSWERS, {"window": window_seconds})]
    total = sum(count for _, count in steps)
    return AnswerLevel(total, _percentile(steps, total, 0.5), _percentile(steps, total, 0.95))


_ANSWERS = text("""
    select up_to_ms, sum(answers) from webhook_answers
    where slot > floor((extract(epoch from clock_timestamp()) - :window) / 60) group by 1 order by 1""")


def _percentile(steps: list[tuple[int, int]], total: int, share: float) -> float:
    seen = 0
    for up_to_ms, count in steps:
        seen += count
        if seen >= share * total:
            return float(up_to_ms)
    return 0.0


def backup_age_seconds(tx: Connection) -> float | None:
    """How old what the last good backup holds is; None where none was ever made: others may make them."""
    age = tx.execute(text("select extract(epoch from clock_timestamp() - max(snapshot_at)) from backups")).scalar()
    return None if age is None else float(age)
