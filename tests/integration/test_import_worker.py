"""The worker of `import` ends with its command: by itself, told to, or killed, in this order."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration import importing

_TOLD = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: {then})
open(sys.argv[1], "w").close()
time.sleep({seconds})
"""


def worker(ready: Path, *, then: str, seconds: float) -> subprocess.Popen[bytes]:
    started = subprocess.Popen([sys.executable, "-c", _TOLD.format(then=then, seconds=seconds), str(ready)])
    while not ready.exists() and started.poll() is None:
        pass
    return started


@pytest.mark.parametrize(
    ("then", "seconds", "code"),
    [("sys.exit(7)", 0.1, 0), ("sys.exit(7)", 60, 7), ("None", 60, -signal.SIGKILL)],
    ids=["by itself", "told to", "killed"],
)
def test_a_worker_is_told_to_end_before_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, seconds: float, code: int
):
    monkeypatch.setattr(importing, "_STOP_SECONDS", 1.0)
    left = worker(tmp_path / "ready", then=then, seconds=seconds)

    importing._end(left)

    assert left.returncode == code


def test_a_worker_whose_command_was_interrupted_is_told_at_once(tmp_path: Path):
    left = worker(tmp_path / "ready", then="sys.exit(7)", seconds=60)

    with contextlib.suppress(KeyboardInterrupt):
        try:
            raise KeyboardInterrupt
        finally:
            importing._end(left)

    assert left.returncode == 7
