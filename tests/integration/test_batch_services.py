"""A batch goes on with the services it began with: nobody else knows what became of its calls.

Two payment services with ledgers of their own: what both were asked for together is what the client has paid.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from assets.batch_report.work import close_batch
from assets.effects.work import Services
from domain.errors import BatchPaused
from domain.outcomes import LookUp
from orchestration import operations
from tests.integration.batches import Installation, limits, services, work_through

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def another(start_sandbox: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A second payment service, which has never heard of any order."""
    with start_sandbox("payments", tmp_path_factory.mktemp("another") / "payments.sqlite") as service:
        yield service


def known_as(payments: str, of: Services, mails: str = "mails.example") -> Services:
    """The same services as if they were on other machines: here all of them have the same name."""
    of.payments.name, of.notifications.name = payments, mails
    return of


def between(charger: Any, mailer: Any, **changes: Any) -> Services:
    return services(str(charger.http.base_url), str(mailer.http.base_url), **changes)


def paused(installation: Installation, batch: str, of: Services) -> BatchPaused:
    with pytest.raises(BatchPaused) as stopped:
        work_through(installation, batch, of)

    return stopped.value


def charged(ids: list[int], *chargers: Any) -> Counter[int]:
    query = "SELECT order_id FROM charges WHERE order_id BETWEEN ? AND ?"
    return Counter(order_id for service in chargers for (order_id,) in service.rows(query, ids[0], ids[-1]))


def in_doubt(installation: Installation, payments: Any, notifications: Any) -> tuple[str, list[int]]:
    """A batch of three that were charged, and of which two had no answer."""
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    payments.behave(unique_orders=False, fault_orders={"reset_after": ids[1:]})
    first = between(payments, notifications, payments={"look_up": LookUp.NONE})
    work_through(installation, batch, known_as("old.example", first), limits())
    payments.behave(fault_orders={})
    assert charged(ids, payments) == Counter(ids)
    installation.execute("update payments set state = 'unknown' where order_id = any(%s)", ids[1:])
    return batch, ids


def test_what_is_in_doubt_at_one_service_is_never_asked_of_another(
    installation: Installation, payments: Any, notifications: Any, another: Any
) -> None:
    """There it would not be found, and be charged once more; continuing alone changes nothing about that."""
    batch, ids = in_doubt(installation, payments, notifications)
    elsewhere = known_as("new.example", between(another, notifications))
    asked_before = another.rows("SELECT count(*) FROM requests")

    for _ in range(2):
        why = paused(installation, batch, elsewhere)
        assert why.code == "BATCH-PAYMENTS-ELSEWHERE"
        assert why.facts == {"batch": batch, "was": "old.example", "now": "new.example"}
        assert installation.batch(batch) == ("paused", "BATCH-PAYMENTS-ELSEWHERE")
        operations.continue_(installation.database, batch)

    assert another.rows("SELECT count(*) FROM requests") == asked_before
    work_through(installation, batch, known_as("old.example", between(payments, notifications)))
    assert close_batch(installation.database, batch).batch.state == "done"
    assert charged(ids, payments, another) == Counter(ids)


def test_a_service_that_moved_keeps_its_name_and_its_batches(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    batch, ids = in_doubt(installation, payments, notifications)
    moved = services(str(payments.http.base_url).replace("127.0.0.1", "localhost"), str(notifications.http.base_url))

    work_through(installation, batch, known_as("old.example", moved))

    assert close_batch(installation.database, batch).batch.state == "done"
    assert charged(ids, payments) == Counter(ids)


def test_where_nothing_was_made_another_service_takes_over(
    installation: Installation, notifications: Any, another: Any
) -> None:
    """A misspelt address: nobody was there."""
    batch = installation.ordered(20)
    ids = installation.order_ids(batch)
    misspelt = known_as("typo.example", services(NOWHERE, str(notifications.http.base_url)))
    assert paused(installation, batch, misspelt).code == "BATCH-PAUSED-PAYMENTS"
    time.sleep(0.35)  # until the breaker lets one call try

    work_through(installation, batch, known_as("new.example", between(another, notifications)))

    assert charged(ids, another) == Counter(ids)
    bound = installation.execute("select payment_service, notification_service from batches where batch_id = %s", batch)
    assert bound == [("new.example", "mails.example")]


def test_no_other_mail_service_tells_of_payments_that_were_made_with_the_first(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    """A sandbox above all: its payments are none, and real mails would say they were."""
    batch, _ = in_doubt(installation, payments, notifications)

    why = paused(installation, batch, known_as("old.example", between(payments, notifications), "real.example"))

    assert why.code == "BATCH-NOTIFICATIONS-ELSEWHERE"
    assert why.facts == {"batch": batch, "was": "mails.example", "now": "real.example"}


def test_a_batch_that_is_being_cancelled_asks_no_other_service_either(
    installation: Installation, payments: Any, notifications: Any, another: Any
) -> None:
    """What is in doubt would count as not paid, and be called off."""
    batch, ids = in_doubt(installation, payments, notifications)
    operations.cancel(installation.database, batch)

    assert paused(installation, batch, known_as("new.example", between(another, notifications))).code == (
        "BATCH-PAYMENTS-ELSEWHERE"
    )
    assert charged(ids, payments, another) == Counter(ids)


def test_what_began_with_the_services_is_told_by_an_event(
    installation: Installation, payments: Any, notifications: Any
) -> None:
    batch, _ = in_doubt(installation, payments, notifications)
    query = "select reason from audit_events where chain = %s and event = 'batch:changed' order by seq"

    assert ("notification_service payment_service",) in installation.execute(query, batch)
