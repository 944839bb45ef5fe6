"""The borders of a process, found by instrumentation.

Every SQL statement, COPY and commit, every HTTP call, every change of a file or folder. The engine knows nothing of it:
the libraries it goes through are wrapped from outside.

A *point* is one passing of a border: ``stage|border|label|phase|occurrence``. The phases of a border:

    sql      before, after                      one statement
    copy     before, open, after                open: the server is taking rows
    commit   before, sent, after                sent: COMMIT has left, its answer was not read
    connect  before, after
    http     before, sent, answered, read       sent: the request has left, no answer yet; answered: its head has come
    file     before, after                      rename, link, unlink, fsync, mkdir, chmod, and the making of a file

A `Watch` counts points, writes them into a trace and kills its own process at one of them, with a SIGKILL that no
thread, no ``finally`` and no driver survives.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from psycopg.pq import TransactionStatus

MOST_OCCURRENCES = 6
"""The later passings of one border are one point: a loop that waits asks the same question again and again."""

START = "start"
"""The stage before the first: what it passes is of no batch."""

_LABEL_LENGTH = 64
_FILE_CALLS = ("rename", "replace", "link", "unlink", "remove", "fsync", "mkdir", "chmod", "open")
_SPACE = re.compile(r"\s+")
_NAMES = (
    (re.compile(r"\d{8}-[\w-]+-[0-9a-f]{12}"), "<batch>"),
    (re.compile(r"-[a-z0-9_]{8}$"), "-#"),  # a name that was drawn
    (re.compile(r"[0-9a-f]{12,}|\d+"), "#"),
)
_PARTS = re.compile(r"/(?:\d+|bo1-[\w-]+)(?=/|$)")


class Watch:
    """Counts the points of one process; may kill it at one of them.

    ``targets``: names of points, or numbers as text: the n-th point from the start, whatever it is. Where it is said
    which points are ``known``, all others after the start are targets too. The first that is passed is the last.
    """

    def __init__(self, trace: int | None, targets: Collection[str], known: Collection[str] | None = None) -> None:
        self._trace = trace
        self._targets = frozenset(targets)
        self._known = None if known is None else frozenset(known)
        self._stage = START
        self._passed: Counter[str] = Counter()
        self._total = 0
        self._turn = threading.Lock()

    @classmethod
    def from_plan(cls, trace: str, kill: dict[str, Any] | None) -> Watch | None:
        """The watch that a plan asks for; None when it asks for none."""
        if not trace and kill is None:
            return None
        descriptor = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if trace else None
        return cls(descriptor, kill["at"], kill["known"]) if kill else cls(descriptor, ())

    def enter(self, stage: str) -> None:
        """From here on points belong to this stage."""
        self._stage = stage

    def at(self, border: str, label: str, phase: str) -> None:
        """A point is passed, or is the last."""
        with self._turn:
            name = self._name(border, label, phase, count=True)
            self._total += 1
            dies = self._is_last(name, self._total)
            if self._trace is not None:
                os.write(self._trace, f"{name}{KILLED if dies else ''}\n".encode())
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)

    def would_die_at(self, border: str, label: str, phase: str) -> bool:
        """Whether the next passing of this border is the last."""
        with self._turn:
            name = self._name(border, label, phase, count=False)
            return self._is_last(name, self._total + 1)

    def _is_last(self, name: str, number: int) -> bool:
        is_new = self._known is not None and name not in self._known and self._stage != START
        return is_new or not self._targets.isdisjoint((name, str(number)))

    def _name(self, border: str, label: str, phase: str, *, count: bool) -> str:
        kind = f"{self._stage}|{border}|{label}|{phase}"
        number = self._passed[kind] + 1
        if count:
            self._passed[kind] = number
        return f"{kind}|{min(number, MOST_OCCURRENCES)}"


KILLED = "\tKILLED"


class Boundaries:
    """Wraps the borders of this process. Installed once, in a process that is about to be used up."""

    def __init__(self, watch: Watch, home: Path) -> None:
        self._watch = watch
        self._home = str(home)
        self._last: dict[int, str] = {}

    def install(self) -> None:
        """Wrap psycopg, aiohttp and the calls of ``os`` that change files."""
        self._wrap_database()
        self._wrap_http()
        for name in _FILE_CALLS:
            setattr(os, name, self._file_call(name, getattr(os, name)))

    def _wrap_database(self) -> None:
        watch, last = self._watch, self._last
        execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy
        commit, rollback, connect = psycopg.Connection.commit, psycopg.Connection.rollback, psycopg.Connection.connect

        @functools.wraps(execute)
        def watched_execute(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            label = statement_label(query)
            last[id(cursor.connection)] = label
            watch.at("sql", label, "before")
            result = execute(cursor, query, *arguments, **options)
            watch.at("sql", label, "after")
            return result

        @contextmanager
        def watched_copy(cursor: Any, query: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
            label = statement_label(query)
            last[id(cursor.connection)] = label
            watch.at("copy", label, "before")
            with copy(cursor, query, *arguments, **options) as running:
                yield running
                watch.at("copy", label, "open")
            watch.at("copy", label, "after")

        @functools.wraps(connect)
        def watched_connect(*arguments: Any, **options: Any) -> Any:
            watch.at("connect", "database", "before")
            connection = connect(*arguments, **options)
            watch.at("connect", "database", "after")
            return connection

        psycopg.Cursor.execute = watched_execute  # type: ignore[method-assign, assignment]
        psycopg.Cursor.copy = watched_copy  # type: ignore[method-assign, assignment]
        psycopg.Connection.commit = self._ending(commit, "COMMIT")  # type: ignore[method-assign, assignment]
        psycopg.Connection.rollback = self._ending(rollback, "ROLLBACK")  # type: ignore[method-assign, assignment]
        psycopg.Connection.connect = watched_connect  # type: ignore[method-assign]
        psycopg.connect = watched_connect

    def _ending(self, original: Callable[[Any], None], word: str) -> Callable[[Any], None]:
        watch, last, border = self._watch, self._last, word.lower()

        @functools.wraps(original)
        def ending(connection: Any) -> None:
            if connection.pgconn.transaction_status in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN):
                original(connection)
                return
            label = last.get(id(connection), "-")
            watch.at(border, label, "before")
            if watch.would_die_at(border, label, "sent"):
                connection.pgconn.send_query(word.encode())
                connection.pgconn.flush()
            watch.at(border, label, "sent")
            original(connection)
            watch.at(border, label, "after")

        return ending

    def _wrap_http(self) -> None:
        watch = self._watch
        request, start = aiohttp.ClientSession._request, aiohttp.ClientResponse.start
        leave = aiohttp.ClientResponse.__aexit__

        @functools.wraps(request)
        async def watched_request(session: Any, method: str, url: Any, **options: Any) -> Any:
            watch.at("http", call_label(method, str(url)), "before")
            return await request(session, method, url, **options)

        @functools.wraps(start)
        async def watched_start(response: Any, connection: Any) -> Any:
            label = call_label(response.method, str(response.url))
            watch.at("http", label, "sent")
            result = await start(response, connection)
            watch.at("http", label, "answered")
            return result

        @functools.wraps(leave)
        async def watched_leave(response: Any, *arguments: Any) -> None:
            watch.at("http", call_label(response.method, str(response.url)), "read")
            await leave(response, *arguments)

        aiohttp.ClientSession._request = watched_request  # type: ignore[method-assign, assignment]
        aiohttp.ClientResponse.start = watched_start  # type: ignore[method-assign, assignment]
        aiohttp.ClientResponse.__aexit__ = watched_leave  # type: ignore[method-assign, assignment]

    def _file_call(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*arguments: Any, **options: Any) -> Any:
            label = self._file_label(name, arguments)
            if label is None:
                return original(*arguments, **options)
            self._watch.at("file", label, "before")
            result = original(*arguments, **options)
            self._watch.at("file", label, "after")
            return result

        return call

    def _file_label(self, name: str, arguments: tuple[Any, ...]) -> str | None:
        """None: not ours, or nothing is changed."""
        if name == "open" and not (len(arguments) > 1 and arguments[1] & os.O_CREAT):
            return None
        path = _path_of(arguments[0])
        if path is None or not path.startswith(self._home):
            return None
        relative = path[len(self._home) :]
        for pattern, word in _NAMES:
            relative = pattern.sub(word, relative)
        return f"{name} {relative}"


def statement_label(query: Any) -> str:
    """The beginning of a statement, on one line; parameters are never part of it."""
    text = query.decode(errors="replace") if isinstance(query, bytes) else str(query)
    return _SPACE.sub(" ", text).strip().replace("|", "!")[:_LABEL_LENGTH]


def call_label(method: str, url: str) -> str:
    """Method and route, without ids and keys."""
    path = "/" + url.split("://", 1)[-1].partition("/")[2]
    return f"{method} {_PARTS.sub('/#', path)}"


def _path_of(target: Any) -> str | None:
    try:
        if isinstance(target, int):
            return os.readlink(f"/proc/self/fd/{target}")  # noqa: PTH115  # Path would come back to the wrapped calls
        return os.path.abspath(os.fsdecode(target))  # noqa: PTH100  # as above
    except (OSError, TypeError):
        return None
