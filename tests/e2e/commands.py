"""An installation as a person uses it through `bulk-orders`, without a running `up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestration.cli.main import run
from orchestration.sample import make_sample, write_csv

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "orchestration.cli.main"]


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str

    def told(self) -> Any:
        """What --json says."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Office:
    """One installation: its folder, and the environment that its commands run in."""

    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path, **more: str) -> Ended:
        """A command in a process of its own."""
        ended = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=self.environment | more,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def do(self, *arguments: str | Path, **more: str) -> Ended:
        """The same command in this process, which has imported everything already: two seconds less for each."""
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in (self.environment | more).items():
                patch.setenv(name, value)
            code = run([str(argument) for argument in arguments])
        return Ended(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """A command that is to be interrupted, in a process group of its own."""
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=self.environment,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Whoever runs the suite in the background has Ctrl-C ignored, and a child would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """A statement of ours in its database."""
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []


def office_with(folder: Path, variables: Mapping[str, str]) -> Office:
    """An English installation below ``folder``."""
    home = folder / "home"
    settings = {"BULK_ORDERS_HOME": str(home), "BULK_ORDERS_LANGUAGE": "en"}
    return Office(home, os.environ | settings | variables)


def sample_file(path: Path, rows: int, *, seed: int, bad: float = 0.0) -> Path:
    """A file of synthetic orders."""
    write_csv(make_sample(rows, bad=bad, seed=seed), path, "utf-8")
    return path
