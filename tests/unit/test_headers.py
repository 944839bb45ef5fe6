"""Header cells mapped onto the canonical columns: any order, Japanese or English, never a guess (issue 4.4)."""

from __future__ import annotations

import itertools
import random

import pytest

from domain import headers
from domain.columns import NAMES
from domain.errors import FileRefused
from domain.headers import AmountIs, Source, fold, map_header

_NEXT_ENGINE = (
    "店舗伝票番号,受注日,受注郵便番号,受注住所１,受注住所２,受注名,受注名カナ,受注電話番号,受注メールアドレス,発送郵便番号,発送先住所１,"
    "発送先住所２,発送先名,発送先カナ,発送電話番号,支払方法,発送方法,商品計,税金,発送料,手数料,ポイント,その他費用,合計金額,ギフトフラグ,"
    "時間帯指定,日付指定,作業者欄,備考,商品名,商品コード,商品価格,受注数量"
)
_RAKUTEN = (
    "注文番号,ステータス,注文日時,注文日,注文時間,注文者郵便番号1,注文者郵便番号2,注文者住所都道府県,注文者住所郡市区,"
    "注文者住所それ以降の住所,注文者姓,注文者名,注文者姓カナ,注文者名カナ,注文者電話番号1,注文者電話番号2,注文者電話番号3,"
    "注文者メールアドレス,商品合計金額,送料合計,請求金額,合計金額,商品名,商品番号,商品管理番号,単価,個数"
)
_BASE = (
    "注文ID,注文日時,氏(請求先),名(請求先),郵便番号(請求先),都道府県(請求先),住所(請求先),住所2(請求先),電話番号(請求先),"
    "メールアドレス(請求先),氏(配送先),名(配送先),備考,商品ID,商品名,価格,数量,合計金額,送料"
)
_SHOPIFY = (
    "Name,Email,Financial Status,Paid at,Currency,Subtotal,Shipping,Taxes,Total,Created at,Lineitem quantity,"
    "Lineitem name,Lineitem price,Lineitem sku,Billing Name,Billing Street,Billing Address1,"
    "Billing Address2,Billing City,Billing Zip,"
    "Billing Province,Billing Phone,Shipping Name,Notes,Phone"
)
_EC_CUBE = (
    "注文ID,会員ID,お名前(姓),お名前(名),お名前(セイ),お名前(メイ),メールアドレス,TEL,郵便番号,都道府県(名称),住所1,住所2,備考,小計,値引き,"
    "送料,手数料,合計,お支払い合計,注文日,商品名,商品コード,単価,個数"
)
_AMAZON = (
    "order-id,order-item-id,purchase-date,payments-date,buyer-email,buyer-name,buyer-phone-number,sku,product-name,"
    "quantity-purchased,currency,item-price,item-tax,ship-address-1,ship-address-2,ship-city,ship-state,ship-postal-code"
)
_FREEE = "請求書番号,取引先名,件名,請求日,メールアドレス,郵便番号,住所,小計,消費税,合計金額,備考"
_YAYOI = "伝票番号,売上日,得意先コード,得意先名,メールアドレス,商品コード,商品名,数量,単価,金額,備考"


def _mapped(line: str) -> dict[str, list[str]]:
    cells = line.split(",")
    return {name: [cells[at] for at in found] for name, found in map_header(cells).columns.items()}


@pytest.mark.parametrize(
    ("line", "system", "amount", "name", "meaning"),
    [
        (_NEXT_ENGINE, "next-engine", ["合計金額"], ["受注名"], AmountIs.ORDER_TOTAL),
        (_RAKUTEN, "rakuten-rms", ["請求金額"], ["注文者姓", "注文者名"], AmountIs.ORDER_TOTAL),
        (_BASE, "base", ["合計金額"], ["氏(請求先)", "名(請求先)"], AmountIs.ORDER_TOTAL),
        (_SHOPIFY, "shopify", ["Total"], ["Billing Name"], AmountIs.ORDER_TOTAL),
        (_EC_CUBE, "ec-cube", ["お支払い合計"], ["お名前(姓)", "お名前(名)"], AmountIs.ORDER_TOTAL),
        (_AMAZON, "amazon", ["item-price"], ["buyer-name"], AmountIs.LINE_TOTAL),
        (_FREEE, "freee", ["合計金額"], ["取引先名"], AmountIs.ORDER_TOTAL),
        (_YAYOI, "yayoi", ["金額"], ["得意先名"], AmountIs.LINE_TOTAL),
    ],
)
def test_the_export_of_a_known_system_is_recognised(
    line: str, system: str, amount: list[str], name: list[str], meaning: AmountIs
) -> None:
    found = map_header(line.split(","))
    mapped = _mapped(line)

    assert (found.system, found.amount_is) == (system, meaning)
    assert (mapped["amount"], mapped["customer_name"]) == (amount, name)
    assert {"order_number", "email"} <= mapped.keys()
    assert set(found.sources.values()) <= {Source.SYSTEM, Source.NAME, Source.PARTS}


def test_the_order_of_columns_does_not_matter() -> None:
    cells = _RAKUTEN.split(",")
    shuffled = random.Random(7).sample(cells, len(cells))

    assert _mapped(",".join(shuffled)) == _mapped(_RAKUTEN)


def test_a_plain_office_sheet_is_mapped_with_its_decorations() -> None:
    assert _mapped("注文番号,お客様名（必須）,メールアドレス,金額（円）,注文日,電話番号,携帯電話,備考,社内メモ") == {
        "order_number": ["注文番号"],
        "customer_name": ["お客様名（必須）"],
        "email": ["メールアドレス"],
        "amount": ["金額（円）"],
        "ordered_on": ["注文日"],
        "phone": ["電話番号"],
        "note": ["備考"],
    }


def test_names_and_addresses_in_parts_are_joined_in_order() -> None:
    mapped = _mapped("名,姓,受注No,住所２,E-mail,住所１,都道府県,単価,数量")

    assert mapped["customer_name"] == ["姓", "名"]
    assert mapped["address"] == ["都道府県", "住所１", "住所２"]


def test_a_whole_name_is_preferred_to_its_parts() -> None:
    assert _mapped("注文番号,氏名,姓,名,メール,金額")["customer_name"] == ["氏名"]


def test_two_columns_that_may_be_the_amount_are_a_question_with_the_candidates() -> None:
    with pytest.raises(FileRefused) as refused:
        map_header(["注文番号", "氏名", "メール", "金額", "合計"])

    assert refused.value.code == "FILE-COLUMNS-AMBIGUOUS"
    assert refused.value.facts == {"column": "amount", "candidates": "4 (金額), 5 (合計)"}


def test_the_canonical_word_and_the_profile_settle_what_would_be_a_question() -> None:
    assert _mapped("注文番号,氏名,メール,amount,合計")["amount"] == ["amount"]
    settled = map_header(["注文番号", "氏名", "メール", "金額", "合計"], {"amount": ["合計"]})
    assert settled.columns["amount"] == (4,)
    assert settled.sources["amount"] is Source.PROFILE


def test_an_amount_without_tax_is_not_what_is_paid() -> None:
    assert _mapped("注文番号,氏名,メール,金額（税抜）,金額（税込）")["amount"] == ["金額（税込）"]


def test_a_column_that_the_profile_states_and_the_file_lacks_is_said() -> None:
    with pytest.raises(FileRefused) as refused:
        map_header(["注文番号", "氏名"], {"email": ["連絡先"]})

    assert (refused.value.code, refused.value.facts) == ("FILE-PROFILE-COLUMN", {"column": "email"})


def test_the_same_column_twice_is_refused() -> None:
    with pytest.raises(FileRefused) as refused:
        map_header(["order_number", "email", "Order Number"])

    assert refused.value.code == "FILE-COLUMNS-DUPLICATE"


def test_no_name_belongs_to_two_columns_and_every_column_has_its_own() -> None:
    names = headers._names()

    assert set(names) == set(NAMES)
    for (one, cells), (other, others) in itertools.combinations(names.items(), 2):
        assert not set(cells) & set(others), (one, other)
    assert all(fold(name) in names[name] for name in NAMES)
