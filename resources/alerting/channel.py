"""What a way for alerts is. Only the standard library is used: an alert must leave also where much else is broken."""

from __future__ import annotations

from typing import Protocol

from domain.alerts import AlertMessage

TIMEOUT_SECONDS = 10.0


class NotDelivered(Exception):
    """An alert did not arrive. ``failure`` is a status or the name of an error, never what anybody said."""

    def __init__(self, failure: str) -> None:
        super().__init__(failure)
        self.failure = failure


class Channel(Protocol):
    """One way for alerts."""

    @property
    def name(self) -> str:
        """That of its deliveries."""

    def send(self, message: AlertMessage) -> None:
        """Send once.

        Raises:
            NotDelivered: it did not arrive, or nobody can say that it did.
        """
