"""Our exceptions. Every other layer raises these; foreign exceptions are translated where they appear.

    BulkOrdersError
    |-- TransientError            trying again later may help
    |   |-- DatabaseUnavailable
    |   |-- ServiceUnavailable
    |   |-- BatchBusy             another process works on this batch
    |   '-- BatchPaused           the batch stopped with a reason; it goes on by itself or when a person says so
    '-- TerminalError             trying again unchanged cannot help
        |-- FileRefused           the whole file, before any order was made
        |-- SettingRefused
        |-- KeyRefused            the key for personal data is missing or wrong
        |-- RowErased             the key of a row was destroyed, as its person asked
        |-- PortTaken
        |-- NotFound
        |-- OperationRefused      what a person asked for cannot be done; nothing was changed
        '-- InvariantBroken       our own bug or a foreign hand: stop and look

An error carries a code of the catalogue (``domain/catalogue.py``) and facts for its text: counts, names of columns,
settings and files, never a customer's value.
"""

from __future__ import annotations

Fact = int | float | str


class BulkOrdersError(Exception):
    """Base of all. ``code`` is stable and listed in the catalogue; ``facts`` fill its text."""

    def __init__(self, code: str, /, **facts: Fact) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        details = ", ".join(f"{name}={value}" for name, value in sorted(self.facts.items()))
        return f"{self.code} ({details})" if details else self.code

    def __reduce__(self) -> tuple[object, ...]:
        # Steps run in other processes: an error must survive pickling with its facts.
        return (_rebuild, (type(self), self.code, self.facts))


def _rebuild(cls: type[BulkOrdersError], code: str, facts: dict[str, Fact]) -> BulkOrdersError:
    return cls(code, **facts)


class TransientError(BulkOrdersError):
    """Trying again later may help."""


class DatabaseUnavailable(TransientError):
    """The database did not answer."""


class ServiceUnavailable(TransientError):
    """The payment or the notification service did not answer."""


class BatchBusy(TransientError):
    """Another process holds this batch."""


class BatchPaused(TransientError):
    """The batch stopped before its end, with a reason; nothing is lost, and the reason says how it goes on."""


class TerminalError(BulkOrdersError):
    """Trying again unchanged cannot help."""


class FileRefused(TerminalError):
    """The whole file is refused; no order was made of it."""


class SettingRefused(TerminalError):
    """A setting is missing or has a value outside its range."""


class KeyRefused(TerminalError):
    """The key for personal data is missing or is not the one the data were written with."""


class RowErased(TerminalError):
    """The key of this row was destroyed when its person was erased; nobody reads it again."""


class PortTaken(TerminalError):
    """A port we were told to listen on is in use."""


class NotFound(TerminalError):
    """There is no such batch, file or report."""


class OperationRefused(TerminalError):
    """What a person asked for cannot be done with this batch or row; nothing was changed."""


class InvariantBroken(TerminalError):
    """Books that must agree do not. Nothing more is done until a person has looked."""
