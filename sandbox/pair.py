"""Both services from one command: two child processes, one parent that starts, announces and ends them.

The children end when the parent's end of their stdin closes, so they do not outlive a parent that was killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

SERVICES = ("payments", "notifications")
_END_SECONDS = 5.0


class _Told(Exception):
    """SIGTERM or Ctrl-C arrived."""


def run_pair(argv: Sequence[str], announce: Callable[[Mapping[str, str]], None]) -> int:
    """Run both until told to stop or until one ends; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _told)
    children: dict[str, subprocess.Popen[str]] = {}
    try:
        for service in SERVICES:
            children[service] = _child(service, argv)
        urls: dict[str, str] = {}
        for child in children.values():
            line = child.stdout.readline() if child.stdout else ""
            if not line:
                return child.wait() or 1
            urls |= json.loads(line)
        announce(urls)
        return _first_to_end(children)
    except _Told:
        return 0
    finally:
        _end(children)


def _child(service: str, argv: Sequence[str]) -> subprocess.Popen[str]:
    rooms = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (rooms, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "sandbox", *argv, "--only", service, "--stop-on-stdin-close"]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )


def _first_to_end(children: Mapping[str, subprocess.Popen[str]]) -> int:
    while all(child.poll() is None for child in children.values()):
        time.sleep(0.2)
    service = next(name for name, child in children.items() if child.poll() is not None)
    sys.stderr.write(f"sandbox: the {service} service ended by itself\n")
    return 1


def _end(children: Mapping[str, subprocess.Popen[str]]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for child in children.values():
        child.terminate()
    for child in children.values():
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _told(number: int, frame: FrameType | None) -> None:
    raise _Told
