"""Between the endpoint and the inbox: so many events at once and so many waiting, each answered in time or sent away.

An event that cannot be judged in time is answered with 503 and ``Retry-After`` rather than late. Should its transaction
commit all the same, the sender's next try finds it taken in.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from domain.errors import BulkOrdersError, DatabaseUnavailable
from domain.payment_events import PaymentEvent
from webhooks.inbox import Inbox, Taken
from webhooks.refusal import Refused

Result = TypeVar("Result")

ANSWER_SECONDS = 8.0  # the sender waits for 10: the way there and back is its own
_LEAST_SECONDS = 0.5  # with less left it is not begun
_PARKED_EVERY_SECONDS = 5.0
_REFUSALS_EVERY_SECONDS = 1.0
_ANSWERS_EVERY_SECONDS = 10.0
_ANSWER_STEPS_MS = (10, 20, 50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000)


@dataclass(frozen=True, slots=True)
class DeskLimits:
    """``at_once``: transactions at the same time; ``waiting``: events beyond which one more is sent away."""

    at_once: int = 4
    waiting: int = 256
    answer_seconds: float = ANSWER_SECONDS


class Desk:
    """Takes events to the inbox, and looks after what is parked and what was refused. Used from one event loop."""

    def __init__(self, inbox: Inbox, limits: DeskLimits, log: Callable[[str], None]) -> None:
        self._inbox = inbox
        self._limits = limits
        self._log = log
        self._threads = ThreadPoolExecutor(limits.at_once, "webhook")
        self._chores = ThreadPoolExecutor(1, "webhook-chores")
        self._inside = 0
        self._refusals: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin with the chores."""
        self._tasks = [
            asyncio.create_task(self._every(_PARKED_EVERY_SECONDS, self._retry_parked)),
            asyncio.create_task(self._every(_REFUSALS_EVERY_SECONDS, self._write_refusals)),
            asyncio.create_task(self._every(_ANSWERS_EVERY_SECONDS, self._write_answers)),
        ]

    async def aclose(self) -> None:
        """End the chores; what was counted is written down."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._in_chores(self._write_refusals)
        await self._in_chores(self._write_answers)
        self._threads.shutdown(wait=True)
        self._chores.shutdown(wait=True)

    async def take(self, event: PaymentEvent) -> Taken:
        """Judge an event in time.

        Raises:
            Refused: 503 when there are too many, the time is over or the database does not answer; 409.
        """
        if self._inside >= self._limits.waiting:
            raise Refused(503, "overloaded", retry_after_seconds=2)
        deadline = time.monotonic() + self._limits.answer_seconds
        self._inside += 1
        judged = asyncio.wrap_future(self._threads.submit(self._judge, event, deadline))
        judged.add_done_callback(self._left)
        try:
            return await asyncio.wait_for(asyncio.shield(judged), self._limits.answer_seconds)
        except TimeoutError:
            raise Refused(503, "overloaded", retry_after_seconds=5) from None

    def count_refusal(self, refused: Refused) -> None:
        """Remember a request that is not genuine; a flood of them is one entry of the trail per second and code."""
        self._refusals[refused.code] += 1

    def count_answer(self, seconds: float) -> None:
        """Remember how long an event took to be answered, by steps (R-49)."""
        step = next((step for step in _ANSWER_STEPS_MS if 1000 * seconds <= step), _ANSWER_STEPS_MS[-1])
        self._answers[step] += 1

    def _left(self, judged: asyncio.Future[Taken]) -> None:
        self._inside -= 1
        if not judged.cancelled():
            judged.exception()  # heard by nobody when its sender was sent away

    def _judge(self, event: PaymentEvent, deadline: float) -> Taken:
        left = deadline - time.monotonic()
        if left < _LEAST_SECONDS:
            raise Refused(503, "overloaded", retry_after_seconds=5)
        try:
            return self._inbox.take(event, left)
        except DatabaseUnavailable:
            raise Refused(503, "unavailable", retry_after_seconds=5) from None

    def _retry_parked(self) -> None:
        self._inbox.retry_parked(self._limits.answer_seconds)

    def _write_refusals(self) -> None:
        for code in list(self._refusals):
            count = self._refusals.pop(code)
            self._log(f"refused {code} {count}")
            try:
                self._inbox.record_refusals(code, count)
            except BulkOrdersError:
                self._refusals[code] += count  # the database is away: with the next ones
                raise

    def _write_answers(self) -> None:
        counted = {step: self._answers.pop(step) for step in list(self._answers)}
        if counted:
            self._inbox.record_answers(counted)

    async def _every(self, seconds: float, chore: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._in_chores(chore)

    async def _in_chores(self, chore: Callable[[], None]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._chores, chore)
        except BulkOrdersError as error:
            self._log(error.code)
        except Exception as bug:  # the endpoint goes on
            self._log(f"SYS-INTERNAL {place_of(bug)}")


def place_of(bug: BaseException) -> str:
    """Type and place of an exception; its message may hold what somebody sent."""
    trace, place = bug.__traceback__, "?"
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(bug).__name__} {place}"


def log_line(line: str) -> None:
    """One line on standard error: codes and counts only."""
    sys.stderr.write(f"webhooks: {line}\n")
    sys.stderr.flush()
