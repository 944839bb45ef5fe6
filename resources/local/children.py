"""Child processes: how they are started, recognised and ended. Nothing here knows what they do.

Every child gets a session of its own, so that Ctrl-C in a terminal reaches us first and we choose the order of the end.
A process is recognised by its id and its start time together: ids are reused.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LOG_LIMIT_BYTES = 5_000_000
_PR_SET_PDEATHSIG = 1
_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class RunAs:
    """The operating system user a child runs as; ``None`` anywhere in this package means: as ourselves."""

    user: int
    group: int


def spawn(
    command: Sequence[str],
    *,
    log: Path | None,
    environment: Mapping[str, str] | None = None,
    run_as: RunAs | None = None,
    ends_with_us: int = 0,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a new session with ``/`` as working directory and its output in ``log``.

    ``ends_with_us`` is the signal that the kernel sends to the child when the calling thread dies (Linux; 0: none).
    """
    identity: dict[str, Any] = {}
    if run_as is not None:
        identity = {"user": run_as.user, "group": run_as.group, "extra_groups": []}
    with open_log(log) as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if environment is None else dict(environment),
            cwd="/",
            start_new_session=True,
            preexec_fn=_death_signal(ends_with_us),
            **identity,
        )


@contextlib.contextmanager
def open_log(path: Path | None) -> Iterator[IO[bytes]]:
    """The log opened for appending (mode 0600); one that has grown large is put aside as ``<name>.1`` first."""
    if path is None:
        with open(os.devnull, "wb") as nothing:
            yield nothing
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as output:
        yield output


def python_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment for Python children, so that they find our packages from any working directory.

    ``PYTHONDONTWRITEBYTECODE`` is dropped: without cached bytecode each run pays for compiling again.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(_REPOSITORY), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment | dict(extra or {})


def start_time(pid: int) -> str | None:
    """A mark of the process that has this id now; None when there is none (a zombie counts as none)."""
    if sys.platform == "linux":
        try:
            line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        state, *numbers = line.rpartition(")")[2].split()
        return None if state in "ZX" else numbers[18]
    return _ps("lstart=", "-p", str(pid)).strip() or None


def is_alive(pid: int, started: str) -> bool:
    """Whether the process that was seen with this id and start time still runs."""
    return start_time(pid) == started


def exists(pid: int) -> bool:
    """Whether the system knows this id, be it a zombie's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def all_processes() -> list[int]:
    """Every process id of this machine."""
    if sys.platform == "linux":
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(line) for line in _ps("pid=", "-A").split()]


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    return [process for process in all_processes() if _parent(process) == pid]


def command_line(pid: int) -> str:
    """The words a process was started with; empty when it is gone."""
    if sys.platform == "linux":
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return ""
        return words.replace(b"\0", b" ").decode(errors="replace").strip()
    return _ps("command=", "-p", str(pid)).strip()


def end(
    pid: int, started: str, *, first: int = signal.SIGTERM, grace_seconds: float, last: int = signal.SIGKILL
) -> bool:
    """Signal the process and wait for its end; ``last`` after the grace time. True when it went by itself."""
    for number, wait_seconds in ((first, grace_seconds), (last, 10.0)):
        if not is_alive(pid, started):
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not is_alive(pid, started), wait_seconds):
            return number == first
    return False


def wait_until(condition: Callable[[], bool], timeout_seconds: float, step_seconds: float = 0.02) -> bool:
    """Poll ``condition`` until it holds (True) or the time is over (False)."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step_seconds)
    return True


def _parent(pid: int) -> int:
    if sys.platform != "linux":
        return int(_ps("ppid=", "-p", str(pid)).strip() or 0)
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(line.rpartition(")")[2].split()[1])


def _ps(columns: str, *which: str) -> str:
    return subprocess.run(["ps", "-o", columns, *which], capture_output=True, text=True, check=False).stdout


def _death_signal(number: int) -> Callable[[], None] | None:
    if not number or sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died between fork and here
            os._exit(1)

    return ask_kernel
