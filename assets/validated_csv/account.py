"""How a file was read, for the record of its batch and for people: what was taken, why, and by whose rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from assets.validated_csv.source_table import SourceTable
from domain import catalogue
from domain.headers import Source
from domain.trailer import Totals
from domain.values.reading import code_of

Record = Mapping[str, Any]


def reading_record(
    table: SourceTable, cells: Mapping[tuple[str, str], int], beside: Totals | None = None
) -> dict[str, Any]:
    """What is kept with the batch; ``cells`` counts those read otherwise than written, by column and rule.

    ``beside`` are the totals of a file beside it.

    ``domain.cells.reader_of`` reads rows by it.
    """
    rules = table.profile.value_rules
    return {
        "file": table.taken.to_json(),
        "system": table.header_map.system,
        "columns": {
            name: {"at": list(positions), "why": table.header_map.sources[name].value}
            for name, positions in table.column_map.items()
        },
        "amount_rule": table.profile.amount_rule(table.header_map).value,
        "values": {"date_order": rules.date_order, "thousands": rules.thousands.value},
        "declared": asdict(table.declared) if table.declared else None,
        "beside": asdict(beside) if beside else None,
        "cells": [[column, rule, count] for (column, rule), count in sorted(cells.items())],
        "profile": table.profile.to_json(),
        "profile_version": table.profile.version if table.profile.to_json() else None,
    }


def reading_text(record: Record | None, header: Sequence[str]) -> str:
    """The record as markdown for the UI: names of columns, codes with their texts, counts."""
    if record is None:
        return "-"
    file, profile = record["file"], record["profile_version"]
    taken = [
        f"- {file['kind']}: " + (f"{file['encoding']}, `{file['delimiter']!r}`" if file["encoding"] else file["sheet"]),
        *(f"- {code}: {_both(code)}" for code in (file["encoding_reason"], file["sheet_reason"]) if code),
        f"- header: {file['header_row']}; system: {record['system'] or '-'}; amount: {record['amount_rule']}",
        f"- profile: {profile or '-'}",
        *_declared("declared", record["declared"]),
        *_declared("declared beside it", record.get("beside")),
    ]
    columns = [
        f"| {name} | {_names(found['at'], header)} | {_both(Source(found['why']).code)} |"
        for name, found in record["columns"].items()
    ]
    cells = [f"| {column} | {_both(code_of(rule))} | {count:,} |" for column, rule, count in record["cells"]]
    tables = ["| column | in the file | why |", "|---|---|---|", *columns]
    if cells:
        tables += ["", "| column | read by | cells |", "|---|---|---:|", *cells]
    return "\n".join([*taken, "", *tables])


def _declared(where: str, totals: Record | None) -> list[str]:
    said = [f"{totals[what]:,} {what}" for what in ("rows", "jpy") if totals[what] is not None] if totals else []
    return [f"- {where}: {', '.join(said)}"] if said else []


def _both(code: str) -> str:
    return " / ".join(catalogue.fill(code, {}, language).message for language in ("ja", "en"))


def _names(positions: Sequence[int], header: Sequence[str]) -> str:
    return ", ".join(f"{at + 1} {header[at].strip()}".replace("|", "/") for at in positions)
