"""A TCP proxy on a thread of its own. What happens to a connection is its relay's business; this accepts and cleans up.

Loopback only. Nothing of the product is imported: the proxy belongs to the witness, not to the engine.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType

_PIECE = 65_536
_LINGER_NOTHING = struct.pack("ii", 1, 0)


class End:
    """One side of a relayed connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """What has arrived; empty when the other one has ended, in whatever way."""
        with suppress(ConnectionError):
            return await self.reader.read(_PIECE)
        return b""

    async def write(self, data: bytes) -> bool:
        """Pass bytes on; False when nobody is there any more."""
        if self._writer.is_closing():
            return False
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()
            return True
        return False

    def finish(self) -> None:
        """Half-close: no more bytes from here, reading goes on."""
        with suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._writer.write_eof()

    def reset(self) -> None:
        """End at once with RST: what was on its way is lost."""
        with suppress(OSError):
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
        self._writer.transport.abort()

    def close(self) -> None:
        """End in order: what was written still arrives."""
        self._writer.close()


Connect = Callable[[], Awaitable[End]]
"""Opens one more connection to the server behind the proxy. Raises OSError."""

Relay = Callable[[End, Connect], Awaitable[None]]
"""Carries one client's connection to its end."""


class Proxy:
    """Listens on a port of 127.0.0.1 and hands each connection to ``relay``. A context manager.

    ``target``: where the server is at the moment of each connection; it may move while the proxy stands.
    """

    def __init__(self, target: Callable[[], tuple[str, int]], relay: Relay) -> None:
        self._target = target
        self._relay = relay
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="evidence-proxy", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        self._ends: set[End] = set()
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def cut_all(self) -> int:
        """Reset every connection that stands now; how many clients had one."""
        return asyncio.run_coroutine_threadsafe(self._cut_all(), self._loop).result()

    async def _cut_all(self) -> int:
        standing = len(self._links)
        for end in list(self._ends):
            end.reset()
        return standing

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._carry(End(reader, writer)))
        self._links.add(task)
        task.add_done_callback(self._links.discard)

    async def _carry(self, client: End) -> None:
        ends = [client]
        self._ends.add(client)

        async def connect() -> End:
            reader, writer = await asyncio.open_connection(*self._target())
            ends.append(End(reader, writer))
            self._ends.add(ends[-1])
            return ends[-1]

        try:
            await self._relay(client, connect)
        except OSError:
            client.reset()  # nobody behind us
        finally:
            for end in ends:
                end.close()
                self._ends.discard(end)
