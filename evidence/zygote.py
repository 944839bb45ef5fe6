"""A process that has imported everything and forks lives from itself: a life costs milliseconds, not seconds.

``python -m evidence.zygote`` reads one plan per line (`life.LifePlan`, with a ``life`` number) and forks for each. It
answers with lines ``{"life": 1, "pid": 42}`` and, when a life has ended, ``{"life": 1, "status": -9}`` (negative: the
signal that killed it). It has no Python threads and no connections. It ends with whoever holds its standard input, and
its lives with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

_ROOT = Path(__file__).resolve().parents[1]
_PR_SET_PDEATHSIG = 1
_FORK_SECONDS = 120.0  # on a machine with much else to do
_END_SECONDS = 60.0


class Life:
    """One forked worker, seen from outside."""

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None
        self._began = threading.Event()
        self._ended = threading.Event()

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Its exit status once it has ended (negative: killed by that signal); None: it still runs."""
        self._ended.wait(timeout_seconds)
        return self.status

    def signal(self, number: signal.Signals = signal.SIGKILL) -> bool:
        """Send it a signal; False: it had ended already."""
        if self.status is not None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    def _begin(self, pid: int) -> None:
        self.pid = pid
        self._began.set()

    def _end(self, status: int) -> None:
        self.status = status
        self._began.set()
        self._ended.set()


class Zygote:
    """The zygote as its owner sees it. ``start`` may be called from any thread."""

    def __init__(self, log: Path) -> None:
        self._turn = threading.Lock()
        self._lives: dict[int, Life] = {}
        self._number = 0
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "evidence.zygote"],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders: IO[bytes] = self._process.stdin
        self._reader = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def start(self, plan: str, *, rehearsal: bool = False) -> Life:
        """Fork a life for this plan (`LifePlan.to_json`); returns when it has its process.

        A rehearsal is lived by the zygote itself: those who are forked later have less to do for the first time.
        """
        life = Life()
        with self._turn:
            self._number += 1
            number = self._number
            self._lives[number] = life
            self._orders.write(
                json.dumps({**json.loads(plan), "life": number, "rehearsal": rehearsal}).encode() + b"\n"
            )
            self._orders.flush()
        if not life._began.wait(_FORK_SECONDS):
            raise RuntimeError("the zygote does not answer")
        return life

    def close(self) -> None:
        """End it, and its lives."""
        self._orders.close()
        self._process.wait(_END_SECONDS)
        self._reader.join(_END_SECONDS)

    def _listen(self, answers: IO[bytes]) -> None:
        for line in answers:
            answer = json.loads(line)
            if "pid" in answer:
                self._lives[answer["life"]]._begin(answer["pid"])
            else:
                self._lives.pop(answer["life"])._end(answer["status"])
        answers.close()
        for life in self._lives.values():
            life._end(-signal.SIGKILL)


# -- the process itself -----------------------------------------------------------------------------------------------


class _Server:
    def __init__(self) -> None:
        self._lives: dict[int, int] = {}
        self._buffer = b""
        self._wakeup, writer = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(self._wakeup, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if self._wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup, 65_536)
            self._reap()
            if 0 in ready and not self._read_orders():
                break
        for pid in self._lives:
            os.kill(pid, signal.SIGKILL)

    def _read_orders(self) -> bool:
        piece = os.read(0, 65_536)
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        for line in lines:
            plan = json.loads(line)
            if plan.pop("rehearsal"):
                self._rehearse(plan)
            else:
                self._fork(plan)
        return bool(piece)

    def _rehearse(self, plan: dict[str, Any]) -> None:
        from evidence.life import LifePlan, rehearse

        number = plan.pop("life")
        _say({"life": number, "pid": os.getpid()})
        _say({"life": number, "status": rehearse(LifePlan(**plan))})

    def _fork(self, plan: dict[str, Any]) -> None:
        number = plan.pop("life")
        pid = os.fork()
        if pid == 0:
            _be_a_life(plan)
        self._lives[pid] = number
        _say({"life": number, "pid": pid})

    def _reap(self) -> None:
        while self._lives:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _say({"life": self._lives.pop(pid), "status": os.waitstatus_to_exitcode(status)})


def _say(answer: dict[str, int]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def _be_a_life(plan: dict[str, Any]) -> NoReturn:
    status = 70
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        random.seed()
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        from evidence.life import LifePlan, live

        status = live(LifePlan(**plan))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Import everything, then fork on demand."""
    import evidence.life  # noqa: F401  # what the lives need, once

    _Server().serve()


if __name__ == "__main__":
    main()
