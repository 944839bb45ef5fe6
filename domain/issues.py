"""What is said about single rows: their faults, and cells that were read otherwise than written. Never a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RowIssue:
    """One fault of one row.

    ``import_row_number`` counts data records from 1; ``line_number`` is the physical line of the file at which the
    record begins, header counted. ``column`` is a canonical name, or the file's own header text for a column nobody
    mapped, or empty when the row as a whole is meant. ``facts`` fill the code's text: counts and line numbers only.
    """

    import_row_number: int
    line_number: int
    column: str
    code: str
    facts: Mapping[str, int] = field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, Any]:
        """The part that is stored with the row: column, code, and facts where there are any."""
        stored: dict[str, Any] = {"column": self.column, "code": self.code}
        return stored | {"facts": dict(self.facts)} if self.facts else stored


@dataclass(frozen=True, slots=True)
class CellReading:
    """One cell that was read as something else than is written, and by which rules (``ReadingRule``)."""

    import_row_number: int
    column: str
    rules: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The part that is stored with the row."""
        return {"column": self.column, "rules": list(self.rules)}
