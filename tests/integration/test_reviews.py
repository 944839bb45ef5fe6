"""Rows in review: what is shown of each, and a person's decision with all its consequences in one transaction."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from assets.batch_report.work import close_batch
from domain.decisions import Decision
from domain.errors import BulkOrdersError, OperationRefused
from domain.outcomes import LookUp
from domain.states import EffectKind
from orchestration import operations, reviews
from orchestration.cli import review_text
from orchestration.reviews import RowDecision
from resources.database.connection import Actor
from resources.database.database import Database
from resources.database.reviews import in_review
from tests.integration.batches import Installation, order_row, services, work_through

NONE = {"look_up": LookUp.NONE}
PAYMENT, MAIL = EffectKind.PAYMENT, EffectKind.NOTIFICATION


@pytest.fixture
def charging(payments: Any) -> Any:
    payments.behave(unique_orders=False)
    return payments


def between(charger: Any, mailer: Any, **changes: Any) -> Any:
    return services(str(charger.http.base_url), str(mailer.http.base_url), **changes)


def count(service: Any, table: str, ids: list[int]) -> Counter[int]:
    query = f"SELECT order_id FROM {table} WHERE order_id BETWEEN ? AND ?"
    return Counter(order_id for (order_id,) in service.rows(query, ids[0], ids[-1]))


@pytest.fixture
def doubtful(installation: Installation, charging: Any, notifications: Any) -> tuple[str, list[int]]:
    """Finished with row 2 charged but not known, row 3 not charged and not known, row 4's mail not known."""
    batch = installation.ordered([order_row(order_number=f"R-{n}") for n in range(4)])
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"reset_after": [ids[1]], "reset_before": [ids[2]]})
    notifications.behave(fault_orders={"reset_before": [ids[3]]})
    work_through(installation, batch, between(charging, notifications, payments=NONE, notifications=NONE))
    close_batch(installation.database, batch)
    charging.behave(fault_orders={})
    notifications.behave(fault_orders={})
    assert installation.batch(batch)[0] == "partial"
    return batch, ids


def decide(installation: Installation, batch: str, row: int, decision: Decision, **more: Any) -> None:
    given = {"kind": PAYMENT, "note": "looked up by hand", **more}
    reviews.decide(installation.database, installation.vault, batch, RowDecision(row, decision=decision, **given))


def refused(installation: Installation, batch: str, row: int, decision: Decision, **more: Any) -> str:
    """The code of a refusal that changed nothing."""
    tables = ("batches", "payments", "notifications", "orders", "decisions", "audit_events")
    query = "select to_jsonb(t) from {} t order by to_jsonb(t)::text"
    before = [installation.execute(query.format(table)) for table in tables]
    with pytest.raises(OperationRefused) as caught:
        decide(installation, batch, row, decision, **more)

    assert [installation.execute(query.format(table)) for table in tables] == before
    return caught.value.code


def events(installation: Installation, batch: str) -> list[tuple[str, str | None, list[int]]]:
    query = "select event, reason, subjects from audit_events where chain = %s order by seq"
    return list(installation.execute(query, batch))


def test_a_row_in_review_is_shown_with_all_that_is_known(
    installation: Installation, doubtful: tuple[str, list[int]]
) -> None:
    batch, ids = doubtful
    with installation.database.begin() as tx:
        rows = in_review(tx, None)
    first = rows[0]

    assert [(row.import_row_number, row.kind) for row in rows] == [(2, PAYMENT), (3, PAYMENT), (4, MAIL)]
    assert (first.batch_id, first.order_id, first.order_number, first.line_number) == (batch, ids[1], "R-1", 3)
    assert (first.reason, first.sends, first.look_ups) == ("PAY-OUTCOME-UNKNOWN", 1, 1)
    assert first.in_review_since is not None
    assert first.first_sent_at is not None


@pytest.mark.parametrize("language", ["ja", "en"])
def test_the_list_says_what_can_be_done_and_names_no_person(
    installation: Installation, doubtful: tuple[str, list[int]], language: str
) -> None:
    batch, _ = doubtful
    told = between_profiles()
    with installation.database.begin() as tx:
        rows = in_review(tx, batch)
    text = review_text.as_text(rows, told, language)
    objects = [review_text.as_json(row, told[row.kind]) for row in rows]

    assert f"bulk-orders review decide {batch} --row 2 --kind payments --as done" in text
    assert all(word in text for word in ("done", "rejected", "send-again", "PAY-OUTCOME-UNKNOWN", "R-1"))
    assert review_text.doubling(language) in text
    assert all(found["send_again_may_double"] for found in objects)
    assert "example.jp" not in f"{text}{objects}"
    assert "太郎" not in f"{text}{objects}"


def between_profiles() -> dict[EffectKind, Any]:
    both = services("http://127.0.0.1:9", "http://127.0.0.1:9", payments=NONE, notifications=NONE)
    return {PAYMENT: both.payments.profile, MAIL: both.notifications.profile}


def test_a_payment_that_is_found_done_pays_its_order_and_its_mail_leaves(
    installation: Installation, doubtful: tuple[str, list[int]], charging: Any, notifications: Any
) -> None:
    batch, ids = doubtful
    decide(installation, batch, 2, Decision.DONE, remote_id="pay-77")
    paid = installation.execute(
        "select o.status, p.remote_id, n.state from orders o join payments p using (order_id)"
        " join notifications n using (order_id) where order_id = %s",
        ids[1],
    )

    assert paid == [("PAID", "pay-77", "planned")]
    assert installation.batch(batch) == ("ordered", None)
    before = count(charging, "charges", ids)
    _, books = work_through(installation, batch, between(charging, notifications))
    assert count(charging, "charges", ids) == before
    assert count(notifications, "mails", ids) == Counter([ids[0], ids[1]])
    assert books.everything_settled
    assert close_batch(installation.database, batch).batch.state == "partial"


def test_a_payment_that_did_not_happen_is_sent_again_once(
    installation: Installation, doubtful: tuple[str, list[int]], charging: Any, notifications: Any
) -> None:
    batch, ids = doubtful
    decide(installation, batch, 3, Decision.SEND_AGAIN)
    work_through(installation, batch, between(charging, notifications))

    assert count(charging, "charges", ids)[ids[2]] == 1
    assert count(notifications, "mails", ids)[ids[2]] == 1
    assert installation.states("payments", batch)[ids[2]] == ("done", None)


def test_a_payment_that_is_given_up_leaves_its_order_open_with_the_reason(
    installation: Installation, doubtful: tuple[str, list[int]], charging: Any, notifications: Any
) -> None:
    batch, ids = doubtful
    decide(installation, batch, 3, Decision.REJECTED)
    order = installation.execute("select status, status_reason from orders where order_id = %s", ids[2])

    assert order == [("PENDING", "PAY-REJECTED-BY-PERSON")]
    assert installation.states("payments", batch)[ids[2]] == ("rejected", "PAY-REJECTED-BY-PERSON")
    work_through(installation, batch, between(charging, notifications))
    assert close_batch(installation.database, batch).batch.state == "partial"
    with pytest.raises(OperationRefused):
        operations.redrive(installation.database, batch)


def test_mails_are_decided_too_and_when_all_are_settled_the_batch_is_done(
    installation: Installation, doubtful: tuple[str, list[int]], charging: Any, notifications: Any
) -> None:
    batch, _ = doubtful
    decide(installation, batch, 2, Decision.DONE)
    decide(installation, batch, 3, Decision.SEND_AGAIN)
    decide(installation, batch, 4, Decision.DONE, kind=MAIL)
    _, books = work_through(installation, batch, between(charging, notifications))

    assert books.everything_succeeded
    assert close_batch(installation.database, batch).batch.state == "done"


def test_who_decided_what_stands_in_the_trail_and_the_words_beside_it(
    installation: Installation, doubtful: tuple[str, list[int]]
) -> None:
    """The words are a person's: they are kept with the decision and not in the trail, which nobody can clean."""
    batch, ids = doubtful
    hanako = Database(installation.url, Actor("cli:hanako"))
    reviews.decide(
        hanako, installation.vault, batch, RowDecision(2, PAYMENT, Decision.DONE, "found by  order number", "p-1")
    )
    hanako.dispose()
    columns = "decision, kind, order_id, code, note, decided_by, amount_jpy"
    [decision] = installation.execute(f"select {columns} from decisions")
    amount = installation.execute("select amount from orders where order_id = %s", ids[1])[0][0]
    trail = events(installation, batch)

    assert decision == (
        "done",
        "payments",
        ids[1],
        "PAY-OUTCOME-UNKNOWN",
        "found by order number",
        "cli:hanako",
        amount,
    )
    assert ("decision:done:payments", "PAY-OUTCOME-UNKNOWN decision-1", [ids[1]]) in trail
    assert ("payment:review:done", None, [ids[1]]) in trail
    actors = installation.execute("select distinct actor from audit_events where event like 'decision:%%'")
    assert actors == [("cli:hanako",)]
    assert installation.execute("select * from audit_verify(%s)", batch) == []
    assert "found by" not in str(installation.execute("select to_jsonb(e)::text from audit_events e"))


def test_a_decision_cannot_be_changed_or_taken_away(
    installation: Installation, doubtful: tuple[str, list[int]]
) -> None:
    batch, _ = doubtful
    decide(installation, batch, 3, Decision.REJECTED)
    for statement in (
        "update decisions set decided_by = 'cli:somebody'",
        "delete from decisions",
        "truncate decisions",
    ):
        with pytest.raises(Exception, match="append-only"):
            installation.execute(statement)


def test_killed_before_its_commit_a_decision_has_no_consequence_at_all(
    installation: Installation, doubtful: tuple[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, ids = doubtful

    def killed(*_: object, **__: object) -> None:
        raise SystemExit(137)

    monkeypatch.setattr(reviews.decisions, "record", killed)
    with pytest.raises(SystemExit):
        decide(installation, batch, 2, Decision.DONE)

    assert installation.states("payments", batch)[ids[1]][0] == "review"
    assert installation.execute("select count(*) from notifications where order_id = %s", ids[1]) == [(0,)]
    assert installation.batch(batch)[0] == "partial"


def test_of_two_people_who_decide_at_once_one_does_and_the_other_is_told(
    installation: Installation, doubtful: tuple[str, list[int]]
) -> None:
    """Otherwise one says done while the other sends it again."""
    batch, ids = doubtful
    codes: list[str] = []
    together = threading.Barrier(2)

    def person(name: str, decision: Decision) -> None:
        database = Database(installation.url, Actor(f"cli:{name}"))
        together.wait(10)
        try:
            reviews.decide(database, installation.vault, batch, RowDecision(2, PAYMENT, decision, "seen"))
            codes.append(decision.value)
        except BulkOrdersError as error:
            codes.append(error.code)
        finally:
            database.dispose()

    people = [
        threading.Thread(target=person, args=("hanako", Decision.DONE)),
        threading.Thread(target=person, args=("jiro", Decision.SEND_AGAIN)),
    ]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join(30)
    state = installation.states("payments", batch)[ids[1]][0]

    assert "BATCH-ROW-NOT-IN-REVIEW" in codes
    assert len(codes) == 2
    assert ("done" in codes) == (state == "done")
    assert ("send-again" in codes) == (state == "retry_wait")


def test_what_is_not_in_review_is_not_decided(installation: Installation, doubtful: tuple[str, list[int]]) -> None:
    batch, _ = doubtful

    assert refused(installation, batch, 1, Decision.DONE) == "BATCH-ROW-NOT-IN-REVIEW"
    assert refused(installation, batch, 99, Decision.REJECTED) == "BATCH-ROW-NOT-IN-REVIEW"
    assert refused(installation, batch, 2, Decision.DONE, kind=MAIL) == "BATCH-ROW-NOT-IN-REVIEW"


def test_a_number_that_another_order_has_and_unfit_words_are_refused(
    installation: Installation, doubtful: tuple[str, list[int]]
) -> None:
    batch, ids = doubtful
    [(taken,)] = installation.execute("select remote_id from payments where order_id = %s", ids[0])

    assert refused(installation, batch, 2, Decision.DONE, remote_id=taken) == "BATCH-REMOTE-ID-TAKEN"
    assert refused(installation, batch, 2, Decision.DONE, remote_id="a b") == "BATCH-REMOTE-ID-REFUSED"
    assert refused(installation, batch, 2, Decision.DONE, note="ask taro@example.jp") == "BATCH-NOTE-REFUSED"


def test_a_batch_that_closes_at_the_same_moment_does_not_lose_the_mail_of_a_decision(
    installation: Installation, charging: Any, notifications: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closing counts the books: it does so before the decision, or after it, never beside it."""
    batch = installation.ordered(2)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"reset_after": [ids[0]]})
    work_through(installation, batch, between(charging, notifications, payments=NONE))
    charging.behave(fault_orders={})
    closing = threading.Thread(target=close_batch, args=(installation.database, batch))
    apply = reviews._apply

    def apply_while_it_closes(*given: Any) -> None:
        apply(*given)
        closing.start()
        closing.join(1.0)

    monkeypatch.setattr(reviews, "_apply", apply_while_it_closes)
    decide(installation, batch, 1, Decision.DONE)
    closing.join(30)

    assert installation.batch(batch)[0] == "ordered"
    work_through(installation, batch, between(charging, notifications))
    assert count(notifications, "mails", ids) == Counter(ids)
    assert close_batch(installation.database, batch).batch.state == "done"


def test_in_a_cancelled_batch_nothing_is_paid_again_and_what_was_paid_has_its_mail(
    installation: Installation, charging: Any, notifications: Any
) -> None:
    batch = installation.ordered(2)
    ids = installation.order_ids(batch)
    charging.behave(fault_orders={"reset_after": ids})
    work_through(installation, batch, between(charging, notifications, payments=NONE))
    charging.behave(fault_orders={})
    operations.cancel(installation.database, batch)
    work_through(installation, batch, between(charging, notifications))
    close_batch(installation.database, batch)

    assert installation.batch(batch)[0] == "cancelled"
    assert refused(installation, batch, 1, Decision.SEND_AGAIN) == "BATCH-CANCELLED"
    decide(installation, batch, 1, Decision.DONE)
    decide(installation, batch, 2, Decision.REJECTED)
    work_through(installation, batch, between(charging, notifications))
    assert count(notifications, "mails", ids) == Counter(ids[:1])
    assert close_batch(installation.database, batch).batch.state == "cancelled"
