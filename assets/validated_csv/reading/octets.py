"""The octets of an open file, in blocks: counted, digested, and limited in time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from domain.errors import FileRefused

BLOCK_OCTETS = 4 << 20
"""How much of a file is read, and later held, at once."""

MAX_LINE_OCTETS = 1_000_000
"""A longer line is no line of orders."""


class Deadline:
    """How long the reading of one file may take, in seconds; others' work on what was read does not count."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._stands_at: float | None = None

    @property
    def left(self) -> float:
        """Seconds that are left, never below zero."""
        stands_at = self._stands_at
        return max(0.0, self._ends - (time.monotonic() if stands_at is None else stands_at))

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """While others work."""
        began = self._stands_at = time.monotonic()
        try:
            yield
        finally:  # in this order: another thread that looks in between sees too much time, never too little
            self._ends += time.monotonic() - began
            self._stands_at = None

    def refusal(self) -> FileRefused:
        """What is said when it is over."""
        return FileRefused("FILE-TIME-LIMIT", seconds=round(self._seconds))

    def check(self) -> None:
        """Raise `refusal` when it is over."""
        if self.left == 0:
            raise self.refusal()


class Octets:
    """The octets of a file that someone else closes. Reading here moves no position that others share."""

    def __init__(self, descriptor: int, deadline: Deadline) -> None:
        self.descriptor = descriptor
        self.deadline = deadline
        self.size = 0
        self._digest = sha256()

    def at(self, place: int, octets: int) -> bytes:
        """Some of them; neither counted nor digested."""
        try:
            return os.pread(self.descriptor, octets, place)
        except OSError:
            raise FileRefused("FILE-UNREADABLE") from None

    def __iter__(self) -> Iterator[bytes]:
        """All of them in order, once."""
        while block := self.at(self.size, BLOCK_OCTETS):
            self.deadline.check()
            self._digest.update(block)
            self.size += len(block)
            yield block

    @property
    def sha256(self) -> bytes:
        """Digest of what was iterated so far: of the file once all of it was."""
        return self._digest.digest()
