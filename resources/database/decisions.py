"""What people decided about batches and rows: written once, in the transaction of what follows from it.

Who decided is what the session says (``Actor``), the same as in the trail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from domain.decisions import Decision
from domain.states import EffectKind


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision. ``code`` is the reason it was about, ``note`` the person's own words."""

    decision_id: int
    decision: Decision
    kind: EffectKind | None
    order_id: int | None
    code: str | None
    note: str | None
    amount_jpy: int | None  # what it moves or allows, where it is about yen
    decided_by: str
    decided_at: datetime


def record(
    tx: Connection,
    batch_id: str,
    decision: Decision,
    *,
    code: str | None = None,
    kind: EffectKind | None = None,
    order_id: int | None = None,
    note: str | None = None,
    amount_jpy: int | None = None,
) -> None:
    """Write a decision down; its event of the trail comes with it."""
    tx.execute(
        text("""insert into decisions (batch_id, decision, code, kind, order_id, note, amount_jpy)
                values (:b, :decision, :code, :kind, :order_id, :note, :jpy)"""),
        {
            "b": batch_id,
            "decision": decision.value,
            "code": code,
            "kind": kind.value if kind else None,
            "order_id": order_id,
            "note": note,
            "jpy": amount_jpy,
        },
    )


def of_batch(tx: Connection, batch_id: str) -> list[Decided]:
    """All decisions about a batch and its rows, oldest first."""
    rows = tx.execute(
        text("""select decision_id, decision, kind, order_id, code, note, amount_jpy, decided_by, decided_at
                from decisions where batch_id = :b order by decision_id"""),
        {"b": batch_id},
    )
    return [
        Decided(number, Decision(decision), EffectKind(kind) if kind else None, *rest)
        for number, decision, kind, *rest in rows
    ]


def guards_passed(tx: Connection, batch_id: str) -> frozenset[str]:
    """The reasons of pauses past which a person let the batch go on."""
    query = text("select code from decisions where batch_id = :b and decision = 'continue' and code is not null")
    return frozenset(tx.execute(query, {"b": batch_id}).scalars())


def is_approved(tx: Connection, batch_id: str) -> bool:
    """Whether a second person approved the batch."""
    query = text("select exists (select from decisions where batch_id = :b and decision = 'approve')")
    return bool(tx.execute(query, {"b": batch_id}).scalar_one())


# A file that was refused and is given again is the same batch: its first giver is not the only one.
_GIVERS = """array(select b.started_by union select e.actor from audit_events e
                   where e.chain = b.batch_id and e.event = 'batch:refused:received')"""


def givers(tx: Connection, batch_id: str) -> frozenset[str]:
    """Who gave us the file of a batch: nobody approves or decides about their own."""
    query = text(f"select {_GIVERS} from batches b where b.batch_id = :b")
    return frozenset(tx.execute(query, {"b": batch_id}).scalar_one())


class DecidedOfGiven(NamedTuple):
    """Who decided about a batch, and who had given its file."""

    batch_id: str
    decision: Decision
    decided_by: str
    givers: frozenset[str]


def with_givers(tx: Connection) -> list[DecidedOfGiven]:
    """Every approval and every decision about a row there ever was, oldest first."""
    rows = tx.execute(
        text(f"""select d.batch_id, d.decision, d.decided_by, {_GIVERS}
                 from decisions d join batches b using (batch_id)
                 where d.decision in ('approve', 'done', 'send-again', 'rejected', 'accept') order by d.decision_id""")
    )
    return [DecidedOfGiven(batch, Decision(decision), by, frozenset(givers)) for batch, decision, by, givers in rows]
