"""What an event of the payment service leads to, case by case of the fault list (S4), with all that follows (R-17)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from assets.batch_report.work import close_batch
from tests.integration.batches import Installation
from tests.integration.webhook import Hook, event, inbox, listening, payment, planned, put, said, trail

AFTER = {
    "sending": ["sending"],
    "unknown": ["sending", "unknown"],
    "retry_wait": ["sending", "retry_wait"],
    "review": ["sending", "unknown", "review"],
    "rejected": ["sending", "rejected"],
    "done": ["sending", "done"],
    "cancelled": ["cancelled"],
    "planned": [],
}


@pytest.fixture
def hook(installation: Installation) -> Iterator[Hook]:
    with listening(installation) as running:
        yield running


def in_state(installation: Installation, state: str, reason: str | None = None) -> tuple[str, int]:
    batch, [order_id] = planned(installation)
    put(installation, order_id, *AFTER[state], reason=reason)
    return batch, order_id


@pytest.mark.parametrize("state", ["sending", "unknown", "retry_wait", "review"])
def test_a_payment_that_the_service_reports_is_done_with_all_that_follows(
    installation: Installation, hook: Hook, state: str
) -> None:
    """Before our own answer, after a timeout, before a retry, and while a person is asked (4.3)."""
    batch, order_id = in_state(installation, state, "PAY-OUTCOME-UNKNOWN")

    assert hook.tell(order_id) == "200 accepted"

    assert payment(installation, order_id) == ("done", None)
    assert installation.execute("select status, paid_at is null from orders where order_id = %s", order_id) == [
        ("PAID", False)
    ]
    assert installation.states("notifications", batch) == {order_id: ("planned", None)}
    assert inbox(installation, order_id) == [("applied", None)]
    assert trail(installation, batch) == [
        f"payment:{state}:done",
        "order:PENDING:PAID",
        "notification:planned",
        "webhook:payment:completed:applied",
    ]
    assert installation.execute("select fault from audit_verify(%s)", batch) == []


def test_the_mail_is_the_one_that_our_own_answer_would_have_planned(installation: Installation, hook: Hook) -> None:
    """Another digest, and the mail lane would refuse to send it."""
    from assets.notifications.mail import MailWriter
    from domain.identity import idempotency_key, request_digest
    from domain.states import EffectKind
    from resources.database import batches, effects

    batch, order_id = in_state(installation, "sending")
    hook.tell(order_id)

    with installation.database.begin() as tx:
        mail = MailWriter(batches.get(tx, batch), installation.vault)(effects.order_facts(tx, order_id))
    expected = (idempotency_key(batch, 1, EffectKind.NOTIFICATION), request_digest(mail))
    query = "select idempotency_key, request_sha256 from notifications where order_id = %s"
    assert [(key, bytes(digest)) for key, digest in installation.execute(query, order_id)] == [expected]


def test_an_event_that_comes_twice_is_taken_once(installation: Installation, hook: Hook) -> None:
    """4.1, also 4.6: the sender that never saw our answer comes again."""
    batch, order_id = in_state(installation, "sending")
    told = event(order_id)
    answers = [said(hook.post(told)) for _ in range(3)]

    assert answers == ["200 accepted", "200 duplicate", "200 duplicate"]
    assert len(installation.states("notifications", batch)) == 1
    assert inbox(installation, order_id) == [("applied", None)]


def test_an_event_id_that_says_something_else_is_refused(installation: Installation, hook: Hook) -> None:
    _, order_id = in_state(installation, "sending")
    told = event(order_id)

    assert said(hook.post(told)) == "200 accepted"
    assert said(hook.post(told | {"amount": 1501})) == "409 event_id_reused"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("planned", "PAY-EVENT-UNASKED"),
        ("rejected", "PAY-EVENT-AFTER-REFUSAL"),
        ("cancelled", "PAY-EVENT-AFTER-REFUSAL"),
    ],
)
def test_a_payment_that_we_know_nothing_of_waits_for_a_person(
    installation: Installation, hook: Hook, state: str, reason: str
) -> None:
    """Money moved that we did not ask for: neither pay again nor call it paid."""
    batch, order_id = in_state(installation, state)

    assert hook.tell(order_id) == "200 accepted"
    assert hook.tell(order_id) == "200 accepted"

    assert payment(installation, order_id) == ("review", reason)
    assert installation.states("notifications", batch) == {}
    assert inbox(installation, order_id) == [("review", reason), ("noted", None)]


def test_a_near_duplicate_that_was_paid_elsewhere_is_not_offered_for_payment_any_more(
    installation: Installation, hook: Hook
) -> None:
    batch, order_id = in_state(installation, "planned")
    installation.execute(
        """update payments set state = 'review', reason = 'PAY-NEAR-DUPLICATE', settled_at = clock_timestamp()
           where order_id = %s""",
        order_id,
    )

    assert hook.tell(order_id) == "200 accepted"

    assert payment(installation, order_id) == ("review", "PAY-EVENT-UNASKED")
    assert installation.states("notifications", batch) == {}
    assert inbox(installation, order_id) == [("review", "PAY-EVENT-UNASKED")]


@pytest.mark.parametrize("state", ["planned", "sending", "unknown", "retry_wait", "rejected", "cancelled"])
@pytest.mark.parametrize("wrong", [{"amount": 1499}, {"currency": "USD"}])
def test_another_amount_than_asked_waits_for_a_person(
    installation: Installation, hook: Hook, state: str, wrong: dict[str, object]
) -> None:
    batch, order_id = in_state(installation, state)

    assert hook.tell(order_id, **wrong) == "200 accepted"  # type: ignore[arg-type]

    assert payment(installation, order_id) == ("review", "PAY-EVENT-MISMATCH")
    assert installation.states("notifications", batch) == {}
    assert inbox(installation, order_id) == [("review", "PAY-EVENT-MISMATCH")]


def test_a_payment_of_another_order_is_not_ours(installation: Installation, hook: Hook) -> None:
    """7 H: the other order's id; no two orders ever share a charge."""
    _, [mine, other] = planned(installation, 2)
    put(installation, other, "sending", "done")
    put(installation, mine, "sending", "unknown")

    assert hook.tell(mine, payment_id=f"pay_{other}") == "200 accepted"

    assert payment(installation, mine) == ("review", "PAY-EVENT-MISMATCH")
    assert payment(installation, other) == ("done", None)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"amount": 1499}, "PAY-EVENT-MISMATCH"),
        ({"payment_id": "pay_second"}, "PAY-EVENT-SECOND-CHARGE"),
        ({"type_": "payment.failed"}, "PAY-EVENT-CONTRADICTS"),
    ],
)
def test_what_is_done_stays_done_and_a_contradiction_is_an_alarm(
    installation: Installation, hook: Hook, told: dict[str, object], reason: str
) -> None:
    """4.9."""
    batch, order_id = in_state(installation, "done")

    assert hook.tell(order_id, **told) == "200 accepted"  # type: ignore[arg-type]

    assert payment(installation, order_id) == ("done", None)
    assert inbox(installation, order_id) == [("alarm", reason)]
    assert trail(installation, batch)[-1].endswith(":alarm")


def test_a_failure_that_is_older_than_the_last_call_is_ignored(installation: Installation, hook: Hook) -> None:
    """4.2: it is about a call before; written down all the same."""
    batch, order_id = in_state(installation, "done")
    earlier = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()

    assert hook.tell(order_id, "payment.failed", occurred_at=earlier) == "200 accepted"

    assert payment(installation, order_id) == ("done", None)
    assert trail(installation, batch) == ["webhook:payment:failed:ignored"]


def test_failed_and_completed_in_the_wrong_order_end_as_completed(installation: Installation, hook: Hook) -> None:
    """4.2: the event that happened first comes last."""
    _, order_id = in_state(installation, "unknown")
    installation.execute("update payments set first_sent_at = clock_timestamp() - interval '1 hour'")
    earlier = (datetime.now(UTC) - timedelta(milliseconds=500)).isoformat()
    first, second = event(order_id, "payment.failed", occurred_at=earlier), event(order_id)

    assert [said(hook.post(told)) for told in (second, first)] == ["200 accepted", "200 accepted"]
    assert payment(installation, order_id) == ("done", None)
    assert inbox(installation, order_id) == [("applied", None), ("ignored", None)]


@pytest.mark.parametrize("state", ["sending", "review"])
def test_a_failure_is_evidence_and_no_verdict(installation: Installation, hook: Hook, state: str) -> None:
    """It does not tell which of several calls it is about."""
    _, order_id = in_state(installation, state)

    assert hook.tell(order_id, "payment.failed") == "200 accepted"

    assert payment(installation, order_id)[0] == state
    assert inbox(installation, order_id) == [("noted", None)]


def test_a_failure_of_a_payment_in_doubt_is_looked_up_at_once(installation: Installation, hook: Hook) -> None:
    _, order_id = in_state(installation, "unknown")
    due = "select not_before <= clock_timestamp() from payments where order_id = %s"

    assert installation.execute(due, order_id) == [(False,)]
    hook.tell(order_id, "payment.failed")
    assert payment(installation, order_id) == ("unknown", None)
    assert installation.execute(due, order_id) == [(True,)]


@pytest.mark.parametrize("state", ["planned", "retry_wait", "rejected", "cancelled"])
def test_a_failure_that_we_know_of_changes_nothing(installation: Installation, hook: Hook, state: str) -> None:
    _, order_id = in_state(installation, state)

    hook.tell(order_id, "payment.failed")

    assert (payment(installation, order_id)[0], inbox(installation, order_id)) == (state, [("agreed", None)])


def test_an_order_that_does_not_exist_yet_is_parked_and_tried_again(installation: Installation, hook: Hook) -> None:
    """4.5: 202, and judged once its order and its payment are there."""
    [[next_id]] = installation.execute("select last_value + 1 from orders_order_id_seq")
    told = event(next_id)

    assert said(hook.post(told)) == "202 parked"
    assert said(hook.post(told)) == "202 parked"
    assert trail(installation, "system:webhooks") == ["webhook:payment:completed:parked"]

    batch, [order_id] = planned(installation)
    put(installation, order_id, "sending", "unknown")
    assert order_id == next_id
    wait_for(lambda: inbox(installation, order_id) == [("applied", None)])
    assert payment(installation, order_id) == ("done", None)
    assert trail(installation, batch)[-1] == "webhook:payment:completed:applied"


def test_an_order_that_never_appears_is_given_up_after_a_day(installation: Installation, hook: Hook) -> None:
    told = event(2_000_000_000)

    assert said(hook.post(told)) == "202 parked"
    installation.execute("update webhook_inbox set received_at = received_at - interval '25 hours'")
    wait_for(lambda: inbox(installation, 2_000_000_000) == [("expired", "PAY-EVENT-ORDER-UNKNOWN")])
    assert said(hook.post(told)) == "200 duplicate"


def test_a_single_order_of_the_legacy_system_is_left_alone(installation: Installation, hook: Hook) -> None:
    """Its own screens look after it (R-39)."""
    [[order_id]] = installation.execute(
        """insert into orders (customer_name, customer_email, amount) values ('x', 'x@example.jp', 1500)
           returning order_id"""
    )
    installation.execute("insert into payments (order_id, amount) values (%s, 1500)", order_id)

    assert hook.tell(order_id) == "200 accepted"

    assert installation.execute("select status from payments where order_id = %s", order_id) == [("PENDING",)]
    assert inbox(installation, order_id) == [("ignored", None)]


def test_a_finished_batch_is_opened_again_for_the_mail(installation: Installation, hook: Hook) -> None:
    """A payment in review turns out to be made: its mail has to leave, so somebody has to work on the batch again."""
    batch, order_id = in_state(installation, "review", "PAY-OUTCOME-UNKNOWN")
    close_batch(installation.database, batch)
    assert installation.batch(batch) == ("partial", None)

    assert hook.tell(order_id) == "200 accepted"

    assert installation.batch(batch) == ("ordered", None)


def test_the_inbox_never_forgets_and_never_changes(installation: Installation, hook: Hook) -> None:
    import psycopg

    _, order_id = in_state(installation, "sending")
    hook.tell(order_id)

    for statement in ("delete from webhook_inbox", "truncate webhook_inbox", "update webhook_inbox set amount_jpy = 1"):
        with pytest.raises(psycopg.Error) as refused:
            installation.execute(statement)
        assert refused.value.sqlstate == "BO003"


def wait_for(condition: object) -> None:
    from resources.local.children import wait_until

    assert callable(condition)
    assert wait_until(condition, 20, 0.1)
