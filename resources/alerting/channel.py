"""What a way for alerts is. Only the standard library is used: an alert must leave also where much else is broken."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from domain.alerts import AlertMessage

TIMEOUT_SECONDS = 10.0


class NotDelivered(Exception):
    """An alert did not arrive. ``failure`` is a status or the name of an error, never what anybody said."""

    def __init__(self, failure: str) -> None:
        super().__init__(failure)
        self.failure = failure


class PartlyDelivered(NotDelivered):
    """It arrived, but not at everybody. Sent again it would come once more to all the others."""


class Channel(Protocol):
    """One way for alerts."""

    @property
    def name(self) -> str:
        """That of its deliveries."""

    def send(self, message: AlertMessage) -> None:
        """Send once.

        Raises:
            NotDelivered: it did not arrive, or nobody can say that it did.
            PartlyDelivered: somebody has it.
        """


_BETWEEN_CUTS_SECONDS = 0.2


@contextmanager
def done_within(seconds: float, connection: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Cut the connection when the block takes longer, and until it ends: limits of single reads end no drip of octets.

    Raises:
        TimeoutError: it was cut.
    """
    over, cut = threading.Event(), threading.Event()

    def watch() -> None:
        pause = seconds
        while not over.wait(pause):
            cut.set()
            pause = _BETWEEN_CUTS_SECONDS  # again: there may have been no connection yet
            if (here := connection()) is not None:
                with suppress(OSError):
                    socket.socket.shutdown(
                        here, socket.SHUT_RDWR
                    )  # also of TLS, whose own would end its reader's state

    threading.Thread(target=watch, name="alert deadline", daemon=True).start()
    try:
        yield
    except Exception:
        if cut.is_set():
            raise TimeoutError from None
        raise
    finally:
        over.set()
