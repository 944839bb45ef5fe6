"""Bugs in what is written down, when, and by whom."""

from __future__ import annotations

from evidence.seeded_bugs.workshop import Edit, SeededBug

_ENGINE = "tests/integration/test_effects_engine.py::"
_AFTER_A_DEATH = (f"{_ENGINE}test_what_a_dead_worker_was_sending_is_looked_up_before_it_is_sent",)
_DOUBT = "tests/integration/test_doubt.py::"
_SQL = "resources/database/effects.py"
_OUTCOMES = "domain/outcomes.py"
_LEDGER = "assets/effects/ledger.py"
_CALLS = "assets/effects/calls.py"
_ABSENT = "absent = outcome.cls is OutcomeClass.ABSENT and doubt.settled and doubt.absent_looks >= 1"

BUGS = (
    SeededBug(
        "resend without look-up",
        "what did not come back is simply sent again",
        (
            Edit(
                _OUTCOMES,
                "OutcomeClass.AMBIGUOUS: EffectState.UNKNOWN",
                "OutcomeClass.AMBIGUOUS: EffectState.RETRY_WAIT",
            ),
        ),
        (f"{_ENGINE}test_every_fault_of_a_service_ends_in_exactly_one_effect[payments]",),
    ),
    SeededBug(
        "crash recovered by sending again",
        "what a dead worker was sending goes back to the queue",
        (
            Edit(
                _SQL,
                "set state = 'unknown', lease_epoch = :epoch, not_before = clock_timestamp(),",
                "set state = 'retry_wait', lease_epoch = :epoch, not_before = clock_timestamp(),",
            ),
        ),
        _AFTER_A_DEATH,
    ),
    SeededBug(
        "unknown swept to retry_wait after a crash",
        "doubts of a dead worker are forgotten and sent again",
        (
            Edit(
                _SQL,
                "set lease_epoch = :epoch, looks = 0\n                 where",
                "set lease_epoch = :epoch, looks = 0, state = 'retry_wait'\n                 where",
            ),
        ),
        (f"{_ENGINE}test_an_interrupted_worker_leaves_no_call_without_its_knowledge[calls are cut off]",),
    ),
    SeededBug(
        "recovery skipped",
        "rows that a dead worker was sending stay there for ever",
        (
            Edit(
                "assets/effects/lane.py",
                "        await self._ledger.recover(self.kind)\n",
                "",
            ),
        ),
        _AFTER_A_DEATH,
    ),
    SeededBug(
        "absent believed at once",
        "the dead worker's call is still on its way, and we send another",
        (
            Edit(_OUTCOMES, _ABSENT, _ABSENT.replace("doubt.settled and ", "")),
            Edit(
                _CALLS,
                "proven_absent = outcome.cls is OutcomeClass.ABSENT and doubt.settled",
                "proven_absent = outcome.cls is OutcomeClass.ABSENT",
            ),
        ),
        ("tests/unit/test_outcomes.py::test_absent_is_believed_when_settled_and_at_the_second_look_only",),
    ),
    SeededBug(
        "absent believed at the first look",
        "a replica that lags for a moment costs the customer a second charge",
        (Edit(_OUTCOMES, _ABSENT, _ABSENT.replace(" and doubt.absent_looks >= 1", "")),),
        ("tests/unit/test_outcomes.py::test_absent_is_believed_when_settled_and_at_the_second_look_only",),
    ),
    SeededBug(
        "epoch not checked when a result is written",
        "a worker that was replaced overwrites its successor",
        (Edit(_SQL, "and e.state = u.from_state and e.lease_epoch = :epoch", "and e.state = u.from_state"),),
        ("tests/crash/test_protocol.py::test_a_result_of_a_worker_that_was_replaced_counts_for_nothing",),
    ),
    SeededBug(
        "epoch not checked before a claim",
        "a worker that was replaced goes on sending",
        (
            Edit(
                _SQL,
                "from batches where batch_id = :b and lease_epoch = :epoch for share",
                "from batches where batch_id = :b and lease_epoch >= :epoch for share",
            ),
        ),
        (f"{_ENGINE}test_a_fenced_worker_may_not_begin",),
    ),
    SeededBug(
        "lock not taken",
        "two workers pay the same batch",
        (
            Edit(
                "resources/database/database.py",
                "    connection.commit()\n    return bool(got)",
                "    connection.commit()\n    return True",
            ),
        ),
        (f"{_ENGINE}test_a_second_worker_is_told_that_the_batch_is_held",),
    ),
    SeededBug(
        "result written without compare-and-set",
        "a late answer overwrites what a look-up has settled",
        (Edit(_SQL, "and e.state = u.from_state and e.lease_epoch = :epoch", "and e.lease_epoch = :epoch"),),
        ("tests/crash/test_protocol.py::test_a_result_that_comes_late_changes_nothing_that_is_settled",),
    ),
    SeededBug(
        "a call that we cut off counts as not made",
        "Ctrl-C in the middle of a payment, and the payment is made again",
        (
            Edit(
                _CALLS,
                'doubt = Outcome(OutcomeClass.AMBIGUOUS, f"{self._service.word}-OUTCOME-UNKNOWN")',
                'doubt = Outcome(OutcomeClass.NOT_DONE, f"{self._service.word}-OUTCOME-UNKNOWN")',
            ),
        ),
        (f"{_ENGINE}test_an_interrupted_worker_leaves_no_call_without_its_knowledge[calls are cut off]",),
    ),
    SeededBug(
        "mail for an unpaid order",
        "a customer whose card was declined is told that the order is paid",
        (
            Edit(
                _LEDGER,
                "paid = [entry.order for entry in entries if entry.settlement.to_state is EffectState.DONE]",
                "paid = [entry.order for entry in entries if entry.settlement.to_state is not EffectState.UNKNOWN]",
            ),
        ),
        (f"{_ENGINE}test_a_declined_payment_puts_its_order_back_and_the_others_go_on",),
    ),
    SeededBug(
        "declined order not put back",
        "an order that was not paid does not say so",
        (Edit(_LEDGER, "        if declined:\n", "        if declined and not entries:\n"),),
        (f"{_ENGINE}test_a_declined_payment_puts_its_order_back_and_the_others_go_on",),
    ),
    SeededBug(
        "what waits for a retry is forgotten",
        "a batch ends while rows still wait: they are lost",
        (
            Edit(
                _SQL,
                "where batch_id = :b and state in ('planned', 'retry_wait', 'unknown', 'sending')",
                "where batch_id = :b and state in ('planned', 'unknown', 'sending')",
            ),
        ),
        ("tests/crash/test_protocol.py::test_the_last_row_is_waited_for_when_it_may_be_tried_again",),
    ),
    SeededBug(
        "a paused batch is taken for a finished one",
        "the service comes back and nobody goes on",
        (Edit("assets/effects/work.py", "        if stopped is not None:\n            raise stopped\n", ""),),
        (f"{_ENGINE}test_a_batch_pauses_while_a_service_is_down_and_goes_on_when_it_is_back[payments]",),
    ),
    SeededBug(
        "orders not matched with those that are there",
        "created twice, a batch has every order twice or none at all",
        (
            Edit(
                "resources/database/orders.py",
                "from orders o where o.batch_id = :batch)) is not true",
                "from orders o where false)) is not true",
            ),
        ),
        ("tests/crash/test_protocol.py::test_orders_that_are_there_are_not_made_again",),
    ),
    SeededBug(
        "rate permits per process",
        "two processes together call twice as often as the service allows",
        (
            Edit(
                "resources/services/rate_limit.py",
                "        self._service = service\n",
                '        self._service = f"{service}-{id(self)}"\n',
            ),
        ),
        ("tests/integration/test_rate_limit.py::test_the_mails_of_two_batches_at_once_keep_the_limit_together",),
    ),
    SeededBug(
        "a freeze is kept to ourselves",
        "the service says that we call too often, and the other process goes on",
        (Edit("resources/services/rate_limit.py", "limits.freeze(tx, self._service, seconds)", "pass"),),
        ("tests/integration/test_rate_limit.py::test_a_frozen_service_is_left_alone_by_everybody",),
    ),
    SeededBug(
        "a claim forgets the doubt",
        "a payment in doubt is claimed before a long pause, and its key is sent again when it is forgotten",
        (Edit(_SQL, "absent_looks = 0, settles_at = null,", "looks = 0, absent_looks = 0, settles_at = null,"),),
        (f"{_DOUBT}test_what_was_in_doubt_is_so_still_after_claims_that_came_to_no_answer",),
    ),
    SeededBug(
        "a contradiction forgotten",
        "a charge was booked under another order, ours is not found, and is charged again",
        (Edit(_OUTCOMES, "if tries_left and doubt.contradiction is None else", "if tries_left else"),),
        (
            "tests/unit/test_outcomes.py::"
            "test_what_was_answered_for_something_else_is_not_sent_again_because_it_cannot_be_found",
        ),
    ),
    SeededBug(
        "a doubt called off",
        "the order was paid by the call in doubt, and is said not to be charged",
        (Edit("resources/database/changed_orders.py", "    doubt.ask_a_person(", "    _ = (lambda *_, **__: None)("),),
        (f"{_DOUBT}test_a_payment_that_may_exist_is_not_called_off_when_its_order_changes",),
    ),
    SeededBug(
        "a gateway's page believed",
        "during a deployment of the gateway every payment is rejected for good",
        (Edit("resources/services/classify.py", "is OutcomeClass.REFUSED and _is_a_page(", "is None and _is_a_page("),),
        ("tests/unit/test_classify.py::test_a_page_of_a_gateway_refuses_no_payment",),
    ),
)
