"""From any id back to its place: file, sheet, line, and everything that happened to the row. Nothing personal."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from audit.pack.contents import moment
from domain.errors import NotFound
from resources.database import batches, decisions, row_ledger, runs
from resources.database.database import Database
from resources.database.row_ledger import Place


def trace(database: Database, id_: str, line: int | None = None) -> list[dict[str, Any]]:
    """What is known under this id, each place once: usually one. With ``line``, that line of the batch ``id_``.

    Raises:
        NotFound: AUDIT-NOT-TRACED.
    """

    def found_in(tx: Connection) -> list[dict[str, Any]]:
        places = row_ledger.places_of(tx, id_) if line is None else row_ledger.place_of_line(tx, id_, line)
        return [_told(tx, place) for place in places]

    found = database.read(found_in)
    if not found:
        raise NotFound("AUDIT-NOT-TRACED", id=_shown(id_ if line is None else f"{id_} {line}"))
    return found


def _shown(id_: str) -> str:
    """An id as it may stand in a message; what is no id is not repeated."""
    return id_ if len(id_) <= 64 and id_.isascii() and id_.isprintable() and "@" not in id_ else "?"


def _told(tx: Connection, place: Place) -> dict[str, Any]:
    batch = batches.get(tx, place.batch_id)
    file = (batch.reading or {}).get("file") or {}
    told: dict[str, Any] = {
        "known_as": place.known_as,
        "batch_id": place.batch_id,
        "batch_state": batch.state.value,
        "file": batch.source_name,
        "file_sha256": batch.file_sha256.hex(),
        "client": batch.client,
        "sheet": file.get("sheet"),
        "line": None,
        "row": place.row,
    }
    if place.row is not None:
        told |= _row(tx, place.batch_id, place.row)
    told["runs"] = [
        {"run_id": run.run_id, "job": run.job, "launched_by": run.launched_by, "started": run.started_at.isoformat()}
        for run in runs.of_batch(tx, place.batch_id)
    ]
    return told


def _row(tx: Connection, batch_id: str, number: int) -> dict[str, Any]:
    [row] = row_ledger.rows(tx, batch_id, number)
    known = {
        "line": row.line,
        "order_row": row.order_row,
        "order_id": row.order_id,
        "order_number": row.order_number,
        "amount_jpy": row.amount_jpy,
        "order_status": row.order_status,
        "issues": row.issues,
        "payment": row.payment_state,
        "payment_id": row.payment_id,
        "payment_reason": row.payment_reason,
        "mail": row.mail_state,
        "mail_id": row.mail_id,
        "mail_reason": row.mail_reason,
    }
    lists = {
        "lines": row_ledger.lines_of_order(tx, batch_id, row.order_row or row.row),
        "repairs": [repair._asdict() for repair in row_ledger.repairs(tx, batch_id, number)],
        "decisions": _decisions(tx, batch_id, row.order_id),
        "calls": [] if row.order_id is None else _calls(tx, batch_id, row.order_id),
        "events": _events(tx, batch_id, number, row.order_id),
    }
    return known | lists


def _decisions(tx: Connection, batch_id: str, order_id: int | None) -> list[dict[str, Any]]:
    """Those about the order, and those about its whole batch."""
    return [
        {
            "at": decided.decided_at.isoformat(),
            "decision": decided.decision.value,
            "by": decided.decided_by,
            "about": "order" if decided.order_id else "batch",
            "code": decided.code,
            "note": decided.note,
        }
        for decided in decisions.of_batch(tx, batch_id)
        if decided.order_id in (None, order_id)
    ]


def _calls(tx: Connection, batch_id: str, order_id: int) -> list[dict[str, Any]]:
    return [
        {"at": moment(call.started_at_us)}
        | {name: value for name, value in call._asdict().items() if not name.endswith("_us") and name != "order_id"}
        for call in row_ledger.calls(tx, batch_id, order_id)
    ]


_EVENTS = text("""
    select seq, (extract(epoch from at) * 1000000)\\:\\:bigint, event, reason, actor, run_id from audit_events
    where chain = :b and (split_part(event, ':', 1) = 'row' and :row = any(subjects)
                          or split_part(event, ':', 1) <> 'row' and cast(:order as integer) = any(subjects))
    order by seq""")


def _events(tx: Connection, batch_id: str, row: int, order_id: int | None) -> list[dict[str, Any]]:
    """What the trail tells of one row and its order."""
    found = tx.execute(_EVENTS, {"b": batch_id, "row": row, "order": order_id})
    return [
        {"seq": int(seq), "at": moment(int(at_us)), "event": event, "reason": reason, "actor": actor, "run_id": run_id}
        for seq, at_us, event, reason, actor, run_id in found
    ]
