"""The faults of a row for people: column as the file calls it, code, message and remedy; several stand in one cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from domain import catalogue
from domain.cells import CellReader
from domain.errors import Fact
from domain.issues import RowIssue

SEPARATOR = "; "


@dataclass(frozen=True, slots=True)
class ShownFault:
    """One fault. ``column`` is the file's own name for it, empty where the row as a whole is meant."""

    column: str
    code: str
    facts: Mapping[str, Fact]

    def text(self, language: str) -> catalogue.Text:
        """Message and remedy."""
        return _filled(self.code, tuple(self.facts.items()), language)


@lru_cache(maxsize=2_000)
def _filled(code: str, facts: tuple[tuple[str, Fact], ...], language: str) -> catalogue.Text:
    """Once for all rows that say the same: filling took a third of the time of a report."""
    return catalogue.fill(code, dict(facts), language)


def shown_faults(issues: Iterable[RowIssue], header: Sequence[str], reader: CellReader) -> list[ShownFault]:
    """The faults of a row by the names of its file."""
    return [ShownFault(name_in_file(issue.column, header, reader), issue.code, dict(issue.facts)) for issue in issues]


def fault_cells(faults: Sequence[ShownFault], languages: Iterable[str]) -> list[str]:
    """Columns and codes; then for each language messages and remedies."""
    cells = [SEPARATOR.join(fault.column for fault in faults), SEPARATOR.join(fault.code for fault in faults)]
    for language in languages:
        texts = [fault.text(language) for fault in faults]
        cells += [SEPARATOR.join(text.message for text in texts), SEPARATOR.join(text.remedy for text in texts)]
    return cells


def name_in_file(column: str, header: Sequence[str], reader: CellReader) -> str:
    """What the file itself calls one of our columns; our own word where it has none."""
    return " + ".join(header[at].strip() for at in reader.positions.get(column, ())) or column
