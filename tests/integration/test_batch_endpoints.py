"""Many payments and mails in one call, each exactly once (LIM-003, LIM-004, R-19, R-26).

The witness is the service's own ledger. It refuses no second payment of an order here: what is sent twice shows.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from domain.outcomes import LookUp
from tests.integration.batches import Installation, services, work_through

BULK = {"batch_size": 10}
HANG = 1.2
SHORT = 0.6
QUICK = {"settle_seconds": HANG}


@pytest.fixture
def charging(payments: Any) -> Any:
    payments.behave(profile="batch", honours_keys=False, unique_orders=False)
    return payments


@pytest.fixture
def mailing(notifications: Any) -> Any:
    notifications.behave(profile="batch", honours_keys=False)
    return notifications


def between(charger: Any, mailer: Any, timeout_seconds: float = 3.0, **changes: Any) -> Any:
    of = {"payments": {**BULK, **changes}, "notifications": {**BULK, **changes}}
    return services(str(charger.http.base_url), str(mailer.http.base_url), **of, timeout_seconds=timeout_seconds)


def effects(service: Any, table: str, ids: list[int]) -> Counter[int]:
    rows = service.rows(f"SELECT order_id FROM {table} WHERE order_id BETWEEN ? AND ?", ids[0], ids[-1])
    return Counter(order_id for (order_id,) in rows)


def calls(service: Any, ids: list[int]) -> list[list[int]]:
    """The orders of every batch call that carried some of these."""
    rows = service.rows(
        "SELECT parent_request_id, order_id FROM requests WHERE route = 'item' AND order_id BETWEEN ? AND ?"
        " ORDER BY request_id",
        ids[0],
        ids[-1],
    )
    together: dict[int, list[int]] = {}
    for call, order_id in rows:
        together.setdefault(call, []).append(order_id)
    return list(together.values())


def singles(service: Any, ids: list[int]) -> list[int]:
    query = "SELECT order_id FROM requests WHERE route = 'single' AND order_id BETWEEN ? AND ?"
    return [order_id for (order_id,) in service.rows(query, ids[0], ids[-1])]


def bodies_per_key(service: Any, ids: list[int]) -> set[int]:
    query = """SELECT count(DISTINCT body_sha256) FROM requests WHERE idempotency_key IS NOT NULL
               AND body_sha256 IS NOT NULL AND order_id BETWEEN ? AND ? GROUP BY idempotency_key"""
    return {bodies for (bodies,) in service.rows(query, ids[0], ids[-1])}


def test_orders_travel_together_and_each_is_paid_and_mailed_once(
    installation: Installation, charging: Any, mailing: Any
) -> None:
    batch = installation.ordered(43)
    ids = installation.order_ids(batch)

    _, books = work_through(installation, batch, between(charging, mailing))

    assert books.everything_succeeded
    assert effects(charging, "charges", ids) == effects(mailing, "mails", ids) == Counter(ids)
    assert sorted(map(len, calls(charging, ids))) == [3, 10, 10, 10, 10]
    assert singles(charging, ids) == singles(mailing, ids) == []
    kept = dict(charging.rows("SELECT order_id, payment_id FROM charges WHERE order_id >= ?", ids[0]))
    ours = dict(installation.execute("select order_id, remote_id from payments where batch_id = %s", batch))
    assert ours == {order_id: kept[order_id] for order_id in ids}, "each order has its own charge's id, none another's"


def test_one_bad_item_is_isolated_from_the_others(installation: Installation, charging: Any, mailing: Any) -> None:
    batch = installation.ordered(20)
    ids = installation.order_ids(batch)
    declined, refused_mail = ids[3], ids[14]
    charging.behave(fault_orders={"decline": [declined]})
    mailing.behave(fault_orders={"decline": [refused_mail]})

    _, books = work_through(installation, batch, between(charging, mailing))

    assert installation.states("payments", batch)[declined] == ("rejected", "PAY-DECLINED")
    assert installation.states("notifications", batch)[refused_mail] == ("rejected", "MAIL-REFUSED")
    assert effects(charging, "charges", ids) == Counter(set(ids) - {declined})
    assert effects(mailing, "mails", ids) == Counter(set(ids) - {declined, refused_mail})
    assert books.everything_settled


ITEM_FAULTS = ["missing_item", "repeated_item", "extra_item", "error_500_before", "error_500_after", "error_429",
               "error_503_after", "wrong_order"]  # fmt: skip
CALL_FAULTS = ["timeout_before", "timeout_after", "late_effect", "reset_before", "reset_after", "garbled", "truncated",
               "html", "redirect", "slow"]  # fmt: skip


@pytest.mark.parametrize("lane", ["payments", "notifications"])
def test_every_fault_of_a_call_or_an_item_ends_in_exactly_one_effect(
    installation: Installation, charging: Any, mailing: Any, lane: str
) -> None:
    """3.23: items that are missing, extra, repeated or fail, and calls that break: never by place, never blindly.

    Every second call is a good one: twelve bad ones in a row would be a service that is out of order.
    """
    batch = installation.ordered(20 * (len(CALL_FAULTS) + 1))
    ids = installation.order_ids(batch)
    faults = {kind: [ids[20 * i + 4]] for i, kind in enumerate(CALL_FAULTS)}
    faults |= {kind: [ids[20 * len(CALL_FAULTS) + 2 * i]] for i, kind in enumerate(ITEM_FAULTS)}
    service = charging if lane == "payments" else mailing
    service.behave(fault_orders=faults, hang_seconds=HANG)
    [(before,)] = service.rows("SELECT coalesce(max(request_id), 0) FROM requests")

    _, books = work_through(installation, batch, between(charging, mailing, SHORT, **QUICK))

    struck = "SELECT DISTINCT fault FROM requests WHERE fault IS NOT NULL AND request_id > ?"
    assert {kind for (kind,) in service.rows(struck, before)} == {*CALL_FAULTS, *ITEM_FAULTS}
    assert effects(charging, "charges", ids) == effects(mailing, "mails", ids) == Counter(ids)
    assert books.everything_succeeded


def test_what_was_in_doubt_is_sent_again_alone(installation: Installation, charging: Any, mailing: Any) -> None:
    """Whatever the call failed on must not fail the others a second time."""
    batch = installation.ordered(10)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"reset_before": [ids[0]]})

    _, books = work_through(installation, batch, between(charging, mailing))

    assert books.everything_succeeded
    assert sorted(calls(charging, ids)) == [[order_id] for order_id in ids]
    looked = "SELECT DISTINCT order_id FROM requests WHERE route = 'lookup_order' AND order_id BETWEEN ? AND ?"
    assert {order_id for (order_id,) in charging.rows(looked, ids[0], ids[-1])} == set(ids)
    assert effects(charging, "charges", ids) == Counter(ids)


def test_throttled_calls_stay_together(installation: Installation, charging: Any, mailing: Any) -> None:
    """Ten single calls for one that was throttled would only make it worse."""
    charging.behave(rate_limit_per_second=1)
    batch = installation.ordered(20)
    ids = installation.order_ids(batch)

    _, books = work_through(installation, batch, between(charging, mailing))

    assert books.everything_succeeded
    assert sorted(map(len, calls(charging, ids))) == [10, 10]


def test_more_items_than_the_service_takes_go_one_by_one(
    installation: Installation, charging: Any, mailing: Any
) -> None:
    """413: refused before any item was looked at, so nothing is in doubt and nothing is lost."""
    charging.behave(batch_max_items=4)
    batch = installation.ordered(12)
    ids = installation.order_ids(batch)

    _, books = work_through(installation, batch, between(charging, mailing))

    assert books.everything_succeeded
    assert calls(charging, ids) == [ids[10:]]
    assert sorted(singles(charging, ids)) == ids[:10]
    assert effects(charging, "charges", ids) == Counter(ids)


def test_a_batch_endpoint_that_is_not_there_costs_nothing_but_time(
    installation: Installation, charging: Any, mailing: Any
) -> None:
    charging.behave(batch=False)
    mailing.behave(batch=False)
    batch = installation.ordered(7)
    ids = installation.order_ids(batch)

    _, books = work_through(installation, batch, between(charging, mailing))

    assert books.everything_succeeded
    assert sorted(singles(charging, ids)) == sorted(singles(mailing, ids)) == ids


@pytest.mark.parametrize(
    ("of_sandbox", "of_profile", "certain"),
    [
        ({"profile": "batch"}, {"honours_keys": True, "look_up": LookUp.BY_KEY}, True),
        ({"profile": "batch", "lookup_by_order": False, "lookup_by_key": False},
         {"honours_keys": True, "look_up": LookUp.NONE}, True),
        ({"profile": "batch", "honours_keys": False}, {}, True),
        ({"profile": "batch", "honours_keys": False, "lookup_by_order": False}, {"look_up": LookUp.NONE}, False),
    ],
    ids=["key and look-up", "key only", "look-up only", "neither"],
)  # fmt: skip
def test_the_four_profiles_with_batches(
    installation: Installation,
    payments: Any,
    mailing: Any,
    of_sandbox: dict[str, Any],
    of_profile: dict[str, Any],
    certain: bool,
) -> None:
    batch = installation.ordered(30)
    ids = installation.order_ids(batch)
    payments.behave(**of_sandbox, unique_orders=False)
    payments.behave(fault_orders={"reset_after": [ids[2]], "reset_before": [ids[12]], "missing_item": [ids[22]]})
    of = services(
        str(payments.http.base_url), str(mailing.http.base_url), payments={**BULK, **of_profile}, notifications=BULK
    )

    _, books = work_through(installation, batch, of)

    charged = effects(payments, "charges", ids)
    assert max(charged.values()) == 1
    assert books.everything_settled
    if certain:
        assert charged == Counter(ids)
        assert books.everything_succeeded
    else:
        states = Counter(state for state, _ in installation.states("payments", batch).values())
        assert states == {"done": 9, "review": 21}
        assert len(charged) == 20
    assert bodies_per_key(payments, ids) <= {1}


@pytest.mark.parametrize(("counts_items", "least_seconds"), [(True, 2.5), (False, 0.0)])
def test_a_limit_is_kept_in_calls_or_in_items_as_the_profile_says(
    installation: Installation, charging: Any, mailing: Any, counts_items: bool, least_seconds: float
) -> None:
    """Four calls of ten mails at ten mails a second take three seconds, however quick the machine is."""
    batch = installation.ordered(34)
    ids = installation.order_ids(batch)
    profile = {**BULK, "rate_per_second": 10.0, "rate_counts_items": counts_items}
    urls = str(charging.http.base_url), str(mailing.http.base_url)

    _, books = work_through(installation, batch, services(*urls, payments=BULK, notifications=profile))

    assert books.everything_succeeded
    assert effects(mailing, "mails", ids) == Counter(ids)
    span = "SELECT (max(created_us) - min(created_us)) / 1e6 FROM mails WHERE order_id BETWEEN ? AND ?"
    assert mailing.rows(span, ids[0], ids[-1])[0][0] >= least_seconds
