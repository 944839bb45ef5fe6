"""Intents committed ahead of their calls, so that a free place is filled at once and many intents share a commit.

Only as many are ahead as leave within a moment: after a crash each of them has to be looked up, and an order that is
cancelled meanwhile is paid all the same. None where nothing but a person could tell whether a call was made (neither
keys nor a look-up), and none where calls wait for the places of a rate limit anyway.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from assets.effects.concurrency import Concurrency
from assets.effects.ledger import Ledger
from domain.errors import BulkOrdersError
from domain.profiles import ServiceProfile
from domain.states import EffectKind
from resources.database.effects import ClaimedEffect

LOOK_SECONDS = 0.25  # between two questions to the database whether somebody else has made something due

_AHEAD_SECONDS = 0.5
_GATHER_SHARE = 0.01
_QUEUE_SHARE = 0.25
_LONGEST_GATHER_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ReadyCall:
    """What may leave in one call, claimed at a moment of the loop's clock (seconds)."""

    claims: Sequence[ClaimedEffect]
    claimed_at: float


class Claims:
    """The claimed effects of one lane that wait for a free place. Used from one event loop."""

    def __init__(
        self,
        kind: EffectKind,
        ledger: Ledger,
        profile: ServiceProfile,
        concurrency: Concurrency,
        chunk: int,
        free_places: Callable[[], int],
        on_ready: Callable[[], None],
    ) -> None:
        """``chunk``: effects per commit at most. ``on_ready``: called when a claim has come to an end."""
        self._kind = kind
        self._ledger = ledger
        self._concurrency = concurrency
        self._per_call = max(1, profile.batch_size)
        self._calls_per_commit = max(1, chunk // self._per_call)
        self._rate_per_second = profile.calls_per_second
        self._goes_ahead = profile.outcome_can_be_known and self._rate_per_second is None
        self._free_places = free_places
        self._on_ready = on_ready
        self._ready: deque[ReadyCall] = deque()
        self._claiming: asyncio.Task[None] | None = None
        self._ask_at = float("-inf")

    def due_in(self, seconds: float) -> None:
        """Something may be claimed then; 0: there is something new."""
        self._ask_at = min(self._ask_at, _now() + seconds) if seconds else float("-inf")

    @property
    def is_empty(self) -> bool:
        """Nothing is ready, and nothing is being claimed."""
        return not self._ready and self._claiming is None

    def take(self) -> ReadyCall | None:
        """The next call."""
        return self._ready.popleft() if self._ready else None

    def refill(self, calls: asyncio.TaskGroup) -> None:
        """Begin to claim what is missing, unless that is under way or nothing was due a moment ago."""
        if self._claiming is None and _now() >= self._ask_at and self._missing():
            self._claiming = calls.create_task(self._claim())

    async def give_back(self) -> None:
        """What was never sent; whoever has the batch next claims it again."""
        order_ids = [claim.order.order_id for call in self._ready for claim in call.claims]
        self._ready.clear()
        if order_ids:
            with suppress(BulkOrdersError):  # our hold is over: whoever has the batch next looks them up
                await self._ledger.release_unsent(self._kind, order_ids)

    async def _claim(self) -> None:
        try:
            await asyncio.sleep(self._gather_seconds())
            wanted = min(self._missing(), self._calls_per_commit) * self._per_call
            self._ask_at = _now() + LOOK_SECONDS  # set before: whoever makes something due meanwhile sets it back
            claimed = await self._ledger.claim(self._kind, wanted)
            if len(claimed) == wanted:
                self._ask_at = float("-inf")
            self._ready.extend(ReadyCall(together, _now()) for together in self._in_calls(claimed))
        finally:
            self._claiming = None
            self._on_ready()

    def _missing(self) -> int:
        """Calls: what the free places take; and what is to be ahead, as soon as half of that is used up."""
        ready, free, ahead = len(self._ready), self._free_places(), self._ahead()
        return max(0, free + ahead - ready) if ready < free or ready <= ahead // 2 else 0

    def _ahead(self) -> int:
        latency = self._concurrency.latency_seconds
        if not self._goes_ahead or not latency:
            return 0
        return int(self._concurrency.limit * min(1.0, _AHEAD_SECONDS / latency))

    def _in_calls(self, claims: Sequence[ClaimedEffect]) -> Iterator[Sequence[ClaimedEffect]]:
        """As they travel together. What was in doubt goes alone: what a call failed on must not fail others again."""
        fresh = [claim for claim in claims if not claim.was_in_doubt]
        yield from ([claim] for claim in claims if claim.was_in_doubt)
        yield from (fresh[start : start + self._per_call] for start in range(0, len(fresh), self._per_call))

    def _gather_seconds(self) -> float:
        """How long free places may wait for more of them, to be filled in one commit, without anybody noticing.

        A small part of what a call takes; and a part of the time that those in the queue of a rate limit keep it busy.
        """
        if self._ahead():
            return 0.0
        in_flight = self._concurrency.limit - self._free_places()
        queued = in_flight / self._rate_per_second if self._rate_per_second else 0.0
        shares = max(_GATHER_SHARE * self._concurrency.latency_seconds, _QUEUE_SHARE * queued)
        return min(_LONGEST_GATHER_SECONDS, shares)


def _now() -> float:
    return asyncio.get_running_loop().time()
