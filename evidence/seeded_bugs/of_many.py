"""Bugs in calls that carry many effects, and in what the payment service tells us by itself."""

from __future__ import annotations

from evidence.seeded_bugs.workshop import Edit, SeededBug

_BATCHES = "tests/integration/test_batch_endpoints.py::"
_HOOK = "tests/integration/test_webhook_"
_CALLS = "resources/services/batch_calls.py"

BUGS = (
    SeededBug(
        "results matched by position",
        "a service answers in another order, and one customer's refusal becomes another's",
        (
            Edit(
                _CALLS,
                "_of_item(reader, item, by_name.pop(_name(reader, item), []), doubt) for item in items}",
                "_of_item(reader, item, results[at : at + 1], doubt) for at, item in enumerate(items)}",
            ),
            Edit(_CALLS, " or (order_id is not None and order_id != item.order_id):", ":"),
        ),
        (f"{_BATCHES}test_one_bad_item_is_isolated_from_the_others",),
    ),
    SeededBug(
        "an item without a result counts as not done",
        "it was left out of the answer and done all the same: it would be done twice",
        (
            Edit(
                _CALLS,
                "    if not results:\n        return doubt\n",
                "    if not results:\n        return replace(doubt, cls=OutcomeClass.NOT_DONE)\n",
            ),
        ),
        (f"{_BATCHES}test_every_fault_of_a_call_or_an_item_ends_in_exactly_one_effect",),
    ),
    SeededBug(
        "a lost batch call sent again in pieces",
        "the whole call is in doubt, and its items are sent one by one",
        (
            Edit(
                _CALLS,
                "return BatchAnswer(call, {item.order_id: replace(call, systemic=False) for item in items})",
                "return BatchAnswer(call)",
            ),
        ),
        (f"{_BATCHES}test_every_fault_of_a_call_or_an_item_ends_in_exactly_one_effect",),
    ),
    SeededBug(
        "forged webhook accepted",
        "anybody can say that an order is paid",
        (Edit("webhooks/signature.py", "if not any(genuine):", "if not genuine:"),),
        (f"{_HOOK}http.py::test_a_body_that_was_changed_on_the_way_is_forged",),
    ),
    SeededBug(
        "old webhook accepted",
        "a request that somebody kept is believed again",
        (Edit("webhooks/signature.py", "> WINDOW_SECONDS:", "> 10**9:"),),
        (f"{_HOOK}http.py::test_an_old_request_rightly_signed_is_a_replay",),
    ),
    SeededBug(
        "paid by webhook, no mail",
        "the service told us first, and the customer never hears of it",
        (
            Edit(
                "webhooks/inbox.py",
                "        if verdict.to_state is EffectState.DONE:\n",
                "        if verdict.to_state is EffectState.DONE and is_over:\n",
            ),
        ),
        (f"{_HOOK}events.py::test_a_payment_that_the_service_reports_is_done_with_all_that_follows",),
    ),
    SeededBug(
        "an event judged twice",
        "the sender comes again and its event is taken in again",
        (Edit("webhooks/inbox.py", "            if before is not None:\n", "            if before is None:\n"),),
        (f"{_HOOK}events.py::test_an_event_that_comes_twice_is_taken_once",),
    ),
)
