"""Progress on the terminal: one bar per stage with processed, total and time left (LIM-006).

What is shown is read from the database, so it is the same whoever does the work. Without a terminal, one line at a
time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from domain import catalogue
from orchestration.summary import stage_text
from resources.database.books import Books

_LINE_SECONDS = 5.0


class Watcher(Protocol):
    """Shows how far a batch is."""

    def show(self, books: Books) -> None:
        """Show the books as they are now."""


@contextmanager
def watcher(language: str, quiet: bool) -> Iterator[Watcher]:
    """Bars on a terminal, lines elsewhere, nothing when ``quiet``; all on standard error."""
    if quiet:
        yield _Silence()
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield _Bars(progress, catalogue.words("stages", language))
    else:
        yield _Lines(lambda line: click.echo(line, err=True), language)


class _Silence:
    def show(self, books: Books) -> None:
        pass


class _Bars:
    def __init__(self, progress: Progress, names: Mapping[str, str]) -> None:
        self._progress = progress
        self._names = names
        self._tasks: dict[str, TaskID] = {}

    def show(self, books: Books) -> None:
        for stage in books.progress():
            if stage.stage not in self._tasks:
                self._tasks[stage.stage] = self._progress.add_task(self._names[stage.stage], total=max(stage.total, 1))
            self._progress.update(self._tasks[stage.stage], completed=stage.processed, total=max(stage.total, 1))


class _Lines:
    def __init__(self, write: Callable[[str], None], language: str) -> None:
        self._write = write
        self._language = language
        self._last = ""
        self._last_time = 0.0

    def show(self, books: Books) -> None:
        stages = books.progress()
        line = "  ".join(stage_text(stage, self._language) for stage in stages)
        finished = all(stage.processed >= stage.total for stage in stages)
        due = time.monotonic() - self._last_time >= _LINE_SECONDS or finished
        if line != self._last and due:
            self._write(line)
            self._last, self._last_time = line, time.monotonic()
