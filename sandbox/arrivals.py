"""When a request arrived, and whether the rate limit lets it in. Knows nothing of HTTP or of the ledger.

One clock for both, so that what the limiter decided can be proven afterwards from the arrival times in the ledger.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable

SECOND_US = 1_000_000


class Clock:
    """Microseconds since 1970 (UTC) that never go back while the process runs, whatever is done to the wall clock."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_us(self) -> int:
        """Now, in microseconds since 1970 (UTC)."""
        return (time.monotonic_ns() + self._offset_ns) // 1000


class SlidingWindow:
    """At most ``limit`` admissions in any half-open second [t, t + 1 s). Only admitted arrivals count."""

    def __init__(self, earlier_us: Iterable[int] = ()) -> None:
        self._admitted: deque[int] = deque(earlier_us)

    def admit(self, now_us: int, limit: int, count: int = 1) -> bool:
        """Whether ``count`` more may enter now; counts them if so. ``limit`` 0 means no limit."""
        while self._admitted and self._admitted[0] <= now_us - SECOND_US:
            self._admitted.popleft()
        if limit and len(self._admitted) + count > limit:
            return False
        self._admitted.extend([now_us] * count)
        return True

    def retry_after_seconds(self, now_us: int) -> int:
        """Whole seconds until the oldest admission has left the window, at least 1."""
        if not self._admitted:
            return 1
        return max(1, math.ceil((self._admitted[0] + SECOND_US - now_us) / SECOND_US))


def most_in_one_second(arrivals_us: Iterable[int]) -> int:
    """The largest number of arrivals in any half-open second. ``arrivals_us`` must be sorted."""
    window: deque[int] = deque()
    most = 0
    for arrived in arrivals_us:
        window.append(arrived)
        while window[0] <= arrived - SECOND_US:
            window.popleft()
        most = max(most, len(window))
    return most
