"""What a person sees when a command fails: one line, an exit code, never a traceback or a value."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from domain.errors import DatabaseUnavailable, FileRefused, PortTaken
from orchestration.cli import failures, main
from resources.local import children


def _raises(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (PortTaken("SYS-PORT-TAKEN", port=3000, setting="X"), 2, "SYS-PORT-TAKEN: Port 3000 "),
        (DatabaseUnavailable("SYS-DATABASE-UNREACHABLE"), 3, "SYS-DATABASE-UNREACHABLE: "),
        (click.UsageError("No such option '--x'."), 2, "SYS-COMMAND-LINE: "),
        (ValueError("canary@example.test"), 2, "SYS-INTERNAL: "),
        (click.Abort(), 3, ""),
        (KeyboardInterrupt(), 3, ""),
    ],
)
def test_each_kind_of_failure_has_one_line_and_its_exit_code(
    error: BaseException, code: int, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = failures.exit_code_of(_raises(error), "en", tmp_path)
    said = capsys.readouterr().err

    assert found == code
    assert said.startswith(start)
    assert said.count("\n") == (1 if start else 0)


def test_the_name_of_a_file_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Colours, a line of its own, a reading direction: a name can hold all of them."""
    assert failures.say(FileRefused("FILE-EMPTY"), "en", about="a\x1b[31m\nb\u202evsc.exe") == 2
    said = capsys.readouterr().err

    assert said.startswith("a_[31m_b_vsc.exe: FILE-EMPTY: ")
    assert said.rstrip("\n").isprintable()


def test_an_internal_error_leaves_its_place_and_id_in_a_private_log_but_no_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures.exit_code_of(_raises(ValueError("canary@example.test")), "en", tmp_path)
    said = capsys.readouterr().err
    path = tmp_path / "logs" / "errors.log"
    log = path.read_text()
    error_id = log.split()[1]

    assert error_id in said
    assert "builtins.ValueError" in log
    assert "test_cli_failures.py:" in log
    assert "canary" not in log + said
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_code_of_a_command_is_passed_on(tmp_path: Path) -> None:
    assert failures.exit_code_of(lambda: 1, "en", tmp_path) == 1
    assert failures.exit_code_of(lambda: None, "en", tmp_path) == 0


def test_help_names_every_command_without_importing_any_of_them() -> None:
    program = (
        "import sys; from orchestration.cli.main import run; run(['--help']);"
        "sys.stderr.write(' '.join(m for m in ('dagster', 'pandas', 'sqlalchemy', 'psycopg') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=children.python_environment(), capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    assert all(f"  {name} " in done.stdout for name in main.COMMANDS)


@pytest.mark.parametrize("arguments", [["nonsense"], ["up", "--nonsense"], ["db", "nonsense"]])
def test_a_command_line_that_is_wrong_is_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BULK_ORDERS_LANGUAGE", "en")

    assert main.run(arguments) == 2
    assert capsys.readouterr().err.startswith("SYS-COMMAND-LINE: ")


@pytest.mark.parametrize(("language", "in_english"), [("en", True), ("ja", False), ("", False)])
def test_a_setting_that_is_wrong_is_named_in_the_language_of_the_person(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], language: str, in_english: bool
) -> None:
    monkeypatch.setenv("BULK_ORDERS_UI_PORT", "many")
    monkeypatch.setenv("BULK_ORDERS_LANGUAGE", language)

    assert main.run(["up"]) == 2
    told = capsys.readouterr().err
    assert "BULK_ORDERS_UI_PORT" in told
    assert told.isascii() is in_english


def test_a_command_that_crashes_leaves_no_picture_of_its_memory() -> None:
    """A core file would hold rows of customers; the limit is inherited by every process that a command starts."""
    code = (
        "import resource, subprocess, sys; from orchestration.cli import main; main.keep_no_core_files();"
        "subprocess.run([sys.executable, '-c', 'import resource; print(resource.getrlimit(resource.RLIMIT_CORE))'])"
    )

    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(main.__file__).parents[2]
    )

    assert said.stdout.strip() == "(0, 0)"
