"""The short form of the campaign that tampers with trails: each hand once, nothing missed, nothing called wrongly."""

from __future__ import annotations

import random

import pytest

from evidence.campaign import Budget
from evidence.scenario import Ground
from evidence.tampering import campaign, chains, database, exports


def test_the_campaign_reaches_its_goals_and_finds_everything(ground: Ground) -> None:
    with ground.scenario("key_and_look_up", seed=2) as place:
        batch = place.batch(rows=14, bad_rows=2)
        batch.finish()
        lines = campaign.in_place(place, batch, Budget("short"), 11, campaign.SHORT)

    assert {line.name: list(line.violations) for line in lines} == {line.name: [] for line in lines}
    assert all(line.holds for line in lines)


def test_the_full_form_is_as_large_as_promised() -> None:
    assert sum(campaign.FULL[kind] for kind in ("chains", "database", "packs", "anchors", "exports")) >= 20_000
    assert campaign.FULL["honest"] >= 10_000
    assert campaign.SHORT["database"] >= len(database.HANDS)
    assert campaign.SHORT["exports"] >= len(exports.HANDS)


def test_a_verdict_that_is_wrong_is_a_complaint() -> None:
    """The judge of the judge: it does not wave everything through."""
    rng = random.Random(2)
    trail = chains.honest(rng)
    tampered = chains.tamper(rng, trail)

    assert "not detected" in str(chains.complaint(tampered, None))
    wrong = chains.judged(chains.HANDS[0](rng, trail).trail)
    assert wrong is not None
    elsewhere = chains.Tampered("x", trail, frozenset({wrong.kind}), wrong.until + 1)
    assert "called" in str(chains.complaint(elsewhere, wrong))


@pytest.mark.parametrize("hand", database.HANDS, ids=lambda hand: hand.what)
def test_every_hand_on_the_database_says_what_it_should_be_called(hand: database.Hand) -> None:
    assert hand.kinds
