"""What is called first in a life (`LifePlan.prepare`): the engine does what it always does, only at another pace.

Waits that are minutes in earnest are scaled down to fractions of a second; and a worker may fall asleep at the worst of
all moments, when its intent is committed and its call is about to leave.
"""

from __future__ import annotations

import os
import signal
from itertools import count

from assets.effects import calls, lane

_SECONDS = ((calls, "_LONGEST_BACKOFF_SECONDS", 0.3), (lane, "_IDLE_SECONDS", 0.1))

HURRY = "evidence.pace:hurry"
SLEEP = "evidence.pace:sleep_before_the_first_call"


def hurry() -> None:
    """No retry waits longer than a moment."""
    for module, name, seconds in _SECONDS:
        if not hasattr(module, name):
            raise AttributeError(f"{module.__name__}.{name} has moved")
        setattr(module, name, seconds)


def sleep_before_the_first_call() -> None:
    """In a hurry up to there, then stopped until somebody sends SIGCONT."""
    hurry()
    may_leave, calls_begun = calls.EffectCalls._may_leave, count()

    async def sleepy(self: calls.EffectCalls) -> bool:
        if next(calls_begun) == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        return await may_leave(self)

    calls.EffectCalls._may_leave = sleepy  # type: ignore[method-assign]  # this process is about to be used up
