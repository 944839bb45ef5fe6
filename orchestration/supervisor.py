"""Keeps a few processes running: starts them in order, starts again what dies, ends all in reverse order.

All of it happens on the thread that calls: on Linux the kernel ends the children when that thread dies, so that not
even ``kill -9`` of us leaves them behind.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from domain.errors import TerminalError
from resources.local import children

LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0  # after this long a process counts as healthy again


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the stack.

    ``is_ready`` is asked until it says yes; ``before_stop`` runs before the process is told to end.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(repr=False)
    is_ready: Callable[[], bool]
    before_stop: Callable[[int], None] = lambda _: None
    grace_seconds: float = 10.0


class Running:
    """A part at work."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.deaths = 0
        self._not_before = 0.0
        self.launch()

    def launch(self) -> None:
        """Start the process; returns at once."""
        self._started = time.monotonic()
        self._child = children.spawn(
            self.part.command, log=self.part.log, environment=self.part.environment, ends_with_us=signal.SIGTERM
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs (it may not be ready yet)."""
        return self._child.poll() is None

    def tend(self) -> bool:
        """Start the process again if it has died and its pause is over; True when that happened."""
        now = time.monotonic()
        if self.is_alive:
            return False
        if self._not_before == 0.0:
            self._pause(now, 1 if now - self._started > STEADY_SECONDS else self.deaths + 1)
        if now < self._not_before:
            return False
        try:
            self.launch()
        except OSError:  # no process, no memory or no file is to be had: like another death
            self._pause(now, self.deaths + 1)
            return False
        self._not_before = 0.0
        return True

    def _pause(self, now: float, deaths: int) -> None:
        self.deaths = deaths
        self._not_before = now + min(2.0 ** min(deaths - 1, 10) - 1.0, LONGEST_PAUSE_SECONDS)

    def stop(self) -> None:
        """Tell it to end; kill it after its grace time."""
        if self.is_alive:
            self.part.before_stop(self.pid)
        for number, wait_seconds in ((signal.SIGTERM, self.part.grace_seconds), (signal.SIGKILL, 10.0)):
            if self.is_alive:
                self._child.send_signal(number)
            try:
                self._child.wait(wait_seconds)
                return
            except subprocess.TimeoutExpired:
                continue


class Supervisor:
    """Several parts. ``stopping`` is asked in every wait, so that a signal ends each of them."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self.parts: list[Running] = []

    def start(self, *parts: Part, timeout_seconds: float = 60.0) -> None:
        """Start these together and return when all are ready, or as soon as we are stopping.

        Raises:
            TerminalError: SYS-START-FAILED with the part's name and its log, when one ends or never gets ready.
        """
        started = [Running(part) for part in parts]
        self.parts += started
        deadline = time.monotonic() + timeout_seconds
        for running in started:
            while not self._stopping() and not running.part.is_ready():
                if not running.is_alive or time.monotonic() > deadline:
                    raise TerminalError("SYS-START-FAILED", part=running.part.name, log=str(running.part.log))
                time.sleep(0.05)

    def tend(self) -> list[str]:
        """Start again what has died; the names of what was started."""
        return [running.part.name for running in self.parts if running.tend()]

    def restart(self, name: str) -> None:
        """End a part and start it again."""
        for running in self.parts:
            if running.part.name == name:
                running.stop()
                running.launch()

    def stop(self) -> None:
        """End all, the last started first."""
        while self.parts:
            self.parts.pop().stop()
