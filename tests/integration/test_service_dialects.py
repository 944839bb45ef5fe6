"""Services that keep the contract and differ in all that it leaves open; and one that is not there at all.

The sandbox speaks other dialects (sandbox/dialects.py); its ledger stays the witness. What a dialect needs stands in
the profile. Without it nothing is lost either: what cannot be read is in doubt, and no order is ever paid twice.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from assets.effects import calls
from assets.payments.planning import plan_payments
from domain.errors import BatchPaused
from domain.outcomes import LookUp
from domain.states import EffectState
from tests.integration.batches import Installation, limits, services, work_through

PROFILES: dict[str, dict[str, Any]] = {
    "contract": {},
    "terse": {},
    "wrapped": {"answer_field": "data"},
    "renamed": {"order_field": "orderRef", "id_field": "txn", "done_words": ("settled",), "look_up_lists": True},
}


@pytest.fixture
def charging(payments: Any) -> Any:
    payments.behave(profile="batch", honours_keys=False, unique_orders=False)
    return payments


@pytest.fixture
def mailing(notifications: Any) -> Any:
    notifications.behave(profile="batch", honours_keys=False)
    return notifications


def between(charger: Any, mailer: Any, **profile: Any) -> Any:
    urls = str(charger.http.base_url), str(mailer.http.base_url)
    return services(*urls, payments=profile, notifications=profile, timeout_seconds=1.0)


def effects(service: Any, table: str, ids: list[int]) -> Counter[int]:
    rows = service.rows(f"SELECT order_id FROM {table} WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    return Counter(order_id for (order_id,) in rows)


def planned(installation: Installation, batch: str) -> None:
    with installation.database.hold_batch(batch) as hold:
        plan_payments(hold)


@pytest.mark.parametrize("batch_size", [0, 4], ids=["single", "batch"])
@pytest.mark.parametrize("dialect", PROFILES)
def test_every_dialect_is_understood_where_the_profile_says_what_it_needs(
    installation: Installation, charging: Any, mailing: Any, dialect: str, batch_size: int
) -> None:
    """Success, refusal, 409, absence and doubt, each in the service's own words."""
    batch = installation.ordered(12)
    ids = installation.order_ids(batch)
    declined, lost, found, failed = ids[0], ids[4], ids[8], ids[9]
    charging.behave(
        dialect=dialect,
        fault_orders={"decline": [declined], "reset_before": [lost], "error_500_after": [found, failed]},
    )
    mailing.behave(dialect=dialect, fault_orders={"reset_after": [ids[5]], "decline": [ids[6]]})

    _, books = work_through(installation, batch, between(charging, mailing, **PROFILES[dialect], batch_size=batch_size))

    paid = set(ids) - {declined}
    assert effects(charging, "charges", ids) == Counter(paid)
    assert effects(mailing, "mails", ids) == Counter(paid - {ids[6]})
    assert installation.states("payments", batch)[declined] == ("rejected", "PAY-DECLINED")
    assert installation.states("notifications", batch)[ids[6]] == ("rejected", "MAIL-REFUSED")
    assert books.everything_settled
    assert books.payments.count(EffectState.REVIEW) == books.notifications.count(EffectState.REVIEW) == 0
    remote = installation.execute("select order_id, remote_id from payments where batch_id = %s", batch)
    assert not [remote_id for order_id, remote_id in remote if order_id in paid and remote_id.startswith("order-")]


@pytest.mark.parametrize("dialect", ["wrapped", "renamed"])
def test_a_dialect_that_the_profile_does_not_know_pays_nobody_twice(
    installation: Installation, charging: Any, mailing: Any, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is doubt and every look-up too: in the end a person is asked, and nothing was sent again."""
    monkeypatch.setattr(calls, "_LONGEST_BACKOFF_SECONDS", 0.02)
    charging.behave(dialect=dialect)
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)

    _, books = work_through(installation, batch, between(charging, mailing), limits(max_looks=3))

    assert effects(charging, "charges", ids) == Counter(ids)
    assert effects(mailing, "mails", ids) == Counter()
    assert {state for state, _ in installation.states("payments", batch).values()} == {"review"}
    assert books.everything_settled


@pytest.mark.parametrize("answer", ["html", "redirect", "garbled"])
def test_a_service_that_answers_rubbish_pauses_the_batch_instead_of_using_up_its_rows(
    installation: Installation, charging: Any, mailing: Any, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A maintenance page with status 200, a redirect to a login: out of order, and whole again afterwards."""
    monkeypatch.setattr(calls, "_LONGEST_BACKOFF_SECONDS", 0.05)
    charging.behave(faults={answer: 1.0}, lookup_faults={answer: 1.0})
    batch = installation.ordered(30)
    ids = installation.order_ids(batch)
    of = between(charging, mailing)

    with pytest.raises(BatchPaused):
        work_through(installation, batch, of, limits(concurrency=4, chunk=4))
    states = Counter(state for state, _ in installation.states("payments", batch).values())
    charging.behave(faults={}, lookup_faults={})
    time.sleep(0.35)
    _, books = work_through(installation, batch, of)

    assert states["planned"] > 0
    assert states["review"] == states["rejected"] == 0
    assert books.everything_succeeded
    assert effects(charging, "charges", ids) == Counter(ids)


def test_a_failure_that_the_service_keeps_for_a_key_is_overcome_with_a_new_key(
    installation: Installation, payments: Any, mailing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.21: a stored 500 is replayed for ever. The new key comes only after proof that there is no charge."""
    monkeypatch.setattr(calls, "_LONGEST_BACKOFF_SECONDS", 0.05)
    payments.behave(profile="keys", unique_orders=False, saved_answers="all")
    batch = installation.ordered(3)
    ids = installation.order_ids(batch)
    payments.behave(fault_orders={"error_500_before": [ids[1]]})
    urls = str(payments.http.base_url), str(mailing.http.base_url)

    _, books = work_through(installation, batch, services(*urls, payments={"honours_keys": True}))

    assert books.everything_succeeded
    assert effects(payments, "charges", ids) == Counter(ids)
    query = "SELECT idempotency_key, outcome FROM requests WHERE route = 'single' AND order_id = ? ORDER BY request_id"
    keys, outcomes = zip(*payments.rows(query, ids[1]), strict=True)
    assert outcomes == ("failed", "replayed", "replayed", "done")
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert installation.execute("select idempotency_key from payments where order_id = %s", ids[1]) == [(keys[3],)]


def test_a_key_that_the_service_knows_with_other_content_is_for_a_person(
    installation: Installation, payments: Any, mailing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.12: 422 "key reused" is no refusal of the order. Nothing is sent again under a key that is spoilt."""
    monkeypatch.setattr(calls, "_LONGEST_BACKOFF_SECONDS", 0.05)
    payments.behave(profile="keys", unique_orders=False)
    batch = installation.ordered(2)
    ids = installation.order_ids(batch)
    of = services(str(payments.http.base_url), str(mailing.http.base_url), payments={"honours_keys": True})
    planned(installation, batch)
    [(key,)] = installation.execute("select idempotency_key from payments where order_id = %s", ids[0])
    assert payments.pay(9_000_000 + ids[0], 777.0, **{"Idempotency-Key": key}).status_code == 201

    _, books = work_through(installation, batch, of)

    assert installation.states("payments", batch)[ids[0]] == ("review", "PAY-KEY-REUSED")
    assert effects(payments, "charges", ids) == Counter([ids[1]])
    assert books.everything_settled


def test_a_key_that_is_forgotten_by_the_time_of_the_next_call_does_not_leave(
    installation: Installation, payments: Any, mailing: Any
) -> None:
    """3.20: between the doubt and the next call the batch was paused for too long; the key would protect nothing."""
    payments.behave(profile="key_only", unique_orders=False)
    batch = installation.ordered(2)
    ids = installation.order_ids(batch)
    of = services(
        str(payments.http.base_url),
        str(mailing.http.base_url),
        payments={"honours_keys": True, "look_up": LookUp.NONE, "key_ttl_seconds": 5.0},
    )
    planned(installation, batch)
    amount = installation.execute("select amount from orders where order_id = %s", ids[0])[0][0]
    assert payments.pay(ids[0], float(amount)).status_code == 201
    for state in ("sending", "unknown", "retry_wait"):
        installation.execute(
            "update payments set state = %s, attempts = 1, looks = 1, lease_epoch = 1,"
            " first_sent_at = now() - interval '1 hour' where order_id = %s",
            state,
            ids[0],
        )

    _, books = work_through(installation, batch, of)

    assert installation.states("payments", batch)[ids[0]] == ("review", "PAY-OUTCOME-UNKNOWN")
    assert effects(payments, "charges", ids) == Counter(ids)
    assert books.everything_settled
