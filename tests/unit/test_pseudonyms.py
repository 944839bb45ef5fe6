"""Pseudonyms: nobody's, the same for the same person, and drawn again where they happen to be somebody's."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import pytest

from domain.pseudonyms import Pseudonyms, folded, parts_of, prefecture_of

KEY, TODAY = bytes(range(32)), date(2026, 3, 10)
PEOPLE = [f"person-{n}" for n in range(300)]


def drawn(originals: Collection[str] = (), key: bytes = KEY) -> list[tuple[str, str, str, str, str]]:
    names = Pseudonyms(key, set(originals), TODAY)
    return [
        (names.name(p), names.mail(p), names.phone(p), names.address(p, "東京都"), names.order_number(p))
        for p in PEOPLE
    ]


def test_what_is_somebodys_is_drawn_again():
    """In the worst case every customer is called what a first draw would have called another."""
    first = drawn()
    originals = parts_of(value for person in first for value in person)
    second = drawn(originals)

    assert len(second) == len(first)
    for person in second:
        words = {folded(word) for value in person for word in (value, *value.split())}
        assert words.isdisjoint(originals), person


def test_each_person_has_an_address_and_a_number_of_their_own():
    mails, numbers = ({person[at] for person in drawn()} for at in (1, 4))

    assert (len(mails), len(numbers)) == (300, 300)
    assert drawn() == drawn()
    assert not mails & {person[1] for person in drawn(key=bytes(32))}


def test_where_a_whole_range_is_taken_the_cell_stays_empty():
    taken = parts_of(f"000-{n:04}" for n in range(10_000))

    assert Pseudonyms(KEY, taken, TODAY).postal_code("p") == ""


def test_days_stay_in_their_year_and_none_is_still_to_come():
    names = Pseudonyms(KEY, set(), TODAY)
    for day in (date(2024, 2, 29), date(2025, 12, 31), date(2026, 3, 10), date(2026, 1, 1), date(2027, 1, 1)):
        other = names.day(day)
        assert other.year == day.year
        assert other != day or day == date(2027, 1, 1)
        assert other <= TODAY or day > TODAY
        assert names.day(day) == other


@pytest.mark.parametrize(
    ("jpy", "lowest", "highest"), [(1_000, 900, 1_100), (100, 100, 110), (1_000_000, 0, 1_000_000), (7, 7, 7)]
)
def test_yen_vary_within_what_an_amount_may_be(jpy: int, lowest: int, highest: int):
    names = Pseudonyms(KEY, set(), TODAY)
    found = [names.amount(f"b|{row}", jpy, 10, 100, 1_000_000) for row in range(50)]

    assert all(lowest <= other <= highest for other in found)


def test_all_ways_of_writing_a_value_are_one():
    assert folded("ヤマダ ハナコ") == folded("ﾔﾏﾀﾞﾊﾅｺ") == folded("やまだ　はなこ")
    assert folded("０９０－１２３４") == folded("090 1234")
    assert parts_of(["山田 花子", "a"]) == {"山田花子", "山田", "花子"}


def test_a_prefecture_is_found_at_the_beginning_alone():
    assert prefecture_of(" 東京都千代田区") == "東京都"
    assert prefecture_of("京都府京都市") == "京都府"
    assert prefecture_of("千代田区東京都通り") is None
