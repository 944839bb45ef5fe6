"""The order numbers of earlier parts of a file, in 20 octets each: a file of a million rows needs 20 MB for them.

Kept are digests of 128 bits under a key of this run, and the lines. Two numbers with one digest would refuse a good
row: among a million numbers that has one chance in 10^26, and nobody who writes a file knows the key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from assets.validated_csv.reading.parts import Indexes

_KEY_LETTERS = 8  # their 16 hexadecimal digits are the 16 octets that the digest wants

Words = npt.NDArray[np.uint64]
Lines = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Some numbers with the line of each: both halves of their digests, the first halves ascending."""

    first: Words
    second: Words
    lines: Lines

    @classmethod
    def of(cls, first: Words, second: Words, lines: Indexes | Lines) -> _Run:
        """Of equal digests the one that came first stays first."""
        order = np.argsort(first, kind="stable")
        return cls(first[order], second[order], lines[order].astype(np.int32))

    def lines_of(self, wanted: _Run) -> Lines:
        """For each of ``wanted`` its first line here, 0 where it has none."""
        last = len(self.first) - 1
        at = np.minimum(np.searchsorted(self.first, wanted.first), last)
        while True:
            same = self.first[at] == wanted.first
            found = same & (self.second[at] == wanted.second)
            others = same & ~found & (at < last)  # half a digest in common, once in a life
            if not others.any():
                return np.where(found, self.lines[at], 0)
            at[others] += 1

    def with_later(self, later: _Run) -> _Run:
        """Both together."""
        return _Run.of(
            np.concatenate([self.first, later.first]),
            np.concatenate([self.second, later.second]),
            np.concatenate([self.lines, later.lines]),
        )


class SeenNumbers:
    """What has been seen so far. Numbers are turned into digests when others come: most files are one part."""

    def __init__(self) -> None:
        self._keys = [os.urandom(_KEY_LETTERS).hex() for _ in range(2)]
        self._runs: list[_Run] = []
        self._waiting: tuple[pd.Series[str], Indexes] | None = None

    def first_lines(self, numbers: pd.Series[str], lines: Indexes) -> Indexes:
        """For each number the line on which an earlier part had it, 0 where none had; all of them are seen then."""
        found = np.zeros(len(numbers), dtype=np.int64)
        if not len(numbers):
            return found
        if self._waiting is None and not self._runs:
            self._waiting = numbers, lines
            return found
        if self._waiting is not None:
            self._keep(self._run(*self._waiting))
            self._waiting = None
        asked = self._run(numbers, np.arange(len(numbers)))
        for run in reversed(self._runs):  # the earliest has the last word
            earlier = run.lines_of(asked)
            found[asked.lines[earlier > 0]] = earlier[earlier > 0]
        self._keep(_Run(asked.first, asked.second, lines[asked.lines].astype(np.int32)))
        return np.where(numbers == "", 0, found)

    def _keep(self, run: _Run) -> None:
        # As long as the one before is not far larger, both become one: so there are few, and each is moved seldom.
        while self._runs and len(self._runs[-1].first) <= 2 * len(run.first):
            run = self._runs.pop().with_later(run)
        self._runs.append(run)

    def _run(self, numbers: pd.Series[str], lines: Indexes) -> _Run:
        texts = numbers.to_numpy(dtype=object)
        first, second = (pd.util.hash_array(texts, hash_key=key, categorize=False) for key in self._keys)
        return _Run.of(first, second, lines)
