"""Dagster's code server, whose run workers are forked from a process that has imported everything already.

    python -m orchestration.code_server OPTIONS      the options of `dagster api grpc`

The stock server starts a new interpreter for each run: 2.4 seconds of imports, and another for pandas and Pandera,
before half a second of work. Here a fork server (part of Python's multiprocessing) imports once and forks for each run.
It has no Python threads and no connections; OpenBLAS and jemalloc keep a native thread each. Each run still has a
process of its own, which can be killed and is missed by the run launcher like any other.
"""

import multiprocessing
from multiprocessing import forkserver
from typing import Any

import dagster._grpc.server as grpc_server
from dagster._cli.api import grpc_command

WARM_UP = "orchestration.warm_up"
"""Imported by the fork server; what is wrong with it is left to the run, which then says why."""


class WarmApiServer(grpc_server.DagsterApiServer):
    """Starts run workers from the fork server; everything else is Dagster's."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # The one attribute it starts processes by; a test holds that runs really come from the fork server.
        self._mp_ctx = multiprocessing.get_context("forkserver")  # type: ignore[assignment]  # declared as the spawn context


def main() -> None:
    """Begin importing, then serve until told to stop."""
    forkserver.set_forkserver_preload([WARM_UP])
    forkserver.ensure_running()
    grpc_server.DagsterApiServer = WarmApiServer  # type: ignore[misc]  # the command looks it up when it starts
    grpc_command()


if __name__ == "__main__":
    main()
