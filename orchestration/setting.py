"""One setting: the field of a class of settings, with its variable and its meaning."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def setting(variable: str, default: Any, meaning: str) -> Any:
    """A field that is filled from ``variable``; ``meaning`` says what it does and in which unit."""
    return field(default=default, metadata={"variable": variable, "meaning": meaning})
