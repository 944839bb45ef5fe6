"""One of the two sandbox services as a process on this machine. It stands for somebody else's system.

State lies under ``<home>/sandbox``: ``<kind>.sqlite`` (its ledger), ``<kind>.ready.json`` (its address, written by
itself) and ``<kind>.process.json`` (process of the last start).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from domain.errors import PortTaken, ServiceUnavailable
from resources.local import children
from resources.local.files import write_private

Kind = Literal["payments", "notifications"]
START_SECONDS = 20.0
STOP_SECONDS = 5.0


class SandboxService:
    """The payment or the notification service of the sandbox, known by its ``home`` and ``kind``.

    Args:
        home: the installation's folder; made when missing.
        kind: which of the two.
        port: a fixed port, or 0 for the last used or any free one.
        options: further options of ``python -m sandbox`` (latency, faults, capabilities).
    """

    def __init__(self, home: Path, kind: Kind, port: int = 0, options: Sequence[str] = ()) -> None:
        self.home = home.absolute()
        self.kind = kind
        self._fixed_port = port
        self._options = list(options)
        self._folder = self.home / "sandbox"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def ledger(self) -> Path:
        """The SQLite file with what the service did."""
        return self._folder / f"{self.kind}.sqlite"

    @property
    def url(self) -> str:
        """Its base address; empty before the first start."""
        return str(self._read("ready").get(self.kind, ""))

    @property
    def pid(self) -> int:
        """The process of the last start; 0 when it never started."""
        return int(self._read("process").get("pid", 0))

    def is_running(self) -> bool:
        """Whether the process of the last start lives and answers HTTP (any answer counts)."""
        process = self._read("process")
        if not self.url or not children.is_alive(int(process.get("pid", 0)), str(process.get("started"))):
            return False
        try:
            with _DIRECT.open(self.url + "/", timeout=3):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def start(self, *, ends_with_us: bool = False) -> None:
        """Start it and return when it answers. Running already is fine.

        Raises:
            ServiceUnavailable: it did not come up; its log is ``<home>/logs/sandbox-<kind>.log``.
        """
        if self._child is not None and self._child.poll() is not None:
            self._child = None  # it was killed; asking is what lets the system forget it
        if self.is_running():
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        known_port = 0 if self._fixed_port else _port_of(self.url)
        for port in dict.fromkeys((self._fixed_port or known_port, self._fixed_port)):
            if self._launch(port, ends_with_us):
                return
        if self._fixed_port:
            raise PortTaken("SYS-PORT-TAKEN", port=self._fixed_port, setting=f"--{self.kind}-port")
        raise ServiceUnavailable("SYS-SERVICE-UNREACHABLE", service=f"sandbox {self.kind}")

    def start_again(self) -> None:
        """The same on the port of the last start: whoever uses it knows no other.

        Raises:
            PortTaken: it is in use by somebody else.
        """
        self._fixed_port = self._fixed_port or _port_of(self.url)
        self.start()

    def stop(self) -> None:
        """End it. Not running is fine."""
        process = self._read("process")
        if process:
            children.end(int(process["pid"]), str(process["started"]), grace_seconds=STOP_SECONDS)
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _launch(self, port: int, ends_with_us: bool) -> bool:
        ready = self._path("ready")
        ready.unlink(missing_ok=True)
        command = [sys.executable, "-m", "sandbox", f"--{self.kind}-port", str(port), "--ledger", str(self.ledger)]
        child = children.spawn(
            [*command, "--ready-file", str(ready), *self._options],
            log=self.home / "logs" / f"sandbox-{self.kind}.log",
            environment=children.python_environment(),
            ends_with_us=15 if ends_with_us else 0,
        )
        write_private(self._path("process"), json.dumps({"pid": child.pid, "started": children.start_time(child.pid)}))
        children.wait_until(lambda: child.poll() is not None or self.is_running(), START_SECONDS)
        if child.poll() is None and self.is_running():
            self._child = child
            return True
        child.kill()
        child.wait()
        return False

    def _path(self, name: str) -> Path:
        return self._folder / f"{self.kind}.{name}.json"

    def _read(self, name: str) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._path(name).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback never goes through a proxy


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2].strip("/") or 0) if url else 0
