"""Harm to connections with PostgreSQL, above all at COMMIT: whether the transaction counts is then unknown to us."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping

from evidence.proxy.listener import Connect, End
from evidence.proxy.raw import Toxics, pump

# psycopg commits by a simple query of its own, which is nothing but this message.
_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"

CUTS: Mapping[str, str] = {
    "commit_lost": "COMMIT is not passed on, both sides are reset: rolled back, and we do not know",
    "commit_answer_lost": "COMMIT is passed on and done, its answer is lost: committed, and we do not know",
    "commit_raced": "COMMIT is passed on and both sides are reset at once: nobody can say",
    "statement_lost": "reset in the middle of a transaction",
}


class PostgresHarm:
    """The relay of a proxy before PostgreSQL. ``rates``: share of the COMMITs (statements) cut in each way.

    ``fired`` counts the cuts, ``commits`` what went through unharmed.
    """

    def __init__(self, rates: Mapping[str, float], seed: int) -> None:
        if rates.keys() - CUTS.keys():
            raise ValueError(f"no such cuts: {sorted(rates.keys() - CUTS.keys())}")
        self.rates = dict(rates)
        self.fired: Counter[str] = Counter()
        self.commits = 0
        self._dice = random.Random(seed)

    async def __call__(self, client: End, connect: Connect) -> None:
        """Carry one session."""
        server = await connect()
        downward = asyncio.create_task(pump(server, client, Toxics()))
        try:
            while data := await client.read():
                kind = self._struck(data)
                if kind is not None:
                    self.fired[kind] += 1
                    await self._cut(kind, client, server, downward, data)
                    return
                if not await server.write(data):
                    return
        finally:
            downward.cancel()

    def _struck(self, data: bytes) -> str | None:
        chance = self._dice.random()
        if not data.endswith(_COMMIT):
            return "statement_lost" if chance < self.rates.get("statement_lost", 0.0) else None
        for kind, rate in self.rates.items():
            if kind != "statement_lost":
                chance -= rate
                if chance < 0:
                    return kind
        self.commits += 1
        return None

    async def _cut(self, kind: str, client: End, server: End, downward: asyncio.Task[None], data: bytes) -> None:
        if kind == "commit_answer_lost":
            downward.cancel()
            await asyncio.gather(downward, return_exceptions=True)
            await server.write(data)
            await server.read()
        elif kind == "commit_raced":
            await server.write(data)
        client.reset()
        server.reset()
