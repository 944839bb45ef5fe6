"""What a person may settle about a file before it is read, and what was taken and why: stated with every batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Wishes:
    """Set for a client or for one file; None leaves it to us.

    ``encoding`` is one of ``encodings.ENCODINGS``; ``delimiter`` a single character; ``sheet`` the name of a sheet;
    ``header_row`` the physical line, or the row of the sheet, that holds the column names, from 1.
    """

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    header_row: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """How a file was read. What does not apply to its kind is empty.

    ``kind`` is csv, xlsx or xls; the reasons are READ-* codes of the catalogue; ``notes`` are counts of what a person
    may want to know: hidden rows that were taken too, other sheets that were left.
    """

    kind: str
    header_row: int
    encoding: str = ""
    encoding_reason: str = ""
    marked: bool = False
    delimiter: str = ""
    sheet: str = ""
    sheet_reason: str = ""
    notes: tuple[tuple[str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the record of the batch."""
        return asdict(self) | {"notes": dict(self.notes)}


_AS_TAKEN = ("kind", "header_row", "encoding", "encoding_reason", "marked", "delimiter")


def text_as_taken(record: Mapping[str, Any] | None) -> Taken | None:
    """How a text file was read, by the record of its batch; None for a workbook, or where nothing was recorded."""
    file = (record or {}).get("file")
    if file is None or file["kind"] != "csv":
        return None
    return Taken(**{name: file[name] for name in _AS_TAKEN})
