"""The held batch as the event loop sees it: one writing session, one thread, results committed in natural groups.

Whatever came in while the last commit ran is the next commit. The mail of an order is planned in the transaction that
settles its payment: killed before, neither is known; killed after, both are.

When the database goes away, everything waits here until the hold is taken again; what we know is not lost with a
session. A transaction whose commit was never answered is repeated, and finds what the first try did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from assets.effects.following import payments_done
from domain.errors import BulkOrdersError, InvariantBroken
from domain.outcomes import OutcomeClass
from domain.profiles import ServiceProfile
from domain.states import EffectKind, EffectState
from resources.database import effects, repeats, security
from resources.database.database import BatchHold
from resources.database.effects import ClaimedEffect, OrderFacts, Settlement, UnknownEffect

Result = TypeVar("Result")

_GATHER_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Entry:
    """One result on its way into the database, with the order it is about."""

    kind: EffectKind
    settlement: Settlement
    order: OrderFacts


Waiting = tuple[Entry, "asyncio.Future[EffectState | None]"]
States = dict[tuple[EffectKind, int], EffectState]


class Ledger:
    """Reads and writes the effects of one held batch. Used from one event loop."""

    def __init__(
        self,
        hold: BatchHold,
        profiles: dict[EffectKind, ServiceProfile],
        make_mail: Callable[[OrderFacts], bytes],
        on_mail_planned: Callable[[], None],
    ) -> None:
        self._hold = hold
        self._profiles = profiles
        self._make_mail = make_mail
        self._on_mail_planned = on_mail_planned
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._waiting: list[Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        # Claims that were handed out and are not settled. Touched on the ledger's thread only.
        self._handed_out: dict[EffectKind, set[int]] = {kind: set() for kind in EffectKind}
        self._last_words: set[asyncio.Future[None]] = set()

    async def recover(self, kind: EffectKind) -> int:
        """Put in doubt what a dead predecessor was sending; the number of those."""
        settle = self._profiles[kind].settle_seconds
        return await self._run(lambda tx: effects.recover(tx, kind, self._hold.batch_id, self._hold.epoch, settle))

    async def claim(self, kind: EffectKind, limit: int) -> list[ClaimedEffect]:
        """Commit the intent to send up to ``limit`` effects."""
        claiming = asyncio.get_running_loop().run_in_executor(self._thread, self._claim, kind, limit)
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # Nobody will send them: given back as soon as they are there.
            self._say_last(self._give_back_all(kind, claiming))
            raise

    async def due_unknown(self, kind: EffectKind, limit: int) -> list[UnknownEffect]:
        """Effects in doubt that are due for a look-up."""
        return await self._run(lambda tx: effects.due_unknown(tx, kind, self._hold.batch_id, limit))

    async def seconds_until_due(self, kind: EffectKind) -> float | None:
        """Seconds until something can be done; None when nothing is open."""
        return await self._run(lambda tx: effects.seconds_until_due(tx, kind, self._hold.batch_id))

    async def release_unsent(self, kind: EffectKind, order_ids: Sequence[int]) -> None:
        """Give back claims that were certainly never sent; also when the caller is cancelled meanwhile."""
        await asyncio.shield(self._say_last(self._give_back(kind, order_ids)))

    @property
    def hold_is_proven(self) -> bool:
        """Whether the batch was ours a few seconds ago: only then may anything leave for a service."""
        return self._hold.proven_recently

    async def prove_hold(self) -> None:
        """Make sure that the batch is still ours, for the next seconds; waits while the hold is taken again.

        Raises:
            DatabaseUnavailable, BatchBusy: it is not.
        """
        if not self._hold.proven_just_now:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._prove)

    async def note_foreign_results(self, kind: EffectKind, results: int) -> None:
        """Note in the trail that a service answered with results that nobody asked for."""
        await self._run(lambda tx: security.note_foreign_results(tx, kind.value, self._hold.batch_id, results))

    async def settle(self, entries: Sequence[Entry]) -> list[EffectState | None]:
        """Write results; returns when they are durable: the states that the effects are in now.

        That is another one when the service told us of it in the meantime (a webhook). None: we were fenced and the
        result was dropped.
        """
        loop = asyncio.get_running_loop()
        waiting: list[Waiting] = [(entry, loop.create_future()) for entry in entries]
        self._waiting += waiting
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_waiting(), name="ledger-commit")
        return [await asyncio.shield(written) for _, written in waiting]

    async def aclose(self) -> None:
        """Wait for the last commit and end the thread."""
        while self._last_words:
            await asyncio.wait(self._last_words)
        if self._committing is not None:
            await asyncio.wait([self._committing])
        self._thread.shutdown(wait=True)

    async def _commit_waiting(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER_SECONDS)  # no call waits for this; what comes in meanwhile shares the commit
            group, self._waiting = self._waiting, []
            try:
                await self._commit(group)
            except InvariantBroken:
                # One answer that cannot be written (a remote id that another effect has) keeps nobody else waiting.
                for one in group:
                    await self._commit_alone(one)

    async def _commit_alone(self, one: Waiting) -> None:
        try:
            await self._commit([one])
        except InvariantBroken:
            doubted = _doubted(one[0])
            try:
                await self._commit([(doubted, one[1])])
            except InvariantBroken as error:
                _fail(one[1], error)

    async def _commit(self, group: Sequence[Waiting]) -> None:
        try:
            entries = [entry for entry, _ in group]
            loop = asyncio.get_running_loop()
            states = await loop.run_in_executor(self._thread, self._settle, entries)
        except InvariantBroken:
            raise
        except Exception as error:
            for _, written in group:
                _fail(written, error)
            return
        for entry, written in group:
            if not written.done():
                written.set_result(states.get((entry.kind, entry.order.order_id)))

    def _settle(self, entries: Sequence[Entry]) -> States:
        states = self._hold.run(partial(self._write, entries=entries), partial(self._write_again, entries=entries))
        for entry in entries:
            self._handed_out[entry.kind].discard(entry.order.order_id)
        return states

    def _write_again(self, tx: Connection, entries: Sequence[Entry]) -> States:
        """The same group after a commit that was never answered: all of it is there, or nothing."""
        first = entries[0]
        if not repeats.is_recorded(tx, first.kind, self._hold.epoch, first.settlement.attempt):
            return self._write(tx, entries)
        self._on_mail_planned()
        states: States = {}
        for kind in EffectKind:
            of_kind = [entry.order.order_id for entry in entries if entry.kind is kind]
            told = effects.settled_by_others(tx, kind, self._hold.epoch, of_kind)
            states |= {(kind, order_id): state for order_id, state in told.items()}
        return states

    def _write(self, tx: Connection, entries: Sequence[Entry]) -> States:
        states: States = {}
        for kind in EffectKind:
            of_kind = [entry for entry in entries if entry.kind is kind]
            settle_seconds = self._profiles[kind].settle_seconds
            done = effects.settle(tx, kind, self._hold.epoch, [entry.settlement for entry in of_kind], settle_seconds)
            states |= {(kind, e.order.order_id): e.settlement.to_state for e in of_kind if e.order.order_id in done}
            late = [entry.order.order_id for entry in of_kind if entry.order.order_id not in done]
            told = effects.settled_by_others(tx, kind, self._hold.epoch, late) if late else {}
            states |= {(kind, order_id): state for order_id, state in told.items()}
            if kind is EffectKind.PAYMENT:
                self._follow_payments(tx, [entry for entry in of_kind if entry.order.order_id in done])
                if EffectState.DONE in told.values():
                    self._on_mail_planned()
        return states

    def _follow_payments(self, tx: Connection, entries: Sequence[Entry]) -> None:
        paid = [entry.order for entry in entries if entry.settlement.to_state is EffectState.DONE]
        declined = [entry for entry in entries if entry.settlement.to_state is EffectState.REJECTED]
        if declined:
            reasons = [entry.settlement.attempt.outcome.reason for entry in declined]
            effects.mark_unpaid(tx, [entry.order.order_id for entry in declined], reasons)
        if paid:
            payments_done(tx, self._hold.batch_id, paid, self._make_mail)
            self._on_mail_planned()

    def _prove(self) -> None:
        if not self._hold.proven_just_now:  # many may have asked while the first was answered
            self._hold.prove()

    def _claim(self, kind: EffectKind, limit: int) -> list[ClaimedEffect]:
        batch_id, epoch = self._hold.batch_id, self._hold.epoch

        def claim(tx: Connection) -> list[ClaimedEffect]:
            return effects.claim(tx, kind, batch_id, epoch, limit)

        def claim_again(tx: Connection) -> list[ClaimedEffect]:
            repeats.release_unknown_claims(tx, kind, batch_id, epoch, self._handed_out[kind])
            return claim(tx)

        claimed = self._hold.run(claim, claim_again)
        self._handed_out[kind].update(claim.order.order_id for claim in claimed)
        return claimed

    def _release(self, kind: EffectKind, order_ids: Sequence[int]) -> None:
        self._hold.run(lambda tx: effects.release_unsent(tx, kind, self._hold.epoch, order_ids))
        self._handed_out[kind].difference_update(order_ids)

    async def _give_back(self, kind: EffectKind, order_ids: Sequence[int]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._release, kind, order_ids)

    async def _give_back_all(self, kind: EffectKind, claiming: asyncio.Future[list[ClaimedEffect]]) -> None:
        with suppress(BulkOrdersError):  # our hold is over: whoever has the batch next looks them up
            await self._give_back(kind, [claim.order.order_id for claim in await claiming])

    def _say_last(self, saying: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Begin something that is finished before the thread ends, whoever is cancelled."""
        task = asyncio.create_task(saying)
        self._last_words.add(task)
        task.add_done_callback(self._said)
        return task

    def _said(self, task: asyncio.Task[None]) -> None:
        self._last_words.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where nobody waits for it any more

    async def _run(self, work: Callable[[Connection], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._hold.run, work)


def _fail(written: asyncio.Future[Any], error: Exception) -> None:
    if not written.done():
        written.set_exception(error)
        written.exception()  # seen, also where nobody waits for it any more


def _doubted(entry: Entry) -> Entry:
    """The same result without what could not be written: the effect stays in doubt, and in the end a person decides."""
    settlement = entry.settlement
    outcome = replace(
        settlement.attempt.outcome, cls=OutcomeClass.MISMATCH, reason="SYS-ANSWER-UNWRITABLE", remote_id=None
    )
    sent = settlement.from_state is EffectState.SENDING
    attempt = replace(settlement.attempt, outcome=outcome)
    to_state = EffectState.UNKNOWN if sent else EffectState.REVIEW
    return replace(entry, settlement=replace(settlement, attempt=attempt, to_state=to_state))
