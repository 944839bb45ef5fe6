"""A whole database into a file and back, by PostgreSQL's own programs.

The address goes by the environment of the child, never by its arguments; what the programs print may hold rows, and is
not kept.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from domain.errors import SettingRefused, TerminalError
from resources.local import postgres_programs

_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
}


def dump(url: str, target: Path, snapshot: str) -> None:
    """Everything that the database holds at this exported snapshot, into one file, mode 0600.

    Raises:
        TerminalError: SYS-BACKUP-FAILED.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    options = ["--format=custom", "--compress=gzip:3", f"--snapshot={snapshot}", f"--file={target}"]
    _run("pg_dump", url, options, "SYS-BACKUP-FAILED")


def load(url: str, source: Path) -> None:
    """Fill an empty database: all of the file, or nothing.

    Raises:
        TerminalError: SYS-RESTORE-FAILED.
    """
    name = conninfo_to_dict(url).get("dbname")
    options = ["--single-transaction", "--exit-on-error", f"--dbname={name}", str(source)]
    _run("pg_restore", url, options, "SYS-RESTORE-FAILED")


def _run(program: str, url: str, options: Sequence[str], code: str) -> None:
    try:
        programs = postgres_programs.programs(None, Path())
        command = [str(programs / program), "--no-password", *options]
        done = subprocess.run(
            command,
            env=_environment(url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, postgres_programs.CannotRun):
        raise TerminalError(code, program=program) from None
    if done.returncode != 0:
        raise TerminalError(code, program=program)


def _environment(url: str) -> dict[str, str]:
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        raise SettingRefused("SYS-SETTING-INVALID", variable="DATABASE_URL", expected="postgresql://...") from None
    known = {_VARIABLES[name]: str(value) for name, value in given.items() if name in _VARIABLES and value is not None}
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "PGCONNECT_TIMEOUT": "10", **known}
