"""What a person may write down, and what is redriven without asking anybody."""

from __future__ import annotations

import pytest

from domain import catalogue
from domain.decisions import (
    ROW_DECISIONS,
    checked_note,
    checked_remote_id,
    proven_absent,
    redrivable_codes,
    rejected_by_person,
)
from domain.errors import OperationRefused
from domain.states import EFFECT_TRANSITIONS, EffectKind, EffectState


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("found at the service", "found at the service"),
        ("  画面で\n確認 済み ", "画面で 確認 済み"),
        ("order 123456, seen 10:30", "order 123456, seen 10:30"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_short_reason_is_kept_with_single_spaces(given: str, kept: str):
    assert checked_note(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        " \n ",
        "x" * 201,
        "asked taro@example.jp",
        "asked taro＠example.jp",
        "call 03-1234-5678",
        "call ０３（１２３４）５６７８",
        "card 4111 1111 1111 1111",
        "bell \x07",
        "\u202ereversed",
    ],
)
def test_a_reason_that_may_be_about_a_customer_is_refused_without_being_repeated(given: str):
    with pytest.raises(OperationRefused) as refused:
        checked_note(given)

    assert refused.value.code == "BATCH-NOTE-REFUSED"
    assert refused.value.facts == {"limit": 200}


@pytest.mark.parametrize("given", ["pay_1", "PAY-2026:0001", "a" * 128])
def test_a_number_of_the_service_is_taken_as_it_is(given: str):
    assert checked_remote_id(given) == given


@pytest.mark.parametrize("given", ["", "a b", "taro@example.jp", "山田", "-x", "a" * 129, "a\n"])
def test_what_is_no_number_of_a_service_is_refused(given: str):
    with pytest.raises(OperationRefused) as refused:
        checked_remote_id(given)

    assert refused.value.code == "BATCH-REMOTE-ID-REFUSED"
    assert not refused.value.facts


@pytest.mark.parametrize("kind", EffectKind)
def test_only_codes_that_the_catalogue_calls_retryable_are_redriven(kind: EffectKind):
    codes = redrivable_codes(kind)

    assert proven_absent(kind) in codes
    assert all(catalogue.retryable(code) for code in codes)
    assert not {"PAY-DECLINED", "PAY-OUTCOME-UNKNOWN", "MAIL-REFUSED", rejected_by_person(kind)} & set(codes)


def test_every_decision_is_a_step_that_the_database_allows():
    assert {(EffectState.REVIEW, to) for to in ROW_DECISIONS.values()} <= EFFECT_TRANSITIONS
