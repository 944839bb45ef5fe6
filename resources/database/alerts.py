"""Alerts and their outbox: opened, seen, recovered; told on each channel once per occasion, whoever is killed.

A message is claimed before it is sent. A claim that nobody finished is taken again two minutes later under the same
message id: should its sender have been killed between the answer and the commit, the receiver knows it by that id.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.alerts import AlertKind, Condition, Occasion

_CLAIM_SECONDS = 120
_FIRST_PAUSE_SECONDS = 30
_LONGEST_PAUSE_SECONDS = 1800
_GIVE_UP_HOURS = 24


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert; ``recovered_at`` None: it is open."""

    alert_id: int
    kind: AlertKind
    about: str
    facts: dict[str, Any]
    opened_at: datetime
    last_seen_at: datetime
    recovered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that was claimed to be sent now."""

    delivery_id: int
    channel: str
    occasion: Occasion
    number: int
    alert: Alert


@dataclass(frozen=True, slots=True)
class Reconciled:
    """How many alerts were opened and how many recovered."""

    opened: int
    recovered: int


def take_turn(tx: Connection) -> None:
    """Be the only one who reconciles alerts until the end of the transaction."""
    tx.execute(text("select pg_advisory_xact_lock(hashtextextended('alerts', 0))"))


def reconcile(
    tx: Connection,
    conditions: Sequence[Condition],
    channels: Collection[str],
    *,
    quiet_seconds: float,
    reminder_hours: float,
) -> Reconciled:
    """Open what is new, note what is still so, end what was not seen for ``quiet_seconds``; plan what is to be told."""
    take_turn(tx)
    opened = [_see(tx, condition) for condition in conditions]
    recovered = tx.execute(_RECOVER, {"quiet": quiet_seconds}).rowcount
    for channel in sorted(channels):
        tx.execute(_TELL_OPEN, {"channel": channel, "hours": reminder_hours})
        tx.execute(_TELL_RECOVERED, {"channel": channel})
    return Reconciled(sum(opened), recovered)


def _see(tx: Connection, condition: Condition) -> bool:
    values = {"code": condition.kind.value, "about": condition.about, "facts": json.dumps(dict(condition.facts))}
    return bool(tx.execute(_SEE, values).scalar_one())


_SEE = text("""
    insert into alerts (code, about, facts) values (:code, :about, cast(:facts as jsonb))
    on conflict (code, about) where recovered_at is null
        do update set last_seen_at = clock_timestamp(), facts = excluded.facts
    returning xmax = 0""")

# What this very look has seen is not over; ``now()`` is when its transaction began.
_RECOVER = text("""
    update alerts set recovered_at = clock_timestamp()
    where recovered_at is null and last_seen_at < now()
      and last_seen_at <= clock_timestamp() - make_interval(secs => :quiet)""")

# The first time at once, then whenever the last telling is older than the interval: also on a channel that came later.
_TELL_OPEN = text("""
    insert into alert_deliveries (alert_id, channel, occasion, number, facts)
    select a.alert_id, :channel, case when told.times is null then 'opened' else 'reminder' end,
           coalesce(told.times, 0), a.facts
    from alerts a
    left join lateral (select count(*) as times, max(d.created_at) as last from alert_deliveries d
                       where d.alert_id = a.alert_id and d.channel = :channel having count(*) > 0) told on true
    where a.recovered_at is null
      and (told.last is null or told.last <= clock_timestamp() - make_interval(secs => 3600 * :hours))
    order by a.alert_id
    on conflict do nothing""")

# Only those who were told that it began are told that it is over.
_TELL_RECOVERED = text("""
    insert into alert_deliveries (alert_id, channel, occasion, facts)
    select distinct on (a.alert_id) a.alert_id, :channel, 'recovered', a.facts
    from alerts a join alert_deliveries d on d.alert_id = a.alert_id and d.channel = :channel
    where a.recovered_at is not null
      and not exists (select from alert_deliveries r
                      where r.alert_id = a.alert_id and r.channel = :channel and r.occasion = 'recovered')
    on conflict do nothing""")


def claim(tx: Connection, channels: Collection[str]) -> Delivery | None:
    """The next message to send on one of these channels, claimed; an alert's messages go in their order."""
    values = {"channels": sorted(channels), "claim": _CLAIM_SECONDS}
    row = tx.execute(_CLAIM, values).one_or_none()
    if row is None:
        return None
    delivery_id, channel, occasion, number, facts, *alert = row
    known = _alert((*alert[:3], facts, *alert[3:]))
    return Delivery(int(delivery_id), channel, Occasion(occasion), int(number), known)


_CLAIM = text("""
    update alert_deliveries d
    set state = 'sending', attempts = d.attempts + 1, not_before = clock_timestamp() + make_interval(secs => :claim)
    from alerts a
    where a.alert_id = d.alert_id and d.delivery_id = (
        select c.delivery_id from alert_deliveries c
        where c.state in ('due', 'sending') and c.not_before <= clock_timestamp() and c.channel = any(:channels)
          and not exists (select from alert_deliveries e where e.alert_id = c.alert_id and e.channel = c.channel
                          and e.delivery_id < c.delivery_id and e.state in ('due', 'sending'))
        order by c.delivery_id limit 1 for update skip locked)
    returning d.delivery_id, d.channel, d.occasion, d.number, d.facts,
              a.alert_id, a.code, a.about, a.opened_at, a.last_seen_at, a.recovered_at""")


def sent(tx: Connection, delivery: Delivery, failure: str | None = None) -> None:
    """It arrived; ``failure``: not at everybody."""
    tx.execute(
        text("""update alert_deliveries set state = 'sent', ended_at = clock_timestamp(), failure = :failure
                where delivery_id = :id and state = 'sending'"""),
        {"id": delivery.delivery_id, "failure": failure},
    )


def not_sent(tx: Connection, delivery: Delivery, failure: str) -> None:
    """It did not arrive: tried again later, for a day. ``failure`` is a status or the name of an error."""
    values = {
        "id": delivery.delivery_id,
        "failure": failure,
        "first": _FIRST_PAUSE_SECONDS,
        "longest": _LONGEST_PAUSE_SECONDS,
        "hours": _GIVE_UP_HOURS,
    }
    tx.execute(_NOT_SENT, values)


_NOT_SENT = text("""
    update alert_deliveries d set failure = :failure,
        state = case when over.over then 'given_up' else 'due' end,
        ended_at = case when over.over then clock_timestamp() end,
        not_before = clock_timestamp()
            + make_interval(secs => least(:first * power(2, least(d.attempts - 1, 12)), :longest))
    from (select delivery_id, created_at < clock_timestamp() - make_interval(hours => :hours) as over
          from alert_deliveries where delivery_id = :id) over
    where d.delivery_id = over.delivery_id and d.state = 'sending'""")


def open_alerts(tx: Connection) -> list[Alert]:
    """All that are open, oldest first."""
    return _listed(tx, "recovered_at is null order by alert_id", 1000)


def newest(tx: Connection, limit: int) -> list[Alert]:
    """The newest, open or over."""
    return _listed(tx, "true order by alert_id desc", limit)


def undelivered(tx: Connection) -> int:
    """Messages that are still to be sent."""
    query = text("select count(*) from alert_deliveries where state in ('due', 'sending')")
    return int(tx.execute(query).scalar_one())


def _listed(tx: Connection, where: str, limit: int) -> list[Alert]:
    rows = tx.execute(
        text(f"""select alert_id, code, about, facts, opened_at, last_seen_at, recovered_at
                 from alerts where {where} limit :n"""),
        {"n": limit},
    )
    return [_alert(tuple(row)) for row in rows]


def _alert(values: tuple[Any, ...]) -> Alert:
    alert_id, code, *rest = values
    return Alert(int(alert_id), AlertKind(code), *rest)
