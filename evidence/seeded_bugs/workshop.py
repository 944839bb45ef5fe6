"""Plant a bug in a copy of the repository, run what should catch it there, and say whether it did.

A bug is an exact replacement of source text. When the old text is no longer there the bug cannot be planted, and that
is an error: the code moved on and the bug must follow it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".bulk-orders", "__pycache__", ".*_cache", ".hypothesis", "*.pyc", "docs", "node_modules"
)
_GREEN, _RED = 0, 1  # pytest's exit codes; any other one says that the check itself is broken
_LINES_SHOWN = 15


class CannotPlant(Exception):
    """The text that a bug replaces is not in its file, or not exactly once."""


class CheckBroken(Exception):
    """A check that should say green or red said something else."""


@dataclass(frozen=True, slots=True)
class Edit:
    """``old``, which stands in ``file`` exactly once, becomes ``new``."""

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The file's text with the edit.

        Raises:
            CannotPlant: the text is gone, or stands there more than once.
        """
        if text.count(self.old) != 1:
            raise CannotPlant(f"{self.file}: found {text.count(self.old)} times:\n{self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class SeededBug:
    """One bug. ``checks`` are pytest's names of the tests that must turn red; ``story`` says what the bug would do."""

    name: str
    story: str
    edits: tuple[Edit, ...]
    checks: tuple[str, ...]

    def sources(self, root: Path = ROOT) -> dict[str, str]:
        """The changed files.

        Raises:
            CannotPlant: an edit does not fit, or its result is no Python.
        """
        changed: dict[str, str] = {}
        for edit in self.edits:
            before = changed.get(edit.file) or (root / edit.file).read_text(encoding="utf-8")
            changed[edit.file] = edit.applied(before)
            if edit.file.endswith(".py"):
                compile(changed[edit.file], edit.file, "exec")
        return changed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check said: ``red`` when it failed; ``output`` is its end."""

    red: bool
    seconds: float
    output: str


class Workshop:
    """A copy of the repository in ``folder`` (made here, left to its owner to remove)."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "repository"
        shutil.copytree(ROOT, self.root, ignore=_NOT_COPIED)

    @contextmanager
    def planted(self, bug: SeededBug) -> Iterator[None]:
        """The copy with this bug in it, and without it afterwards."""
        changed = bug.sources(self.root)
        before = {name: (self.root / name).read_text(encoding="utf-8") for name in changed}
        try:
            self._write(changed)
            yield
        finally:
            self._write(before)

    def check(self, tests: Sequence[str], timeout_seconds: float = 120.0, *, all_of_them: bool = False) -> Verdict:
        """Run these tests in the copy as it is now. One that does not end in time is red: something got stuck.

        Raises:
            CheckBroken: they could not be run.
        """
        started = time.monotonic()
        # -B: two versions of a file within one second must not share a compiled one.
        command = [sys.executable, "-B", "-m", "pytest", "-q", "--timeout=60"]
        command += ["-p", "no:cacheprovider", "-p", "no:randomly"]
        child = subprocess.Popen(
            [*command, *([] if all_of_them else ["-x"]), *tests],
            cwd=self.root,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = child.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            _end(child)
            return Verdict(True, time.monotonic() - started, f"did not end within {timeout_seconds:.0f} s")
        shown = "\n".join(output.splitlines()[-_LINES_SHOWN:])
        if child.returncode not in (_GREEN, _RED):
            raise CheckBroken(f"pytest ended with {child.returncode}:\n{shown}")
        return Verdict(child.returncode == _RED, time.monotonic() - started, shown)

    def _write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.root / name).write_text(text, encoding="utf-8")


def _end(child: subprocess.Popen[str]) -> None:
    """The servers it started end with it by themselves."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
