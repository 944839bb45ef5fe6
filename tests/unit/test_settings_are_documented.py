"""Every setting is named where its reader looks: in the README's table, or in the runbook's."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from orchestration.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
_WHOLE, _END = re.compile(r"`([A-Z][A-Z0-9_]+)[=`]"), re.compile(r"`\.\.\.(_[A-Z0-9_]+)`")


def test_every_setting_stands_in_a_table() -> None:
    tables = "\n".join(
        line
        for page in ("README.md", "docs/runbook.md", "docs/retention.md")
        for line in (ROOT / page).read_text().splitlines()
        if line.startswith("|")
    )
    named, ends = set(_WHOLE.findall(tables)), tuple(_END.findall(tables))
    variables = {item.metadata["variable"] for item in fields(Settings)}
    assert len(variables) > 60
    assert {variable for variable in variables - named if not variable.endswith(ends)} == set()
