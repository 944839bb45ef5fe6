"""Servers that several commands on one machine use together: the first to come starts it, the last to leave stops it.

Each user holds a shared lock on a file for as long as it lives; the kernel lets go of it whatever way the process ends.
A server whose users were all killed stays up, is taken over by the next user and stopped by the last one.

Two locks per server: ``<name>.users`` is held shared while in use; ``<name>.gate`` exclusively, and briefly, while
somebody decides about starting or stopping.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class Server(Protocol):
    """What can be shared. Each method may be called by a process that did not start the server."""

    def is_running(self) -> bool:
        """Whether it serves: proven by talking to it."""

    def start(self) -> None:
        """Return when it serves; nothing to do when it does already."""

    def start_again(self) -> None:
        """The same after its death, at the address that its users know."""

    def stop(self) -> None:
        """Return when it has ended; nothing to do when it has already."""


class Share:
    """One user's part in a server.

    Args:
        server: what is shared.
        locks: folder of the lock files, the same for all users of this server; made when missing.
        name: the server's name there.
    """

    def __init__(self, server: Server, locks: Path, name: str) -> None:
        self._server = server
        self._locks = locks
        self._name = name

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Use the server: it runs inside, and afterwards as long as somebody else uses it."""
        self._locks.mkdir(parents=True, exist_ok=True)
        users = self._open("users")
        try:
            with self._gate():
                fcntl.flock(users, fcntl.LOCK_SH)
                self._server.start()
            yield
        finally:
            with self._gate():
                if _is_last(users):
                    self._server.stop()
                os.close(users)

    def revive(self) -> bool:
        """Start it again when it has died under its users; whether that was so.

        Raises:
            PortTaken: somebody else is at its address now.
        """
        with self._gate():
            if self._server.is_running():
                return False
            self._server.start_again()
            return True

    @contextlib.contextmanager
    def _gate(self) -> Iterator[None]:
        gate = self._open("gate")
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield
        finally:
            os.close(gate)

    def _open(self, kind: str) -> int:
        return os.open(self._locks / f"{self._name}.{kind}", os.O_RDWR | os.O_CREAT, 0o600)


def _is_last(users: int) -> bool:
    """Whether no other process holds the lock; ours is given up by asking, so ask only when leaving."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
