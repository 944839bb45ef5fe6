"""Which code is running: the package's version and, in a checkout, its commit."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path


@cache
def code_version() -> str:
    """E.g. ``0.1.0+1a2b3c4``; written into batches and into every event of the trail."""
    try:
        version = metadata.version("bulk-orders")
    except metadata.PackageNotFoundError:
        version = "0"
    commit = _commit()
    return f"{version}+{commit}" if commit else version


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
