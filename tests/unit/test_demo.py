"""`make demo` shows the pipeline with orders that nobody placed: they must never reach a system that is in use."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "demo.sh"
STARTED = '#!/bin/sh\nenv -0 >> started; printf "arguments=%s\\0" "$*" >> started\n'
"""Stands where the interpreter would be, and writes down what is started with which settings."""


def started(folder: Path, **variables: str) -> list[dict[str, str]]:
    """The settings of every command that the demonstration runs in this folder."""
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(STARTED)
    python.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "BULK_ORDERS_LANGUAGE": "en"} | variables
    subprocess.run(["sh", str(SCRIPT)], cwd=folder, env=environment, check=True, capture_output=True, timeout=30)
    pairs = (folder / "started").read_text().split("\0")[:-1]
    commands: list[dict[str, str]] = [{}]
    for name, _, value in (pair.partition("=") for pair in pairs):
        commands[-1][name] = value
        if name == "arguments":
            commands.append({})
    return commands[:-1]


@pytest.mark.parametrize("real", ["DATABASE_URL", "PAYMENT_SERVICE_URL", "NOTIFICATION_SERVICE_URL"])
def test_with_real_systems_in_the_shell_it_has_a_home_and_servers_of_its_own(tmp_path: Path, real: str) -> None:
    home = tmp_path / "in use"
    others = {"BULK_ORDERS_KEY_SHEETS_DIR": "/sheets", "PAYMENT_WEBHOOK_SECRET": "two\nlines", "IMPORT_DIR": "/drop"}

    commands = started(
        tmp_path, BULK_ORDERS_HOME=str(home), **{real: "postgresql://orders@db.example/orders"}, **others
    )

    assert [command["arguments"].split()[2] for command in commands] == ["sample", "import"]
    for command in commands:
        assert not command.keys() & ({real} | others.keys())
        assert command["BULK_ORDERS_HOME"] == f"{home}/demo/home"
        assert command["BULK_ORDERS_LANGUAGE"] == "en"


def test_without_them_the_settings_of_the_shell_stand(tmp_path: Path) -> None:
    home = str(tmp_path / "mine")

    commands = started(tmp_path, BULK_ORDERS_HOME=home, BULK_ORDERS_PAYMENT_CONCURRENCY="3")

    assert {command["BULK_ORDERS_HOME"] for command in commands} == {home}
    assert {command["BULK_ORDERS_PAYMENT_CONCURRENCY"] for command in commands} == {"3"}
