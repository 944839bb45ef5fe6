"""Who starts and who stops a server that several processes use, also when some of them are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resources.local import children
from resources.local.shared_process import Share

_USER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_shared_process_server import Sleeper
from resources.local.shared_process import Share
with Share(Sleeper(Path(sys.argv[1])), Path(sys.argv[1]), "sleeper").held():
    print("in", flush=True)
    sys.stdin.readline()
"""

_SERVER = '''
"""The smallest server: a sleeping process, and a count of its starts."""
import json, signal, subprocess, time
from pathlib import Path
from resources.local import children

class Sleeper:
    def __init__(self, folder):
        self._state, self._starts = folder / "state.json", folder / "starts"
    def is_running(self):
        if not self._state.exists(): return False
        state = json.loads(self._state.read_text())
        return children.is_alive(state["pid"], state["started"])
    def start(self):
        if self.is_running(): return
        child = children.spawn(["sleep", "100"], log=None)
        self._state.write_text(json.dumps({"pid": child.pid, "started": children.start_time(child.pid)}))
        with self._starts.open("a") as starts: starts.write("x")
    def stop(self):
        state = json.loads(self._state.read_text())
        children.end(state["pid"], state["started"], first=signal.SIGKILL, grace_seconds=5)
'''


class Folder:
    """Lock files and the server's traces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "test_shared_process_server.py").write_text(_SERVER)

    @property
    def starts(self) -> int:
        return len((self.path / "starts").read_text())

    @property
    def runs(self) -> bool:
        scope: dict[str, type] = {}
        exec(_SERVER, scope)  # the same few lines the users run
        return bool(scope["Sleeper"](self.path).is_running())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@contextmanager
def user(folder: Folder) -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses the server until its input ends or it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", _USER, str(folder.path), str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=children.python_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        yield process


def leave(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"\n", timeout=20)


def test_the_last_one_out_stops_it_and_nobody_before(folder: Folder) -> None:
    with user(folder) as first, user(folder) as second:
        leave(first)
        runs_for_second = folder.runs
        leave(second)

    assert runs_for_second
    assert not folder.runs
    assert folder.starts == 1


def test_a_killed_user_leaves_no_lock_behind(folder: Folder) -> None:
    with user(folder) as first, user(folder) as second:
        second.send_signal(signal.SIGKILL)
        second.wait()
        leave(first)

    assert not folder.runs


def test_a_server_whose_users_were_all_killed_is_used_again_and_then_stopped(folder: Folder) -> None:
    with user(folder) as first:
        first.kill()
    left_behind = folder.runs
    with user(folder) as second:
        leave(second)

    assert left_behind
    assert folder.starts == 1
    assert not folder.runs


def test_a_start_that_fails_holds_nothing(folder: Folder) -> None:
    """The next user must find the gate open."""

    class Broken:
        stopped = 0

        def is_running(self) -> bool:
            return False

        def start(self) -> None:
            raise RuntimeError("no")

        start_again = start

        def stop(self) -> None:
            self.stopped += 1

    broken = Broken()
    for _ in range(2):
        with pytest.raises(RuntimeError), Share(broken, folder.path, "broken").held():
            pass

    assert broken.stopped == 2
