"""A file of orders read and judged part by part: memory grows with the part, not with the file.

    file = JudgedFile(path, limits, profile)
    for part in file.parts():     # to be stored, in the order of the file
        part.table, part.validation
    file.tally, file.last         # of the whole file; its control totals agree

Every part is judged as if the whole file were there: what came twice is found whichever part it came in first. Where
several lines together are one order, and where it is a repair file that came back, the file is one part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from assets.validated_csv.limits import ReadingLimits
from assets.validated_csv.order_file import read_order_tables, together
from assets.validated_csv.repaired import Repaired, is_repaired
from assets.validated_csv.seen_numbers import SeenNumbers
from assets.validated_csv.source_table import SourceTable
from assets.validated_csv.totals import check_totals
from assets.validated_csv.validation import Validation, is_judged_as_one, validate
from domain.client_profile import ClientProfile
from domain.trailer import Totals


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPart:
    """Some rows of a file that follow each other, and what became of them."""

    table: SourceTable
    validation: Validation


@dataclass(slots=True)
class Tally:
    """What is counted over all parts; ``cells`` are those read otherwise than written, by column and rule."""

    rows: int = 0
    further_rows: int = 0
    declared_amount_jpy: int = 0
    unread_amounts: int = 0
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def orders(self) -> int:
        """The orders of the file, the faulty ones too."""
        return self.rows - self.further_rows

    def add(self, found: Validation) -> None:
        """Count one more part."""
        self.rows += found.rows
        self.further_rows += found.further_rows
        self.declared_amount_jpy += found.declared_amount_jpy
        self.unread_amounts += found.unread_amounts
        self.cells.update((reading.column, rule) for reading in found.readings for rule in reading.rules)


class JudgedFile:
    """One file, to be gone through once. ``recognise`` says whose repair file it is, should it be one.

    ``beside`` are the totals of a file beside it.
    """

    def __init__(
        self,
        path: Path,
        limits: ReadingLimits,
        profile: ClientProfile,
        recognise: Callable[[SourceTable], Repaired | None],
        *,
        beside: Totals | None = None,
    ) -> None:
        self._path, self._limits, self._profile, self._recognise = path, limits, profile, recognise
        self.beside = beside
        self.repaired: Repaired | None = None
        self._last: SourceTable | None = None
        self.tally = Tally()

    @property
    def last(self) -> SourceTable:
        """The last part, which has the digest of the whole file and what it declares. There is none before the end."""
        assert self._last is not None
        return self._last

    def parts(self) -> Iterator[JudgedPart]:
        """Read and judge; what was given is good for nothing before the end, which may refuse the file.

        Raises:
            FileRefused: with a FILE-* code, also after some parts.
        """
        seen = SeenNumbers()
        for table in self._tables():
            found = validate(table, seen=seen)
            if self.repaired is not None:
                found = replace(found, issues=self.repaired.as_before(found.issues))
            self.tally.add(found)
            self._last = table
            yield JudgedPart(table, found)
        check_totals(self.last, self.tally, self.beside)

    def _tables(self) -> Iterator[SourceTable]:
        tables = read_order_tables(self._path, self._limits, profile=self._profile)
        first = next(tables)
        if is_repaired(first.header):
            whole = together([first, *tables])
            self.repaired = self._recognise(whole)
            yield whole if self.repaired is None else self.repaired.table
        elif is_judged_as_one(first):
            yield together([first, *tables])
        else:
            yield first
            del first  # not to be held while the others are read
            yield from tables
