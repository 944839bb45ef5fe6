"""Which code is running. The version is named once, here: packaging, ``--version`` and the trail read it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

VERSION = "0.1.0"


@cache
def code_version() -> str:
    """E.g. ``0.1.0+1a2b3c4``, with the commit in a checkout; written into batches and every event of the trail."""
    commit = _commit(Path(__file__).resolve().parents[1])
    return f"{VERSION}+{commit}" if commit else VERSION


def _commit(root: Path) -> str | None:
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
