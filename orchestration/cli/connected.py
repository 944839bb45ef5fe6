"""The database of a command that needs nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from orchestration import local_services
from orchestration.account import account_name
from orchestration.bindings import open_database
from orchestration.settings import Settings
from orchestration.version import code_version
from resources.database.connection import Actor
from resources.database.database import Database


def connected_database(settings: Settings, held: ExitStack) -> Database:
    """The migrated database, open as long as ``held``; our own server is started where it does not run.

    Raises:
        BulkOrdersError: it does not start, does not answer or cannot be used.
    """
    url = local_services.prepared_database(settings, held)
    actor = Actor(f"cli:{account_name()}", "", code_version())
    database = open_database(replace(settings, database_url=url), actor)
    held.callback(database.dispose)
    return database
