"""Bugs in what is sent to a service and in how its answers are read."""

from __future__ import annotations

from evidence.seeded_bugs.workshop import Edit, SeededBug

_ENGINE = "tests/integration/test_effects_engine.py::"
_FAULTS_OF_PAYMENTS = (f"{_ENGINE}test_every_fault_of_a_service_ends_in_exactly_one_effect[payments]",)
_CLASSIFY = "resources/services/classify.py"
_SERVICE = "resources/services/service.py"
_ANSWERS = "resources/services/answers.py"
_REFUSED = "_REFUSED = frozenset({400, 402, 404, 405, 410, 411, 413, 414, 415, 422})"

BUGS = (
    SeededBug(
        "5xx read as failed",
        "a 500 after the charge: the order is put back to PENDING although its money was taken",
        (Edit(_CLASSIFY, _REFUSED, _REFUSED.replace("422", "422, 500, 502, 503, 504")),),
        _FAULTS_OF_PAYMENTS,
    ),
    SeededBug(
        "timeout read as failed",
        "a call that did not come back counts as one that was not made",
        (
            Edit(
                _CLASSIFY,
                'return Outcome(OutcomeClass.AMBIGUOUS, f"{word}-OUTCOME-UNKNOWN", systemic=True)',
                'return Outcome(OutcomeClass.REFUSED, f"{word}-REFUSED", systemic=True)',
            ),
        ),
        _FAULTS_OF_PAYMENTS,
    ),
    SeededBug(
        "lost connection read as not sent",
        "the transport calls a connection lost after sending a ConnectTimeout too: it would be sent again",
        (
            Edit(
                _CLASSIFY,
                "isinstance(error, _NEVER_SENT_BY_HTTPX)",
                "isinstance(error, (*_NEVER_SENT_BY_HTTPX, httpx.ConnectTimeout, httpx.ConnectError, httpx.ReadError))",
            ),
        ),
        _FAULTS_OF_PAYMENTS,
    ),
    SeededBug(
        "409 read as rejected",
        "the service has charged this order already; we would say that it is not paid",
        (Edit(_CLASSIFY, _REFUSED, _REFUSED.replace("405", "405, 409")),),
        (f"{_ENGINE}test_a_payment_already_there_is_found_and_not_repeated",),
    ),
    SeededBug(
        "429 counted as refused",
        "a service that asks us to wait loses us the row",
        (
            Edit(_CLASSIFY, "if status == 429:", "if status == 999:"),
            Edit(_CLASSIFY, _REFUSED, _REFUSED.replace("422", "422, 429")),
        ),
        (f"{_ENGINE}test_a_service_that_says_too_often_is_obeyed_and_nothing_is_given_up",),
    ),
    SeededBug(
        "redirect followed",
        "a POST that is redirected may be made twice, or end at somebody else's",
        (Edit("resources/services/http.py", "follow_redirects=False", "follow_redirects=True"),),
        _FAULTS_OF_PAYMENTS,
    ),
    SeededBug(
        "no deadline for the whole call",
        "an answer that dribbles in holds its place for ever",
        (
            Edit(
                "resources/services/http.py",
                "async with asyncio.timeout(self._timeout_seconds):",
                "async with asyncio.timeout(None):",
            ),
        ),
        ("tests/unit/test_classify.py::test_an_answer_that_dribbles_is_cut_by_the_deadline_of_the_whole_call",),
    ),
    SeededBug(
        "amount of the answer not compared",
        "a charge over another amount counts as paid",
        (
            Edit(
                "resources/services/payments.py",
                'and amount == amount_jpy and currency == "JPY"',
                'and currency == "JPY"',
            ),
        ),
        (f"{_ENGINE}test_a_look_up_that_shows_another_amount_asks_for_a_person",),
    ),
    SeededBug(
        "order id of the answer not compared",
        "an answer about somebody else's order settles ours",
        (Edit(_ANSWERS, "if self.order_of(effect) != order_id or not", "if not"),),
        ("tests/unit/test_classify.py::test_an_answer_about_something_else_is_never_done",),
    ),
    SeededBug(
        "two charges found, one believed",
        "the customer was charged twice and nobody is told",
        (Edit(_ANSWERS, " or _several(effect):", ":"),),
        (f"{_ENGINE}test_two_charges_found_at_a_look_up_ask_for_a_person",),
    ),
    SeededBug(
        "an answer without an effect read as done",
        "a page of HTML with a 200 counts as a payment",
        (
            Edit(
                _ANSWERS,
                "self.order_of(effect) is None:\n            return outcome",
                "self.order_of(effect) is None:\n"
                '            return replace(outcome, cls=OutcomeClass.DONE, remote_id=f"order-{order_id}")',
            ),
        ),
        ("tests/unit/test_classify.py::test_a_good_status_with_anything_but_our_effect_is_doubt",),
    ),
    SeededBug(
        "key new per attempt",
        "a service that honours keys sees a second payment instead of the same one",
        (
            Edit(
                _SERVICE,
                'headers = {"idempotency-key": key} if',
                'headers = {"idempotency-key": f"{key}-{id(body)}-{__import__(\'time\').time_ns()}"} if',
            ),
        ),
        (f"{_ENGINE}test_a_service_that_honours_keys_is_asked_with_the_same_key",),
    ),
    SeededBug(
        "body changes per attempt",
        "the same key with another body: the service refuses what it has already done",
        (
            Edit(
                _SERVICE,
                'response = await self._connected().call("POST", self.send_path, body, headers)',
                'body = body[:-1] + b\',"sent":%d}\' % __import__("time").time_ns()\n'
                '            response = await self._connected().call("POST", self.send_path, body, headers)',
            ),
        ),
        (f"{_ENGINE}test_a_service_that_honours_keys_is_asked_with_the_same_key",),
    ),
    SeededBug(
        "age of a key not looked at",
        "a key that the service has forgotten is sent again as if it were a look-up",
        (Edit(_SERVICE, " and age_seconds < self.profile.key_ttl_seconds", ""),),
        ("tests/unit/test_classify.py::test_without_a_look_up_nobody_is_asked",),
    ),
    SeededBug(
        "blind resend where nothing can be known",
        "neither key nor look-up: a doubt would be sent again instead of asking a person",
        (
            Edit(
                _SERVICE,
                "return self.profile.sends_keys and age_seconds < self.profile.key_ttl_seconds",
                "return True",
            ),
        ),
        (f"{_ENGINE}test_without_key_and_look_up_a_doubt_is_for_a_person",),
    ),
    SeededBug(
        "any 404 means absent",
        "a gateway's page says 404, and a payment that was made is made again",
        (Edit(_SERVICE, "(isinstance(answer, dict) or self.profile.plain_not_found_means_absent)", "True"),),
        ("tests/unit/test_classify.py::test_a_look_up_tells_what_it_tells_and_no_more",),
    ),
    SeededBug(
        "breaker turns rows into rejected",
        "a service that is down makes failures of rows that were never sent",
        (
            Edit(
                "domain/outcomes.py",
                "OutcomeClass.NOT_DONE: EffectState.RETRY_WAIT",
                "OutcomeClass.NOT_DONE: EffectState.REJECTED",
            ),
        ),
        (f"{_ENGINE}test_a_batch_pauses_while_a_service_is_down_and_goes_on_when_it_is_back[payments]",),
    ),
)
