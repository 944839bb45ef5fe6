"""`bulk-orders up` as a person meets it: it comes up, heals itself, is there once, and leaves nothing behind.

A small code location stands in for ours, so that these tests speak about the processes alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from orchestration.stack import run_workers, running_stack
from resources.local import children
from resources.local.postgres_server import PostgresServer, free_port
from resources.local.sandbox_service import SandboxService
from tests.folders import open_folder

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see what is left"),
    pytest.mark.timeout(300),
]

PATIENCE_SECONDS = 60.0
"""Until something counts as never happening: on a busy machine a start alone takes half of that."""

_DEFINITIONS = """
import gc
import os
import time
from pathlib import Path
import dagster as dg

@dg.asset
def steps(context: dg.AssetExecutionContext, config: dict[str, float]) -> dg.MaterializeResult:
    home = Path(os.environ["BULK_ORDERS_HOME"])
    (home / f"{context.run_id}.frozen").write_text(str(gc.get_freeze_count()))
    (home / f"{context.run_id}.pid").write_text(str(os.getpid()))
    for number in range(3):
        context.log.info(f"step {number} of 3")
        time.sleep(config["seconds"] / 3)
    return dg.MaterializeResult()

defs = dg.Definitions(
    assets=[steps],
    jobs=[dg.define_asset_job("process_batch", [steps], executor_def=dg.in_process_executor)],
)
"""
_PROGRAM = """
from orchestration.settings import Settings
from orchestration.stack import Stack
Stack(Settings.from_environment(), print, "standin_definitions").run(lambda _: print("READY", flush=True))
"""


class Up:
    """A stack in a process of its own."""

    def __init__(self, home: Path, process: subprocess.Popen[str]) -> None:
        self.home = home
        self.process = process
        told = running_stack(home)
        assert told is not None
        self.url = str(told["ui_url"])

    def ask(self, query: str, **variables: object) -> Any:
        """A GraphQL query, answered by the web server."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]

    def launch(self, seconds: float) -> str:
        """A run through the queue; its id."""
        selector = {
            "repositoryLocationName": "bulk_orders",
            "repositoryName": "__repository__",
            "jobName": "process_batch",
        }
        config = {"ops": {"steps": {"config": {"seconds": seconds}}}}
        query = (
            "mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {... on LaunchRunSuccess {run {runId}}}}"
        )
        answer = self.ask(query, p={"selector": selector, "mode": "default", "runConfigData": config})
        return str(answer["launchRun"]["run"]["runId"])

    def status(self, run_id: str) -> str:
        """The run's state, as the UI shows it."""
        query = "query($r: ID!) {runOrError(runId: $r) {... on Run {status}}}"
        return str(self.ask(query, r=run_id)["runOrError"]["status"])

    def reaches(self, run_id: str, status: str, timeout_seconds: float = PATIENCE_SECONDS) -> bool:
        """Whether the run gets into this state in time."""
        return children.wait_until(lambda: self.status(run_id) == status, timeout_seconds, 0.2)

    def worker(self, run_id: str, timeout_seconds: float = PATIENCE_SECONDS) -> int:
        """The process that works on this run, as the run itself says."""
        told = self.home / f"{run_id}.pid"
        assert children.wait_until(lambda: told.exists() and told.read_text() != "", timeout_seconds, 0.1)
        return int(told.read_text())

    def part(self, words: str) -> int:
        """The process of the stack with these words in its command line; 0 when there is none."""
        found = children.children_of(self.process.pid)
        return next((pid for pid in found if words in children.command_line(pid)), 0)


@contextmanager
def up(home: Path, code: Path) -> Iterator[Up]:
    """A running stack, killed at the end if it still runs."""
    environment = children.python_environment(
        {
            "BULK_ORDERS_HOME": str(home),
            "BULK_ORDERS_UI_PORT": str(free_port()),
            "PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{code}",
        }
    )
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "READY\n" in iter(process.stdout.readline, "")
            yield Up(home, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def code() -> Iterator[Path]:
    """The folder of the stand-in code location."""
    folder = Path(tempfile.mkdtemp())
    (folder / "standin_definitions.py").write_text(_DEFINITIONS)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack(code: Path) -> Iterator[Up]:
    """One stack for the tests that leave it running."""
    with open_folder("bulk orders up ") as folder, up(folder / "home", code) as started:
        yield started


@pytest.fixture
def running(stack: Up) -> Up:
    """The stack, up again whatever the test before has killed."""
    _when_it_answers(lambda: str(stack.ask("{version}")))
    return stack


def test_a_run_goes_through_the_queue_and_its_log_is_seen_live(running: Up) -> None:
    """Dagster's storage, daemon, code server and web server agree with each other."""
    run_id = running.launch(seconds=1.5)
    seen = _live_log(running.url, run_id, until="RUN_SUCCESS")

    assert [line for line in seen if line.startswith("step")] == [f"step {n} of 3" for n in range(3)]
    assert running.reaches(run_id, "SUCCESS")


def test_killed_parts_are_back_within_seconds_and_work_goes_on(running: Up) -> None:
    before = {words: running.part(words) for words in ("dagster._daemon", "dagster_webserver", "code_server")}
    assert 0 not in before.values()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    assert children.wait_until(lambda: all(running.part(words) not in (0, before[words]) for words in before), 10)
    run_id = _when_it_answers(lambda: running.launch(seconds=0))
    assert running.reaches(run_id, "SUCCESS")


def test_a_killed_run_worker_is_noticed_and_every_run_has_a_process_of_its_own(running: Up) -> None:
    """Workers are forked from one prepared process; killing one ends its run and nothing else."""
    first, second = running.launch(seconds=60), running.launch(seconds=3)
    victim, other = running.worker(first), running.worker(second)
    forked = run_workers(running.part("code_server"))

    os.kill(victim, signal.SIGKILL)
    ended = [running.reaches(first, "FAILURE"), running.reaches(second, "SUCCESS")]

    assert victim != other
    assert {victim, other} <= set(forked)
    assert ended == [True, True]
    left_alone_by_the_collector = int((running.home / f"{second}.frozen").read_text())
    assert left_alone_by_the_collector > 100_000


def test_a_second_one_in_the_same_folder_is_refused_with_the_address_of_the_first(running: Up) -> None:
    done = _command(["up"], BULK_ORDERS_HOME=str(running.home))

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("SYS-ALREADY-RUNNING: ")
    assert running.url in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_named_with_its_setting(running: Up, home: Path) -> None:
    port = running.url.rpartition(":")[2]
    done = _command(["up"], BULK_ORDERS_HOME=str(home), BULK_ORDERS_UI_PORT=port)

    assert done.returncode == 2
    assert done.stderr.startswith("SYS-PORT-TAKEN: ")
    assert port in done.stderr
    assert "BULK_ORDERS_UI_PORT" in done.stderr
    assert not (home / "postgres").exists()


def test_ctrl_c_during_a_run_leaves_no_process_and_the_next_start_knows_everything(home: Path, code: Path) -> None:
    with up(home, code) as first:
        run_id = first.launch(seconds=60)
        assert first.reaches(run_id, "STARTED")
        first.process.send_signal(signal.SIGINT)
        exit_code = first.process.wait(PATIENCE_SECONDS)
    left = _processes_of(home)

    assert exit_code == 0
    assert left == []
    assert running_stack(home) is None
    with up(home, code) as second:
        assert second.status(run_id) == "FAILURE"
        second.process.kill()
        second.process.wait()
        # Without its parent everything goes but the servers that others may be using.
        assert children.wait_until(lambda: len(_own_parts(home)) == 0, 20)
    assert running_stack(home) is None
    _stop_shared_servers(home)
    assert children.wait_until(lambda: _processes_of(home) == [], 10)


def _when_it_answers(ask: Callable[[], str]) -> str:
    """What the web server says as soon as it, and the code server behind it, are there again."""
    answers: list[str] = []

    def answered() -> bool:
        with contextlib.suppress(OSError, TypeError, KeyError):
            answers.append(ask())
        return bool(answers)

    assert children.wait_until(answered, PATIENCE_SECONDS, 0.3)
    return answers[0]


def _live_log(url: str, run_id: str, until: str) -> list[str]:
    """Messages of the run as the UI's watcher gets them, up to an event of this type."""
    query = """subscription($r: ID!) {pipelineRunLogs(runId: $r) {... on PipelineRunLogsSubscriptionSuccess {
        messages {... on MessageEvent {message eventType}}}}}"""
    seen: list[str] = []
    with connect(f"ws{url.removeprefix('http')}/graphql", subprotocols=["graphql-ws"], proxy=None) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({"type": "connection_init", "payload": {}}))
        start = {"query": query, "variables": {"r": run_id}}
        socket.send(json.dumps({"type": "start", "id": "1", "payload": start}))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            heard = json.loads(socket.recv(timeout=30))
            if heard["type"] != "data":
                continue
            for message in heard["payload"]["data"]["pipelineRunLogs"]["messages"]:
                seen.append(str(message.get("message")))
                if message.get("eventType") == until:
                    return seen
    raise AssertionError(f"no {until}")


def _command(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", *words],
        env=children.python_environment({"BULK_ORDERS_LANGUAGE": "en"} | environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _processes_of(home: Path) -> list[str]:
    """Command lines of all processes that name this folder, in their command line or their environment."""
    mark = str(home).encode()
    found = []
    for pid in children.all_processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if mark in words or mark in environment:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def _own_parts(home: Path) -> list[str]:
    return [words for words in _processes_of(home) if "postgres" not in words and "-m sandbox" not in words]


def _stop_shared_servers(home: Path) -> None:
    PostgresServer(home).stop()
    for kind in ("payments", "notifications"):
        SandboxService(home, kind).stop()  # type: ignore[arg-type]
