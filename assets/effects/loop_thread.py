"""A coroutine that works on its own thread while synchronous code drains what it reports.

Dagster's own async assets lose in-flight calls when a run is terminated; this shape ends them in order: first asked to
stop, then cancelled, always waited for.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Report = TypeVar("Report")
_POLL_SECONDS = 0.2  # interrupts reach the main thread between two polls


class LoopThread(Generic[Report]):
    """Runs ``main(emit)`` on a thread; iterating gives what it emitted and raises what it raised.

    When the iteration is broken off (interrupt, termination), ``stop`` is called on the loop, and the coroutine has
    ``grace_seconds`` to end by itself before it is cancelled.
    """

    def __init__(
        self,
        main: Callable[[Callable[[Report], None]], Awaitable[None]],
        stop: Callable[[], None],
        grace_seconds: float = 8.0,
    ) -> None:
        self._main = main
        self._stop = stop
        self._grace_seconds = grace_seconds
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()

    def __iter__(self) -> Iterator[Report]:
        thread = threading.Thread(target=self._run, name="effects")
        thread.start()
        try:
            self._started.wait()
            yield from self._drain()
        finally:
            self._end(thread)
        if self._error is not None:
            raise _first(self._error)

    def _drain(self) -> Iterator[Report]:
        while True:
            try:
                report = self._reports.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if report is None:
                return
            yield report

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._work())
        except BaseException as error:
            self._error = error
        finally:
            self._started.set()
            self._reports.put(None)

    async def _work(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._started.set()
        await self._main(self._reports.put)

    def _end(self, thread: threading.Thread) -> None:
        if thread.is_alive():
            self._call(self._stop)
            thread.join(self._grace_seconds)
        if thread.is_alive() and self._task is not None:
            self._call(self._task.cancel)
        while thread.is_alive():  # also under a second interrupt: it must not outlive the hold on its batch
            with suppress(KeyboardInterrupt):
                thread.join()

    def _call(self, what: Callable[[], object]) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop has just ended by itself
            self._loop.call_soon_threadsafe(what)


def _first(error: BaseException) -> BaseException:
    """What went wrong first in a group of tasks: the others were cancelled because of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
