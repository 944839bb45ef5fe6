"""How long a database that is away is waited for: a restart takes seconds, and what we know must outlive it.

Only ``DatabaseUnavailable`` is waited for. What is repeated here must do no harm when it has already been done: the
answer to a commit may be lost although the commit was not.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from domain.errors import DatabaseUnavailable

Result = TypeVar("Result")

PATIENCE_SECONDS = 60.0
"""A crash recovery included; longer than that, somebody should know."""
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


def pauses(seconds: float) -> Iterator[float]:
    """Seconds to wait before each next try, growing, until so many have passed since the first."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while time.monotonic() < deadline:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def patiently(work: Callable[[], Result], seconds: float) -> Result:
    """What ``work`` gives, tried again until so many seconds after its first failure.

    Raises:
        DatabaseUnavailable: the last one, when the patience has ended.
    """
    left: Iterator[float] | None = None
    while True:
        try:
            return work()
        except DatabaseUnavailable:
            left = left or pauses(seconds)
            pause = next(left, None)
            if pause is None:
                raise
        time.sleep(pause)


async def patiently_awaited(work: Callable[[], Awaitable[Result]], seconds: float) -> Result:
    """The same on an event loop."""
    left: Iterator[float] | None = None
    while True:
        try:
            return await work()
        except DatabaseUnavailable:
            left = left or pauses(seconds)
            pause = next(left, None)
            if pause is None:
                raise
        await asyncio.sleep(pause)
