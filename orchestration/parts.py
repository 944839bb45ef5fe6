"""What is told of the parts of the system, our servers and Dagster's processes, while they start and run."""

from __future__ import annotations

from domain import catalogue


def said(what: str, part: str, language: str, **facts: str) -> str:
    """What happened to a part, in the reader's language: ``starting``, ``started_again`` or ``does_not_start``."""
    words = catalogue.words("parts", language)
    return words[what].format(part=words.get(part, part), **facts)
