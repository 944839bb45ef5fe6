"""Processes that are kept running: begun in order, begun again when they die, ended in reverse order."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import TerminalError
from orchestration.supervisor import Part, Supervisor
from resources.local import children


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor(stopping=lambda: False)
    yield made
    made.stop()


def part(tmp_path: Path, name: str, program: str = "import time; time.sleep(60)", **more: object) -> Part:
    settings = {"is_ready": lambda: True} | more
    return Part(name, [sys.executable, "-c", program], tmp_path / f"{name}.log", dict(os.environ), **settings)  # type: ignore[arg-type]


def test_a_part_that_dies_is_begun_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(part(tmp_path, "one"), part(tmp_path, "two"))
    before = supervisor.parts[0].pid
    os.kill(before, signal.SIGKILL)
    told: list[str] = []

    assert children.wait_until(lambda: bool(told.extend(supervisor.tend()) or told), 10)
    assert told == ["one"]
    assert supervisor.parts[0].pid != before


def test_a_part_that_dies_again_and_again_is_given_a_pause(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(part(tmp_path, "one", program="pass"))
    running = supervisor.parts[0]
    restarts = 0
    for _ in range(2):
        assert children.wait_until(lambda: not running.is_alive, 10)
        restarts += bool(supervisor.tend())

    assert restarts == 1
    assert running.deaths == 2


def test_a_part_that_cannot_be_begun_again_now_is_begun_later(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process or no memory is to be had for a moment: everything else goes on."""
    supervisor.start(part(tmp_path, "one"))
    running, spawn, failures = supervisor.parts[0], children.spawn, iter([1, 2])

    def short_of_processes(*arguments: object, **more: object) -> object:
        if next(failures, None):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return spawn(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(children, "spawn", short_of_processes)
    os.kill(running.pid, signal.SIGKILL)
    told: list[str] = []

    assert children.wait_until(lambda: bool(told.extend(supervisor.tend()) or told), 20)
    assert told == ["one"]
    assert running.is_alive
    assert list(failures) == []


def test_a_part_that_does_not_start_is_named_with_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    broken = part(tmp_path, "broken", program="import sys; sys.exit('reason')", is_ready=lambda: False)
    with pytest.raises(TerminalError) as refused:
        supervisor.start(broken)

    assert refused.value.code == "SYS-START-FAILED"
    assert refused.value.facts == {"part": "broken", "log": str(broken.log)}
    assert broken.log.read_text() == "reason\n"


def test_the_last_begun_ends_first_and_each_may_prepare(tmp_path: Path) -> None:
    supervisor = Supervisor(stopping=lambda: False)
    ended: list[str] = []
    for name in ("first", "second"):
        supervisor.start(part(tmp_path, name, before_stop=lambda _, name=name: ended.append(name)))
    pids = [running.pid for running in supervisor.parts]
    supervisor.stop()

    assert ended == ["second", "first"]
    assert not any(children.exists(pid) for pid in pids)


def test_a_part_that_does_not_want_to_end_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    deaf = (
        "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    supervisor = Supervisor(stopping=lambda: False)
    supervisor.start(part(tmp_path, "deaf", program=deaf, is_ready=ready.exists, grace_seconds=0.2))
    pid = supervisor.parts[0].pid
    supervisor.stop()

    assert not children.exists(pid)
