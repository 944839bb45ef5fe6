"""Harm to single HTTP/1.1 exchanges on connections that are kept alive: before the effect, after it, and twice.

The dice depend on the seed and on the how-manieth time this very request comes, never on the order of arrival: the same
seed gives the same faults at any concurrency.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Mapping

from evidence.proxy.listener import Connect, End

FAULTS: Mapping[str, str] = {
    "request_lost": "reset before the request is passed on: nothing done",
    "request_cut": "half of the request is passed on, then both sides are reset: nothing done",
    "request_swallowed": "not passed on, and never an answer",
    "request_late": "reset at once, the request arrives only later",
    "request_twice": "delivered twice at the same time; the first answer is passed on",
    "answer_lost": "done, reset without a byte of the answer",
    "answer_swallowed": "done, and never an answer",
    "answer_cut": "done, half of the answer, then an orderly end",
    "answer_reset": "done, half of the answer, then a reset",
    "half_closed": "done, and the connection ends in order before the answer",
}
HARMLESS: Mapping[str, str] = {
    "answer_sliced": "the answer comes byte by byte",
    "answer_delayed": "the answer comes later, but in time",
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NO_BODY = (b"HTTP/1.1 204", b"HTTP/1.1 304")


class HttpHarm:
    """The relay of one HTTP proxy: strikes exchanges at the ``rates``, and remembers what really ``fired``.

    Args:
        rates: share of the exchanges that meet a fault, by kind.
        late_seconds: how much later a late request or answer arrives.
    """

    def __init__(self, rates: Mapping[str, float], seed: int, late_seconds: float = 0.3) -> None:
        unknown = rates.keys() - FAULTS.keys() - HARMLESS.keys()
        if unknown or sum(rates.values()) > 1:
            raise ValueError(f"no such faults, or more than all of the exchanges: {sorted(unknown)}")
        self.rates = dict(rates)
        self.fired: Counter[str] = Counter()
        self._seed = seed
        self._late_seconds = late_seconds
        self._seen: Counter[bytes] = Counter()

    @property
    def harmful(self) -> int:
        """Faults that fired, without those that a client cannot notice."""
        return sum(count for kind, count in self.fired.items() if kind in FAULTS)

    async def __call__(self, client: End, connect: Connect) -> None:
        """Carry one client's connection, exchange by exchange."""
        server = await connect()
        while request := await read_message(client):
            kind = self._struck(request)
            if kind is not None:
                self.fired[kind] += 1
            if not await self._exchange(client, server, connect, request, kind):
                return

    def _struck(self, request: bytes) -> str | None:
        head, _, body = request.partition(b"\r\n\r\n")
        same = head.partition(b"\r\n")[0] + body
        self._seen[same] += 1
        digest = hashlib.blake2b(b"%d|%d|%s" % (self._seed, self._seen[same], same), digest_size=7).digest()
        chance = int.from_bytes(digest) / float(1 << 56)
        for kind, rate in self.rates.items():
            chance -= rate
            if chance < 0:
                return kind
        return None

    async def _exchange(self, client: End, server: End, connect: Connect, request: bytes, kind: str | None) -> bool:
        """One request and its answer; whether the connection goes on."""
        match kind:
            case "request_lost":
                client.reset()
                return False
            case "request_cut":
                await server.write(request[: len(request) // 2])
                server.reset()
                client.reset()
                return False
            case "request_swallowed":
                await _until_gone(client)
                return False
            case "request_late":
                client.reset()
                await asyncio.sleep(self._late_seconds)
                await server.write(request)
                await read_message(server)
                return False
            case "request_twice":
                second = await connect()
                await asyncio.gather(server.write(request), second.write(request))
                first, _ = await asyncio.gather(read_message(server), read_message(second))
                return await client.write(first)
        await server.write(request)
        return await self._answer(client, await read_message(server), kind)

    async def _answer(self, client: End, answer: bytes, kind: str | None) -> bool:
        match kind:
            case "answer_lost":
                client.reset()
            case "answer_swallowed":
                await _until_gone(client)
            case "answer_cut":
                await client.write(answer[: _half(answer)])
            case "answer_reset":
                await client.write(answer[: _half(answer)])
                client.reset()
            case "half_closed":
                client.finish()
                await _until_gone(client)
            case "answer_sliced":
                sent = [await client.write(answer[place : place + 1]) for place in range(len(answer))]
                return all(sent) and _is_complete(answer)
            case _:
                if kind == "answer_delayed":
                    await asyncio.sleep(self._late_seconds / 3)
                return await client.write(answer) and _is_complete(answer)
        return False


async def read_message(end: End) -> bytes:
    """One request or answer, head and body; what there is of it when the connection ends before."""
    message = b""
    while not _is_complete(message):
        data = await end.read()
        if not data:
            return message
        message += data
    return message


def _is_complete(message: bytes) -> bool:
    """All clients and servers here state their lengths, and nobody sends a second message before the first's answer."""
    head, end, body = message.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and (length is None or message.startswith(_NO_BODY) or len(body) >= int(length[1]))


def _half(answer: bytes) -> int:
    """Inside the body: the head says how long it should have been."""
    head, end, body = answer.partition(b"\r\n\r\n")
    return len(head) + len(end) + len(body) // 2


async def _until_gone(end: End) -> None:
    while await end.read():
        pass
