"""The trace in the Dagster UI: from what a service calls a payment back to its file, sheet and line.

Shown are numbers, states and codes, never a cell; what is no id is not repeated in the refusal.
"""

from typing import Any

import dagster as dg

from assets.boundary import stage_boundary
from audit.trace import trace
from resources.database.database import Database


class Traced(dg.Config):
    """``id``: of a payment, a mail, an order, a request, a run or a batch, as it is shown elsewhere.

    ``line``: a line of the file, where ``id`` is a batch.
    """

    id: str
    line: int | None = None


@dg.op(name="trace", description="Finds file, sheet and line of a payment. 支払いから元の行を調べます。")
def trace_op(context: dg.OpExecutionContext, config: Traced, database: dg.ResourceParam[Database]) -> None:
    """Show where the id belongs."""
    with stage_boundary():
        found = trace(database, config.id.strip(), config.line)
        context.add_output_metadata({f"place_{n}": _shown(one) for n, one in enumerate(found, start=1)})


def _shown(found: dict[str, Any]) -> dg.MetadataValue:
    """A table of names and values; events and runs as tables below it."""
    facts = {name: value for name, value in found.items() if value is not None and not isinstance(value, list)}
    lines = ["| | |", "|---|---|", *(f"| {name} | `{value}` |" for name, value in facts.items())]
    for name in ("decisions", "repairs", "calls", "events", "runs"):
        rows = found.get(name) or []
        if rows:
            lines += ["", f"**{name}**", "", f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
            lines += [f"| {' | '.join(str('-' if cell is None else cell) for cell in row.values())} |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


@dg.job(executor_def=dg.in_process_executor)
def trace_payment() -> None:
    """From a payment (or mail, order, run) back to its file, sheet and line, and all that happened to the row.

    支払い・メール・注文・実行の番号から、元のファイル・シート・行とその経過を表示します。
    """
    trace_op()
