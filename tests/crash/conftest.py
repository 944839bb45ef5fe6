"""One place for all tests of crashes: a database server, and a process that forks workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evidence.scenario import Ground


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """For the whole session: to start it takes seconds."""
    with Ground() as made:
        yield made
