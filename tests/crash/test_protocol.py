"""Single rules of the protocol that only matter when something else has gone wrong before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url

from assets.payments.planning import plan_payments
from domain.errors import BatchPaused, DatabaseUnavailable
from domain.outcomes import Outcome, OutcomeClass
from domain.states import EffectKind, EffectState
from evidence.proxy.listener import Connect, End, Proxy
from resources.database import effects, orders
from resources.database.connection import connect_once
from resources.database.database import BatchHold
from resources.database.effects import Attempt, Settlement
from tests.integration.batches import Installation, limits, services, work_through


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(database_url, tmp_path)
    yield made
    made.database.dispose()


def sent_payment(hold: BatchHold, batch: str, outcome: Outcome) -> Attempt:
    """The one payment of the batch, claimed, and what became of the call."""
    plan_payments(hold)
    with hold.begin() as tx:
        [claim] = effects.claim(tx, EffectKind.PAYMENT, batch, hold.epoch, 1)
    return Attempt(claim.order.order_id, 1, "send", datetime.now(UTC), datetime.now(UTC), outcome)


def test_a_result_that_comes_late_changes_nothing_that_is_settled(installation: Installation) -> None:
    """The look-up found the payment; then the answer of the call itself arrives, and says something else."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        done = Outcome(OutcomeClass.DONE, remote_id="p-1")
        sent = sent_payment(hold, batch, done)
        settled = Settlement(sent, EffectState.SENDING, EffectState.DONE)
        late = replace(settled, attempt=replace(sent, outcome=replace(done, remote_id="p-2")))

        with hold.begin() as tx:
            first = effects.settle(tx, EffectKind.PAYMENT, hold.epoch, [settled], 1.0)
        with hold.begin() as tx:
            second = effects.settle(tx, EffectKind.PAYMENT, hold.epoch, [late], 1.0)

    assert (first, second) == ({sent.order_id}, set())
    assert installation.execute("select state, remote_id from payments") == [("done", "p-1")]


def test_a_result_of_a_worker_that_was_replaced_counts_for_nothing(installation: Installation) -> None:
    """Its successor has taken the payment over and is about to look: what it finds counts."""
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        sent = sent_payment(hold, batch, Outcome(OutcomeClass.DONE, remote_id="p-1"))
        installation.execute("update payments set lease_epoch = lease_epoch + 1")
        with hold.begin() as tx:
            moved = effects.settle(
                tx, EffectKind.PAYMENT, hold.epoch, [Settlement(sent, EffectState.SENDING, EffectState.DONE)], 1.0
            )

    assert moved == set()
    assert installation.execute("select state, remote_id from payments") == [("sending", None)]


def test_the_last_row_is_waited_for_when_it_may_be_tried_again(installation: Installation) -> None:
    batch = installation.ordered(1)
    with installation.database.hold_batch(batch) as hold:
        sent = sent_payment(hold, batch, Outcome(OutcomeClass.NOT_DONE, "SVC-RATE-LIMITED"))
        with hold.begin() as tx:
            again = Settlement(sent, EffectState.SENDING, EffectState.RETRY_WAIT, wait_seconds=5.0)
            effects.settle(tx, EffectKind.PAYMENT, hold.epoch, [again], 1.0)
            seconds = effects.seconds_until_due(tx, EffectKind.PAYMENT, batch)

    assert seconds is not None
    assert 0 < seconds <= 5


def test_orders_that_are_there_are_not_made_again(installation: Installation) -> None:
    """The commit that made them was lost on its way to us, and the stage begins again."""
    batch = installation.ordered(3)

    with installation.database.begin() as tx:
        orders.create(tx, batch_id=batch, client="shop", source="orders.csv", group=None)

    assert len(installation.order_ids(batch)) == 3


@pytest.mark.parametrize("step", [1, 2], ids=["password asked", "password given"])
@pytest.mark.parametrize("orderly", [True, False], ids=["closed", "reset"])
def test_a_login_that_is_cut_off_is_no_wrong_password(database_url: str, step: int, orderly: bool) -> None:
    """The server dies in the middle of a login: worth trying again, and no setting is wrong."""
    seen = itertools.count(1)

    async def relay(client: End, connect: Connect) -> None:
        server = await connect()
        while data := await client.read():
            if data.startswith(b"p") and next(seen) == step:
                break
            await server.write(data)
            await client.write(await server.read())
        if not orderly:
            client.reset()

    where = make_url(database_url)
    with Proxy(lambda: (str(where.host), int(where.port or 0)), relay) as proxy:
        by_proxy = where.set(port=proxy.port).render_as_string(hide_password=False)

        with pytest.raises(DatabaseUnavailable), connect_once(by_proxy):
            pass


def test_a_breaker_that_opens_while_claims_are_being_made_ends_them(installation: Installation) -> None:
    """Each claim would be given back and made again at once, for ever, and the batch would never pause."""
    batch = installation.ordered(60)
    nobody = services("http://127.0.0.1:9", "http://127.0.0.1:9")

    with pytest.raises(BatchPaused):
        work_through(installation, batch, nobody, limits(concurrency=40, chunk=2))

    states = {state for state, _ in installation.states("payments", batch).values()}
    assert states <= {"planned", "retry_wait"}
