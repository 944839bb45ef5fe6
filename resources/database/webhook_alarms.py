"""Alarms of the webhook: events that contradict what we know where nothing may change by it. A person looks into each.

What the person found is written once, and stands in the trail of the event's batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from domain.errors import NotFound
from domain.payment_events import Finding

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Alarm:
    """One event that waits for a person. ``batch_id`` None: its order is of no batch, or unknown."""

    event_id: str
    judged_at: datetime
    type: str
    outcome: str
    reason: str
    batch_id: str | None
    order_id: int
    payment_id: str
    amount_jpy: int

    def as_json(self) -> dict[str, Any]:
        """Ids, codes and yen."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {"judged_at": self.judged_at.isoformat(timespec="seconds")}


def waiting(tx: Connection) -> list[Alarm]:
    """Alarms that nobody has looked into, oldest first."""
    rows = tx.execute(
        text("""select w.event_id, w.judged_at, w.type, w.outcome, coalesce(w.reason, '-'), w.batch_id, w.order_id,
                       w.payment_id, w.amount_jpy
                from webhook_inbox w where w.outcome in ('alarm', 'expired')
                  and not exists (select from webhook_acknowledgements k where k.event_id = w.event_id)
                order by w.judged_at limit :n"""),
        {"n": _MOST},
    )
    return [Alarm(*row) for row in rows]


def acknowledge(tx: Connection, event_id: str, finding: Finding) -> None:
    """Record what a person found; recording it again changes nothing.

    Raises:
        NotFound: no alarm has this id.
    """
    known = tx.execute(
        text("select exists (select from webhook_inbox where event_id = :id and outcome in ('alarm', 'expired'))"),
        {"id": event_id},
    )
    if not known.scalar_one():
        raise NotFound("SYS-ALARM-NOT-FOUND")
    tx.execute(
        text("""insert into webhook_acknowledgements (event_id, finding) values (:id, :finding)
                on conflict (event_id) do nothing"""),
        {"id": event_id, "finding": finding.value},
    )
