"""Looks every half second at what passes: arguments and environments of our processes, temporary files, sessions."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from evidence.leaks import sinks
from evidence.leaks.canaries import Flock
from evidence.leaks.search import Found
from evidence.leaks.sinks import Piece

_EVERY_SECONDS = 0.5


class Watch:
    """A thread of its own; ``found`` when it has ended.

    Args:
        flock: what is looked for.
        temporary: the folder that TMPDIR names for all processes.
        of_ours: a text that the environment of each of our processes holds.
        sessions: the sessions of the database, when there is one.
    """

    def __init__(self, flock: Flock, temporary: Path, of_ours: str, sessions: Callable[[], Iterator[Piece]]) -> None:
        self._flock, self._temporary, self._of_ours, self._sessions = flock, temporary, of_ours.encode(), sessions
        self._seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leaks", daemon=True)
        self.found: list[Found] = []
        self.looks = 0
        self.processes: set[int] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        """Once."""
        self.looks += 1
        self.found += sinks.look(self._flock, self._new(self._passing()))

    def _passing(self) -> Iterator[Piece]:
        yield from self._processes()
        yield from sinks.folder("temporary files", self._temporary)
        with suppress(Exception):  # between two servers there is nobody to ask
            yield from self._sessions()

    def _new(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """What has been looked at already is not looked at again."""
        for piece in pieces:
            digest = hashlib.blake2b(piece.octets, digest_size=16, key=piece.sink.encode()).digest()
            if digest not in self._seen:
                self._seen.add(digest)
                yield piece

    def _processes(self) -> Iterator[Piece]:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                environment = (entry / "environ").read_bytes()
                if self._of_ours in environment:
                    self.processes.add(int(entry.name))
                    yield Piece("environment of processes", f"process {entry.name}", environment)
                    yield Piece("arguments of processes", f"process {entry.name}", (entry / "cmdline").read_bytes())
