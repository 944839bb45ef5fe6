"""What a process makes once and keeps, and a process forked from it must never touch.

A connection that two processes read from answers neither of them. So a forked child begins with nothing: what its
parent keeps is forgotten there, not closed.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")
_everything: weakref.WeakSet[PerProcess[Any, Any]] = weakref.WeakSet()


class PerProcess(Generic[Key, Kept]):
    """One value for each key and process, made when it is first asked for; safe to share between threads.

    Args:
        make: makes the value of a key. One at a time.
        forget: lets go of a parent's value in a forked child, without a word to whoever is connected.
    """

    def __init__(self, make: Callable[[Key], Kept], forget: Callable[[Kept], object]) -> None:
        self._make = make
        self._forget = forget
        self._kept: dict[Key, Kept] = {}
        self._turn = threading.Lock()
        _everything.add(self)

    def get(self, key: Key) -> Kept:
        """The value of this key."""
        with self._turn:
            if key not in self._kept:
                self._kept[key] = self._make(key)
            return self._kept[key]

    def begin_anew(self) -> None:
        """In a forked child: another thread of the parent may have held the lock, and is not here to release it."""
        self._turn = threading.Lock()
        for value in self._kept.values():
            self._forget(value)
        self._kept = {}


def _forked() -> None:
    for one in list(_everything):
        one.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
