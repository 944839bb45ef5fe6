"""The border between our work and Dagster: errors become failures with a code, and nothing personal passes.

Dagster writes everything an exception says into its event log; so only the catalogue's text of one of our own errors
gets there, and of any other exception only its type and an id under which the log of this machine has its place in the
code.
"""

import logging
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from domain import catalogue
from domain.errors import BulkOrdersError

_log = logging.getLogger("bulk_orders.errors")


@contextmanager
def stage_boundary(language: str = "en") -> Iterator[None]:
    """Turn every exception of a stage into a ``dagster.Failure`` that a person can read and no customer is in."""
    try:
        yield
    except (dg.Failure, dg.DagsterError):
        raise
    except BulkOrdersError as error:
        _log.warning("%s at %s", error, _places(error))
        raise dg.Failure(catalogue.describe(error, language), metadata=dict(error.facts), allow_retries=False) from None
    except Exception as error:
        error_id = secrets.token_hex(4)
        _log.error("error %s: %s at %s", error_id, type(error).__name__, _places(error))
        ours = BulkOrdersError("SYS-INTERNAL", error_id=error_id)
        raise dg.Failure(catalogue.describe(ours, language), metadata=dict(ours.facts), allow_retries=False) from None


def _places(error: Exception) -> str:
    """Where it happened: files and lines, never values."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))


class ResourceRefused(dg.DagsterError):
    """A resource cannot be had, or a sensor cannot look: a wrong key, a missing setting. Its text is the catalogue's.

    Dagster masks what they raise, except errors of its own family: a person must be able to read this one.
    """


@contextmanager
def resource_boundary(language: str = "en") -> Iterator[None]:
    """Turn our errors while a resource is made, or a sensor looks, into one that the UI shows."""
    try:
        yield
    except BulkOrdersError as error:
        raise ResourceRefused(catalogue.describe(error, language)) from None
