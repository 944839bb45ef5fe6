"""The cells of whole columns read as plain values (``domain/cells.py``), before anything is judged.

A cell that is plain already costs one pattern over its column and nothing else; of the others each distinct one is read
once. What was read differently is told per cell, by rules and never by value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.compute as compute

from assets.validated_csv.reading.parts import Indexes
from checks.schemas import TEXT, Fault, Mask
from domain.cells import ValueRules, asked_by, may_ask, read_cell


@dataclass(frozen=True, slots=True)
class Change:
    """One cell that was read as something else: row of the frame, column, rules."""

    row: int
    column: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReadCells:
    """The frame with plain values in their columns. ``refused`` are cells that cannot be read for certain."""

    text: pd.DataFrame
    changes: list[Change]
    refused: list[Fault]

    def without_refused(self, faults: Iterator[Fault]) -> Iterator[Fault]:
        """The faults but those of a cell that was refused: what it holds says nothing, not even that it came twice."""
        silent: dict[str, Mask] = {}
        for column, _, mask in self.refused:
            silent[column] = silent[column] | mask if column in silent else mask
        for column, code, mask in faults:
            left = mask & ~silent[column] if column in silent else mask
            if left.any():
                yield column, code, left


def read_cells(text: pd.DataFrame, rules: ValueRules) -> ReadCells:
    """Read every cell of the trimmed columns."""
    read: dict[str, pd.Series[str]] = {}
    changes: list[Change] = []
    refused: list[Fault] = []
    for name in text.columns:
        cells = arrow.array(text[name])
        rows = _to_read(name, cells)
        if len(rows):
            plain = _Column(name, cells, rows, rules)
            read[name] = plain.series()
            changes += plain.changes()
            refused += plain.refused()
    return ReadCells(text.assign(**read) if read else text, changes, refused)


_NOTHING = np.array([], dtype=np.int64)


def _to_read(column: str, cells: arrow.Array) -> Indexes:
    octets = cells.buffers()[-1]
    if not octets or not may_ask(column, octets.to_pybytes()):
        return _NOTHING
    pattern, means = asked_by(column)
    return np.flatnonzero(np.asarray(compute.match_substring_regex(cells, pattern)) == means)


class _Column:
    """One column with cells to read, each distinct one once."""

    def __init__(self, name: str, cells: arrow.Array, rows: Indexes, rules: ValueRules) -> None:
        self._name, self._cells, self._rows = name, cells, rows
        kinds = cells.take(arrow.array(rows)).dictionary_encode()
        self._kinds = np.asarray(kinds.indices)
        self._written = kinds.dictionary.to_pylist()
        self._readings = [read_cell(name, cell, rules) for cell in self._written]

    def series(self) -> pd.Series[str]:
        """The column with what was read in place of what was written; a refused cell stays."""
        plain = [
            written if read.refusal else read.plain for written, read in zip(self._written, self._readings, strict=True)
        ]
        if plain == self._written:
            cells = self._cells
        else:
            there = np.zeros(len(self._cells), dtype=bool)
            there[self._rows] = True
            values = arrow.array(plain, arrow.large_string()).take(arrow.array(self._kinds))
            cells = compute.replace_with_mask(self._cells, arrow.array(there), values)
        return pd.Series(pd.arrays.ArrowStringArray(cells, dtype=TEXT))  # type: ignore[call-arg] # stubs lack dtype

    def changes(self) -> Iterator[Change]:
        """Every cell that is another now."""
        rules = [tuple(rule.value for rule in read.rules) for read in self._readings]
        for row, kind in zip(self._rows.tolist(), self._kinds.tolist(), strict=True):
            if rules[kind]:
                yield Change(row, self._name, rules[kind])

    def refused(self) -> Iterator[Fault]:
        """Which rows cannot be read, by code."""
        codes = [read.refusal for read in self._readings]
        for code in sorted({code for code in codes if code}):
            of_code = np.array([found == code for found in codes])
            mask = np.zeros(len(self._cells), dtype=bool)
            mask[self._rows[of_code[self._kinds]]] = True
            yield self._name, code, mask
