"""Profiles of clients: everything in them is checked, and what is wrong is said with its key (issue 4.4)."""

from pathlib import Path

import pytest

from assets.validated_csv.reading.encodings import ENCODINGS as READ_ENCODINGS
from domain.client_profile import (
    ENCODINGS,
    NO_PROFILE,
    AmountRule,
    ClientProfile,
    Lines,
    SideTotals,
    parse_profile,
)
from domain.errors import FileRefused
from domain.headers import AmountIs, HeaderMap
from domain.values.amounts import Thousands
from domain.values.days import DateOrder
from resources.client_profiles import ClientProfiles, load_profile

WHOLE = """
encoding: cp932
delimiter: tab
sheet: 注文一覧
header_row: 3
columns:
  order_number: 受注No
  customer_name: [姓, 名]
date_order: dmy
thousands: point
amount: stated
lines: many
amount_is: order_total
totals: required
near_duplicate_days: 0
"""


def load(folder: Path, text: str) -> ClientProfile:
    (folder / "acme.yaml").write_text(text, encoding="utf-8")
    return ClientProfiles(folder).of("acme")


def test_every_key_is_read(tmp_path: Path):
    profile = load(tmp_path, WHOLE)

    assert (profile.encoding, profile.delimiter, profile.sheet, profile.header_row) == ("cp932", "\t", "注文一覧", 3)
    assert profile.columns == {"order_number": ("受注No",), "customer_name": ("姓", "名")}
    assert (profile.date_order, profile.thousands) == (DateOrder.DMY, Thousands.POINT)
    assert profile.amount is AmountRule.STATED
    assert (profile.lines, profile.amount_is) == (Lines.MANY, AmountIs.ORDER_TOTAL)
    assert (profile.totals, profile.near_duplicate_days) == (SideTotals.REQUIRED, 0)
    assert profile.to_json()["near_duplicate_days"] == 0


def test_a_client_without_a_file_and_one_with_an_empty_file_have_nothing_settled(tmp_path: Path):
    assert ClientProfiles(tmp_path).of("acme") is NO_PROFILE
    assert load(tmp_path, "encoding:\ncolumns:\n  amount:\n") == load(tmp_path, "") == NO_PROFILE


def test_its_version_hangs_on_what_it_says_and_not_on_how(tmp_path: Path):
    one = load(tmp_path, "encoding: cp932\namount: stated\n")
    other = load(tmp_path, "# 確認済み\namount: stated\nencoding: 'cp932'\n")

    assert one.version == other.version
    assert one.version != load(tmp_path, "encoding: cp932\n").version


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("encodng: cp932", "encodng", "encoding | delimiter"),
        ("encoding: sjis", "encoding", "cp932"),
        ("delimiter: ','", "delimiter", "comma | tab"),
        ("header_row: 0", "header_row", "1, 2, 3"),
        ("header_row: true", "header_row", "1, 2, 3"),
        ("sheet: 4", "sheet", '"text"'),
        ("columns: 金額", "columns", "amount"),
        ("columns: {total: 金額}", "columns.total", "order_number"),
        ("columns: {amount: [金額, 3]}", "columns.amount", '"text"'),
        ("columns: {amount: []}", "columns.amount", '"text"'),
        ("date_order: 日月年", "date_order", "ymd | mdy | dmy"),
        ("amount: [stated]", "amount", "stated | quantity_times_price | agree"),
        ("lines: several", "lines", "one | many"),
        ("lines: many\namount_is: each", "amount_is", "order_total | line_total"),
        ("amount_is: line_total", "lines", "many"),
        ("lines: one\namount_is: line_total", "lines", "many"),
        ("lines: many\namount_is: order_total\namount: quantity_times_price", "amount", "stated"),
        ("totals: optional", "totals", "required"),
        ("near_duplicate_days: -1", "near_duplicate_days", "0, 1, 2, ... 366"),
        ("near_duplicate_days: false", "near_duplicate_days", "0, 1, 2, ... 366"),
        ("- encoding", "-", "key: value"),
        ("encoding: cp932\nencoding: utf-8", "line 2", "YAML"),
        ("a: b: c", "line 1", "YAML"),
        ("? [a, b]\n: c", "line 1", "YAML"),
        ("a: !!python/object/apply:os.system ['true']", "line 1", "YAML"),
        ("#" * 70_000, "-", "bytes"),
        ("[" * 5_000, "-", "YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_key_and_what_is_expected(tmp_path: Path, text: str, key: str, expected: str):
    with pytest.raises(FileRefused) as refused:
        load(tmp_path, text)

    assert refused.value.code == "FILE-PROFILE-INVALID"
    assert refused.value.facts["client"] == "acme"
    assert refused.value.facts["key"] == key
    assert expected in str(refused.value.facts["expected"])
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_octets_that_are_no_text_and_links_are_no_profile(tmp_path: Path):
    (tmp_path / "acme.yaml").write_bytes(b"\x82\xa0: 1")
    with pytest.raises(FileRefused, match="UTF-8"):
        load_profile(tmp_path / "acme.yaml", "acme")
    (tmp_path / "link.yaml").symlink_to("acme.yaml")
    with pytest.raises(FileRefused, match="FILE-NOT-REGULAR"):
        ClientProfiles(tmp_path).of("link")


def test_the_total_of_a_known_system_is_not_calculated_unless_the_profile_says_so():
    """It may hold shipping; what an office calls the amount must agree with quantity times price."""
    plain = HeaderMap({}, {})
    total = HeaderMap({}, {}, "base", AmountIs.ORDER_TOTAL)
    by_line = HeaderMap({}, {}, "yayoi", AmountIs.LINE_TOTAL)

    assert [NO_PROFILE.amount_rule(header) for header in (plain, total, by_line)] == [
        AmountRule.AGREE,
        AmountRule.STATED,
        AmountRule.AGREE,
    ]
    assert parse_profile("acme", {"amount": "agree"}).amount_rule(total) is AmountRule.AGREE


def test_what_the_amount_of_a_line_is_must_be_said_by_the_profile_or_the_system():
    """Added up or taken once: the difference is the customer's money, so it is never guessed."""
    many = parse_profile("acme", {"lines": "many"})
    stated = parse_profile("acme", {"lines": "many", "amount_is": "line_total"})
    plain, total = HeaderMap({}, {}), HeaderMap({}, {}, "base", AmountIs.ORDER_TOTAL)

    with pytest.raises(FileRefused, match="FILE-LINES-AMOUNT"):
        many.amount_of_lines(plain)
    assert many.amount_of_lines(total) is AmountIs.ORDER_TOTAL
    assert stated.amount_of_lines(total) is stated.amount_of_lines(plain) is AmountIs.LINE_TOTAL
    assert (many.amount_rule(total), stated.amount_rule(total)) == (AmountRule.STATED, AmountRule.AGREE)


def test_the_encodings_that_may_be_settled_are_those_that_are_read():
    assert set(ENCODINGS) == set(READ_ENCODINGS)
