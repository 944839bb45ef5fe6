"""What every run would do for itself, done once: of what serves people, the fork server (code_server.py) imports it.

Importing is most of it. Pandera imports its backends when a check first runs, half a second of each run otherwise.
Nothing here reads a setting, connects or starts a thread. What fails is left to the run, which then says why.
"""

import gc
import importlib
from contextlib import suppress

_NEEDED = [
    "assets.validated_csv.work",
    "dagster._cli.api",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.noop_compute_log_manager",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._grpc.impl",
    "dagster._utils.test.definitions",
    "orchestration.dagster_storage",
    "orchestration.definitions",
    "psycopg2.extras",
    "upath.implementations.local",
]
"""Ours, and what Dagster and its storage import only when they need it."""


def _load_definitions() -> None:
    from orchestration.definitions import build_defs
    from orchestration.job_names import PROCESS_BATCH
    from orchestration.settings import Settings

    build_defs(Settings()).resolve_job_def(PROCESS_BATCH)


def _check_no_row() -> None:
    import pandas as pd

    from checks.schemas import ORDER_TEXT, TEXT

    list(ORDER_TEXT.broken(pd.DataFrame({name: pd.Series([], dtype=TEXT) for name in ORDER_TEXT.columns})))


for _name in _NEEDED:
    with suppress(Exception):
        importlib.import_module(_name)
for _work in (_load_definitions, _check_no_row):
    with suppress(Exception):
        _work()

# It stays for good: the collector of a run would look at all of it again and again (7 % of the time of validating and
# creating), and copy the pages that a run shares with us.
gc.collect()
gc.freeze()
