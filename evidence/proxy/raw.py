"""Harm that needs no knowledge of the protocol: latency, slices, silence, resets and half-closes after some bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from evidence.proxy.listener import Connect, End, Relay


@dataclass(frozen=True, slots=True)
class Toxics:
    """What one direction of a connection suffers. Byte counts are of what was passed on in that direction.

    ``slice_bytes``: passed on in pieces of so many bytes, each by itself. ``silent_after``: from then on bytes are
    swallowed and the connection stays open. ``reset_after``: then both sides get an RST; ``finish_after``: then only
    this direction ends, in order.
    """

    latency_seconds: float = 0.0
    slice_bytes: int | None = None
    silent_after: int | None = None
    reset_after: int | None = None
    finish_after: int | None = None

    @property
    def limit(self) -> int | None:
        """Bytes after which something ends; None: nothing does."""
        given = [n for n in (self.silent_after, self.reset_after, self.finish_after) if n is not None]
        return min(given) if given else None


@dataclass(frozen=True, slots=True)
class Harm:
    """What a connection suffers: ``up`` towards the server, ``down`` towards the client."""

    up: Toxics = field(default_factory=Toxics)
    down: Toxics = field(default_factory=Toxics)


def raw_relay(harm: Callable[[], Harm]) -> Relay:
    """Pass bytes both ways; ``harm`` is asked once for each connection."""

    async def relay(client: End, connect: Connect) -> None:
        suffered = harm()
        server = await connect()
        async with asyncio.TaskGroup() as both:
            both.create_task(pump(client, server, suffered.up))
            both.create_task(pump(server, client, suffered.down))

    return relay


async def pump(source: End, sink: End, toxics: Toxics) -> None:
    """One direction, until its source ends or the harm says so."""
    passed, limit = 0, toxics.limit
    while data := await source.read():
        await asyncio.sleep(toxics.latency_seconds)
        whole = len(data)
        data = data if limit is None else data[: limit - passed]
        if not await _write(sink, data, toxics.slice_bytes):
            source.reset()
            return
        passed += len(data)
        if limit is not None and (passed >= limit or len(data) < whole):
            await _end(source, sink, toxics)
            return
    sink.finish()


async def _write(sink: End, data: bytes, slice_bytes: int | None) -> bool:
    size = slice_bytes or max(1, len(data))
    for start in range(0, len(data), size):
        if not await sink.write(data[start : start + size]):
            return False
        if slice_bytes is not None:
            await asyncio.sleep(0)  # each slice is a write of its own
    return True


async def _end(source: End, sink: End, toxics: Toxics) -> None:
    limit = toxics.limit
    if toxics.reset_after == limit:
        source.reset()
        sink.reset()
    elif toxics.finish_after == limit:
        sink.finish()
    else:
        with suppress(ConnectionError):
            while await source.read():
                pass
