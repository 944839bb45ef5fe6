"""Why a request is not taken: an HTTP status and a code for the sender, nothing about the inside."""

from __future__ import annotations


class Refused(Exception):
    """This request is answered with ``status`` and ``code`` and changes nothing.

    ``retry_after_seconds``: how long the sender should wait before it comes again, where that can help.
    ``suspicious``: somebody who is not the service, or a service out of its mind; the trail hears of it.
    """

    def __init__(
        self, status: int, code: str, *, suspicious: bool = False, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.suspicious = suspicious
        self.retry_after_seconds = retry_after_seconds
