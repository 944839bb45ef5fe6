"""How this process refuses a workbook; the parent makes a ``FileRefused`` of it."""

from __future__ import annotations


class Refused(Exception):
    """A FILE-* code and its facts."""

    def __init__(self, code: str, **facts: int | str) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts
