"""The held batch as the event loop sees it: one writing session, one thread, results committed in natural groups.

Whatever came in while the last commit ran is the next commit. The mail of an order is planned in the transaction that
settles its payment: killed before, neither is known; killed after, both are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from domain.errors import InvariantBroken
from domain.identity import idempotency_key, request_digest
from domain.outcomes import OutcomeClass
from domain.profiles import ServiceProfile
from domain.states import EffectKind, EffectState
from resources.database import effects
from resources.database.database import BatchHold
from resources.database.effects import ClaimedEffect, OrderFacts, PlannedEffect, Settlement, UnknownEffect

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Entry:
    """One result on its way into the database, with the order it is about."""

    kind: EffectKind
    settlement: Settlement
    order: OrderFacts


Waiting = tuple[Entry, "asyncio.Future[bool]"]


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

    async def recover(self, kind: EffectKind) -> int:
        """Put in doubt what a dead predecessor was sending; the number of those."""
        settle = self._profiles[kind].settle_seconds
        return await self._run(lambda tx: effects.recover(tx, kind, self._hold.batch_id, self._hold.epoch, settle))

    async def claim(self, kind: EffectKind, limit: int) -> list[ClaimedEffect]:
        """Commit the intent to send up to ``limit`` effects."""
        return await self._run(lambda tx: effects.claim(tx, kind, self._hold.batch_id, self._hold.epoch, limit))

    async def due_unknown(self, kind: EffectKind, limit: int) -> list[UnknownEffect]:
        """Effects in doubt that are due for a look-up."""
        return await self._run(lambda tx: effects.due_unknown(tx, kind, self._hold.batch_id, limit))

    async def seconds_until_due(self, kind: EffectKind) -> float | None:
        """Seconds until something can be done; None when nothing is open."""
        return await self._run(lambda tx: effects.seconds_until_due(tx, kind, self._hold.batch_id))

    async def release_unsent(self, kind: EffectKind, order_id: int) -> None:
        """Give back a claim that was certainly never sent."""
        await self._run(lambda tx: effects.release_unsent(tx, kind, self._hold.epoch, [order_id]))

    async def prove_hold(self) -> None:
        """Make sure, to a few seconds, that the batch is still ours.

        Raises:
            DatabaseUnavailable: it is not.
        """
        if not self._hold.proven_recently:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._hold.prove)

    async def settle(self, entry: Entry) -> bool:
        """Write a result; returns when it is durable. False: we were fenced and it was dropped."""
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_waiting(), name="ledger-commit")
        return await asyncio.shield(written)

    async def aclose(self) -> None:
        """Wait for the last commit and end the thread."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
        self._thread.shutdown(wait=True)

    async def _commit_waiting(self) -> None:
        while self._waiting:
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
            await self._commit([(_doubted(one[0]), one[1])])

    async def _commit(self, group: Sequence[Waiting]) -> None:
        try:
            moved = await self._run(partial(self._write, entries=[entry for entry, _ in group]))
        except InvariantBroken:
            raise
        except Exception as error:
            for _, written in group:
                if not written.done():
                    written.set_exception(error)
            return
        for entry, written in group:
            if not written.done():
                written.set_result((entry.kind, entry.order.order_id) in moved)

    def _write(self, tx: Connection, entries: Sequence[Entry]) -> set[tuple[EffectKind, int]]:
        moved: set[tuple[EffectKind, int]] = set()
        for kind in EffectKind:
            of_kind = [entry for entry in entries if entry.kind is kind]
            settle_seconds = self._profiles[kind].settle_seconds
            done = effects.settle(tx, kind, self._hold.epoch, [entry.settlement for entry in of_kind], settle_seconds)
            moved |= {(kind, order_id) for order_id in done}
            if kind is EffectKind.PAYMENT:
                self._follow_payments(tx, [entry for entry in of_kind if entry.order.order_id in done])
        return moved

    def _follow_payments(self, tx: Connection, entries: Sequence[Entry]) -> None:
        paid = [entry.order for entry in entries if entry.settlement.to_state is EffectState.DONE]
        declined = [entry for entry in entries if entry.settlement.to_state is EffectState.REJECTED]
        if declined:
            reasons = [entry.settlement.attempt.outcome.reason for entry in declined]
            effects.mark_unpaid(tx, [entry.order.order_id for entry in declined], reasons)
        if paid:
            effects.mark_paid(tx, [order.order_id for order in paid])
            effects.plan(tx, EffectKind.NOTIFICATION, [self._mail_of(order) for order in paid])
            self._on_mail_planned()

    def _mail_of(self, order: OrderFacts) -> PlannedEffect:
        key = idempotency_key(self._hold.batch_id, order.import_row_number, EffectKind.NOTIFICATION)
        return PlannedEffect(order.order_id, key, request_digest(self._make_mail(order)))

    async def _run(self, work: Callable[[Connection], Result]) -> Result:
        def in_transaction() -> Result:
            with self._hold.begin() as tx:
                return work(tx)

        return await asyncio.get_running_loop().run_in_executor(self._thread, in_transaction)


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
