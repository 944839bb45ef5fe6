"""Cells as Japanese offices write them: what is certain is read, what is not is asked about (issue 4.5, 4.6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import parse_yen
from domain.values import amounts, contacts, damage, days
from domain.values.amounts import Thousands, read_number
from domain.values.contacts import read_mail_address, read_phone, read_postal_code
from domain.values.days import DateOrder, read_day
from domain.values.reading import Reading, ReadingRule, read_kana


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        ("１，０００円", "1000"),
        ("¥1,000", "1000"),
        ("￥１，０００－", "1000"),
        ("\\1,000", "1000"),
        ("¥1,000-", "1000"),
        ("1,000円", "1000"),
        ("1000円也", "1000"),
        ("JPY 1,234,567", "1234567"),
        ("1000.0", "1000"),
        ("1,000.00", "1000"),
        ("０", "0"),
    ],
)
def test_an_amount_in_office_writing_is_read(cell: str, plain: str) -> None:
    read = read_number(cell)

    assert read.refusal is None
    assert read.plain == plain
    assert read.rules


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("1.000", amounts.AMBIGUOUS),  # a thousand, or one with three decimals
        ("1,000-", amounts.AMBIGUOUS),  # a closing stroke, or a minus
        ("-100", amounts.NEGATIVE),
        ("▲1,000", amounts.NEGATIVE),
        ("△100", amounts.NEGATIVE),
        ("(100)", amounts.NEGATIVE),
        ("－１００", amounts.NEGATIVE),
        ("1.00E+05", amounts.ROUNDED_BY_EXCEL),
        ("1E5", amounts.ROUNDED_BY_EXCEL),
        ("1,00", amounts.FORMAT),
        ("12,34,567", amounts.FORMAT),
        ("1000.5", amounts.FORMAT),
        ("0100", amounts.FORMAT),
        ("1_000", amounts.FORMAT),
        ("1 000", amounts.FORMAT),
        ("٣٠٠", amounts.FORMAT),
        ("१००", amounts.FORMAT),
        ("NaN", amounts.FORMAT),
        ("Infinity", amounts.FORMAT),
        ("0x64", amounts.FORMAT),
        ("金壱万円", amounts.FORMAT),
        ("円", amounts.FORMAT),
        ("", amounts.FORMAT),
    ],
)
def test_an_amount_that_is_not_certain_is_refused_with_its_reason(cell: str, code: str) -> None:
    assert read_number(cell) == Reading(refusal=code)


def test_the_profile_says_what_a_point_between_thousands_means() -> None:
    assert read_number("1.000", Thousands.POINT).plain == "1000"
    assert read_number("1.000,00", Thousands.POINT).plain == "1000"
    assert read_number("1,000", Thousands.POINT).refusal == amounts.AMBIGUOUS


@given(st.integers(0, 10**9), st.sampled_from(["{}", "{:,}", "¥{:,}", "{:,}円", "{}.00", "￥{:,}", "JPY{}"]))
def test_every_way_of_writing_a_number_gives_that_number(number: int, written: str) -> None:
    assert parse_yen(read_number(written.format(number)).plain) == number


@given(st.text(max_size=30))
def test_no_text_breaks_a_reader_and_what_is_read_is_plain(text: str) -> None:
    number, day = read_number(text), read_day(text)

    assert number.refusal is not None or parse_yen(number.plain) is not None
    assert day.refusal is not None or len(day.plain) == 10
    for read in (read_phone, read_postal_code, read_mail_address, read_kana):
        assert read(text).refusal is None
    damage.damage_of(text)


@pytest.mark.parametrize(
    "cell",
    [
        "2026/4/1",
        "2026.04.01",
        "20260401",
        "2026年4月1日",
        "２０２６年４月１日",
        "2026年4月1日(水)",
        "2026-04-01 水曜日",
        "令和8年4月1日",
        "令8.4.1",
        "R8.4.1",
        "R08/04/01",
        "㋿8年4月1日",
        "2026/04/01 12:34:56",
        "2026-04-01T23:59:59+09:00",
        "2026-03-31T15:00:00Z",
        "2026年4月1日 9時30分",
        "1-Apr-2026",
        "Apr 1, 2026",
    ],
)
def test_a_day_in_office_writing_is_read(cell: str) -> None:
    assert read_day(cell).plain == "2026-04-01"


def test_the_first_and_last_days_of_an_era_belong_to_it_and_no_other_day_does() -> None:
    assert read_day("昭和64年1月7日").plain == "1989-01-07"
    assert read_day("平成元年1月8日").plain == "1989-01-08"
    assert read_day("平成31年4月30日").plain == "2019-04-30"
    assert read_day("令和元年5月1日").plain == "2019-05-01"
    assert read_day("昭和64年1月8日").refusal == days.OUTSIDE_ERA
    assert read_day("平成31年5月1日").refusal == days.OUTSIDE_ERA
    assert read_day("令和1年4月30日").refusal == days.OUTSIDE_ERA
    assert read_day("令和0年5月1日").refusal == days.OUTSIDE_ERA


def test_the_order_of_day_and_month_is_asked_about_and_never_guessed() -> None:
    assert read_day("04/05/2026").refusal == days.AMBIGUOUS
    assert read_day("04/05/2026", DateOrder.MDY).plain == "2026-04-05"
    assert read_day("04/05/2026", DateOrder.DMY).plain == "2026-05-04"
    assert read_day("26/04/05").refusal == days.AMBIGUOUS
    assert read_day("26/04/05", DateOrder.YMD).plain == "2026-04-05"
    assert read_day("13/04/2026").plain == "2026-04-13"  # there is no thirteenth month
    assert read_day("05/05/2026").plain == "2026-05-05"  # both orders say the same


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("2026/2/30", days.CALENDAR),
        ("2026-13-01", days.CALENDAR),
        ("0000-00-00", days.CALENDAR),
        ("2026-04-01 24:00", days.CALENDAR),
        ("4/1", days.WITHOUT_YEAR),
        ("4月1日", days.WITHOUT_YEAR),
        ("46113", days.SERIAL),
        ("46113.5", days.SERIAL),
        ("2026/04-01", days.FORMAT),
        ("明日", days.FORMAT),
        ("", days.FORMAT),
        ("２０２６-０４-０１x", days.FORMAT),
    ],
)
def test_what_is_no_day_is_refused_with_its_reason(cell: str, code: str) -> None:
    assert read_day(cell) == Reading(refusal=code)


def test_a_phone_gets_its_zero_back_only_where_it_must_have_had_one() -> None:
    assert read_phone("9012345678") == Reading("09012345678", (ReadingRule.LEADING_ZERO,))
    assert read_phone("312345678") == Reading("0312345678", (ReadingRule.LEADING_ZERO,))
    assert read_phone("０３－１２３４－５６７８") == Reading("03-1234-5678", (ReadingRule.WIDTH,))
    for whole in ("0312345678", "03-1234-5678", "+81 90-1234-5678", "12345678", "1234567890"):
        assert read_phone(whole) == Reading(whole)


def test_a_postal_code_gets_its_zero_back_only_where_it_must_have_had_one() -> None:
    assert read_postal_code("600001") == Reading("060-0001", (ReadingRule.LEADING_ZERO,))
    assert read_postal_code("〒060-0001") == Reading("060-0001", (ReadingRule.MARK,))
    assert read_postal_code("１２３－４５６７") == Reading("123-4567", (ReadingRule.WIDTH,))
    assert read_postal_code("60001") == Reading("60001")  # two zeros lost, or a code of the years before 1998
    assert read_postal_code("SW1A 1AA") == Reading("SW1A 1AA")


def test_half_width_kana_become_whole_and_nothing_else_changes() -> None:
    assert read_kana("ﾔﾏﾀﾞ ﾊﾟｳﾛ㈱①髙") == Reading("ヤマダ パウロ㈱①髙", (ReadingRule.KANA,))
    assert read_kana("山田　太郎㈱Ⅳ") == Reading("山田　太郎㈱Ⅳ")


def test_a_full_width_mail_address_is_read() -> None:
    assert read_mail_address("ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ") == Reading("taro@example.jp", (ReadingRule.WIDTH,))
    assert contacts.read_mail_address("taro@example.jp") == Reading("taro@example.jp")


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("2.01E+10", damage.ROUNDED),
        ("1.00E+11", damage.ROUNDED),
        ("４.5Ｅ+12", damage.ROUNDED),
        ("1月2日", damage.DATED),
        ("2-Jan", damage.DATED),
        ("Jan-26", damage.DATED),
        ("#N/A", damage.ERROR_VALUE),
        ("#SPILL!", damage.ERROR_VALUE),
        ("#GETTING_DATA", damage.ERROR_VALUE),
        ("#######", damage.ERROR_VALUE),
    ],
)
def test_what_a_spreadsheet_did_to_a_code_shows(cell: str, code: str) -> None:
    assert damage.damage_of(cell) == code


@pytest.mark.parametrize("cell", ["N-001", "2024E", "1E", "A1E+5", "0012", "ABC-1-2", "2026-001", "", "#1001"])
def test_a_whole_code_is_no_damage(cell: str) -> None:
    assert damage.damage_of(cell) is None


@pytest.mark.parametrize("space", [" ", "\t", "\u3000"])
def test_an_amount_before_a_field_of_spaces_takes_no_time(space: str) -> None:
    """Looked for the word for yen from each space, one cell took a second, and a file has thirty thousand."""
    assert read_number("@" + space * 200_000 + "x").refusal == amounts.FORMAT
