"""The books of one batch: its file, its orders, its payments, its mails, each counted on its own (R-32, R-50)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from domain.progress import StageProgress
from domain.states import SETTLED_EFFECT, EffectKind, EffectState
from resources.database import batches, effects, import_rows
from resources.database.batches import Batch


@dataclass(frozen=True, slots=True)
class EffectBook:
    """Effects and yen of one kind, by state; ``settled_recently`` in the last ``effects.RECENT_SECONDS``."""

    by_state: Mapping[EffectState, tuple[int, int]]
    settled_recently: int = 0

    def count(self, *states: EffectState) -> int:
        """Effects in these states; in all states when none is named."""
        return sum(self.by_state.get(state, (0, 0))[0] for state in states or EffectState)

    def amount_jpy(self, *states: EffectState) -> int:
        """Yen of the effects in these states; of all when none is named."""
        return sum(self.by_state.get(state, (0, 0))[1] for state in states or EffectState)

    @property
    def settled(self) -> int:
        """Effects that nothing more happens to by itself."""
        return self.count(*SETTLED_EFFECT)

    @property
    def waiting(self) -> int:
        """Effects that are still to be done or settled."""
        return self.count() - self.settled


@dataclass(frozen=True, slots=True)
class Books:
    """All books of one batch. Of one moment when read in ``Database.snapshot`` or by the batch's holder."""

    batch: Batch
    rows_accepted: int
    rows_rejected: int
    accepted_jpy: int
    orders: int
    orders_jpy: int
    paid_orders: int
    paid_jpy: int
    payments: EffectBook
    notifications: EffectBook

    @property
    def mails_expected(self) -> int:
        """Mails that there will be in the end: one per order that is paid or may still be."""
        return self.orders - self.payments.count(EffectState.REJECTED, EffectState.REVIEW)

    @property
    def everything_settled(self) -> bool:
        """Nothing is open any more."""
        payments_known = self.payments.count() == self.orders and self.payments.waiting == 0
        return payments_known and self.notifications.count() == self.paid_orders and self.notifications.waiting == 0

    @property
    def everything_succeeded(self) -> bool:
        """Every row of the file is paid and its mail sent."""
        done = self.notifications.count(EffectState.DONE)
        return (
            self.rows_rejected == 0
            and self.payments.count(EffectState.DONE) == done == self.orders == self.rows_accepted
        )

    def progress(self) -> list[StageProgress]:
        """Processed and total of every stage, in order (R-35)."""
        rows = self.rows_accepted + self.rows_rejected
        return [
            StageProgress("validated_csv", rows, self.batch.file_rows if self.batch.file_rows is not None else rows),
            StageProgress("created_orders", self.orders, self.rows_accepted),
            self._of_effects("payments", self.payments, self.orders),
            self._of_effects("notifications", self.notifications, self.mails_expected),
        ]

    def _of_effects(self, stage: str, book: EffectBook, total: int) -> StageProgress:
        """With the speed of the last seconds: a batch that was paused for an hour is not slow."""
        since = self.batch.paying_since
        paying_seconds = 0.0 if since is None else (datetime.now(UTC) - since).total_seconds()
        elapsed = max(0.0, min(paying_seconds, effects.RECENT_SECONDS))
        return StageProgress(stage, book.settled, total, elapsed, book.settled - book.settled_recently)


def read(tx: Connection, batch_id: str) -> Books:
    """The books of a batch.

    Raises:
        NotFound: there is no such batch.
    """
    batch = batches.get(tx, batch_id)
    accepted, rejected, accepted_jpy = import_rows.counts(tx, batch_id)
    made, made_jpy, paid, paid_jpy = _orders(tx, batch_id)
    return Books(
        batch=batch,
        rows_accepted=accepted,
        rows_rejected=rejected,
        accepted_jpy=accepted_jpy,
        orders=made,
        orders_jpy=made_jpy,
        paid_orders=paid,
        paid_jpy=paid_jpy,
        payments=_effect_book(tx, EffectKind.PAYMENT, batch_id),
        notifications=_effect_book(tx, EffectKind.NOTIFICATION, batch_id),
    )


def _effect_book(tx: Connection, kind: EffectKind, batch_id: str) -> EffectBook:
    return EffectBook(effects.state_counts(tx, kind, batch_id), effects.settled_recently(tx, kind, batch_id))


def _orders(tx: Connection, batch_id: str) -> tuple[int, int, int, int]:
    """Orders and their yen, paid orders and theirs. Paid by its date: the order system may have moved the status on."""
    query = text("""select count(*), coalesce(sum(amount), 0), count(paid_at),
                           coalesce(sum(amount) filter (where paid_at is not null), 0)
                    from orders where batch_id = :b""")
    made, made_jpy, paid, paid_jpy = tx.execute(query, {"b": batch_id}).one()
    return int(made), int(made_jpy), int(paid), int(paid_jpy)
