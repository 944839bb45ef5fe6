"""Synthetic order files: invented people, reserved addresses, and on wish rows with faults whose codes are known.

The same arguments give the same bytes. The manifest is a book of its own: it is written from what was made, not from
what validation finds, so that tests can compare the two.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from domain.columns import NAMES
from domain.errors import TerminalError
from domain.money import parse_yen

Order = dict[str, str]

UNICODE = ("utf-8", "utf-8-sig", "utf-16")
ENCODINGS = (*UNICODE, "cp932", "euc-jp", "iso-2022-jp")
DELIMITERS = {"csv": ",", "tsv": "\t"}
"""The text formats; utf-16 and tsv together are Excel's "Unicode text"."""

_NUMBERS = frozenset({"quantity", "unit_price", "amount"})


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows in the canonical columns; ``faults`` has the expected codes of each bad row by import row number."""

    rows: list[list[str]]
    faults: dict[int, list[str]]
    amount_jpy: int

    @property
    def good_rows(self) -> int:
        """Rows without a fault; their amounts make up ``amount_jpy``."""
        return len(self.rows) - len(self.faults)

    def fault_counts(self) -> dict[str, int]:
        """How many rows carry each code."""
        return dict(sorted(Counter(code for codes in self.faults.values() for code in codes).items()))

    def manifest(self) -> dict[str, Any]:
        """What a test compares with: rows, good rows, their yen, and the codes of every bad row."""
        faults = {str(number): codes for number, codes in self.faults.items()}
        return {"rows": len(self.rows), "good_rows": self.good_rows, "amount_jpy": self.amount_jpy, "faults": faults}


def make_sample(rows: int, *, bad: float = 0.0, seed: int = 1, plain_text: bool = True) -> Sample:
    """``rows`` orders, the share ``bad`` of them with faults of every kind in turn.

    Without ``plain_text`` the kinds that only a Unicode text file can carry are left out.
    """
    rng = random.Random(seed)
    orders = [_order(rng, number, seed) for number in range(1, rows + 1)]
    faults: dict[int, list[str]] = {}
    kinds = [kind for kind in _FAULTS if plain_text or kind not in _ONLY_TEXT]
    for turn, i in enumerate(sorted(rng.sample(range(rows), round(rows * bad)))):
        code = kinds[turn % len(kinds)]
        if code == "ORD-NUMBER-DUPLICATE" and i == 0:  # nothing comes before the first row
            code = "ORD-NUMBER-MISSING"
        _FAULTS[code](orders[i], orders[i - 1]["_number"])
        faults[i + 1] = [code]
    good = (order for number, order in enumerate(orders, start=1) if number not in faults)
    return Sample([_cells(order) for order in orders], faults, sum(int(order["_yen"]) for order in good))


def write_csv(sample: Sample, path: Path, encoding: str, delimiter: str = ",") -> None:
    """CRLF, quotes where needed, as Excel writes it; with a BOM where the encoding has one by its name."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(NAMES)
        writer.writerows(sample.rows)


def write_xlsx(sample: Sample, path: Path) -> None:
    """One sheet, the header in its first row, numbers as numbers.

    Raises:
        TerminalError: the library that writes workbooks is not installed.
    """
    try:
        import xlsxwriter
    except ImportError:
        raise TerminalError("SYS-LIBRARY-MISSING", library="xlsxwriter") from None
    with xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False}) as workbook:
        sheet = workbook.add_worksheet("orders")
        for at, row in enumerate([list(NAMES), *sample.rows]):
            for column, cell in enumerate(row):
                number = parse_yen(cell) if NAMES[column] in _NUMBERS else None
                if number is None:
                    sheet.write_string(at, column, cell)
                else:
                    sheet.write_number(at, column, number)


def write_manifest(sample: Sample, path: Path) -> None:
    """The manifest as JSON."""
    path.write_text(json.dumps(sample.manifest(), indent=1) + "\n", encoding="utf-8")


# -- one good order ---------------------------------------------------------------------------------------------------

_SYLLABLES = {
    "ka": "カ",
    "ro": "ロ",
    "mi": "ミ",
    "ne": "ネ",
    "sa": "サ",
    "tu": "ツ",
    "ho": "ホ",
    "yu": "ユ",
    "ri": "リ",
}
_ITEMS = (
    "りんごジュース",
    "ノート A5",
    "ボールペン 黒",
    "緑茶 500ml",
    "Coffee beans 200g",
    "卓上カレンダー",
    "タオル, 白",
)
_FIRST_DAY = date(2026, 1, 5)


def _order(rng: random.Random, number: int, seed: int) -> Order:
    sounds = rng.choices(list(_SYLLABLES), k=3)
    quantity, price = rng.randint(1, 20), rng.randint(10, 500) * 10
    item = rng.randrange(len(_ITEMS))
    order = dict.fromkeys(NAMES, "")
    order.update(
        order_number=f"S{seed}-{number:06d}",
        customer_name="見本 " + "".join(_SYLLABLES[sound] for sound in sounds),
        email=f"{''.join(sounds)}.{number}@example.{rng.choice(('jp', 'com'))}",
        item_code=f"ITEM-{item + 1:03d}",
        item_name=_ITEMS[item],
        quantity=str(quantity),
        unit_price=str(price),
        amount=rng.choice((str(quantity * price), str(quantity * price), "")),  # some leave it to be calculated
        currency=rng.choice(("JPY", "")),
        ordered_on=(_FIRST_DAY + timedelta(days=rng.randrange(300))).isoformat(),
        phone=f"070-0000-{rng.randrange(10_000):04d}",
        postal_code=f"000-{rng.randrange(10_000):04d}",
        address=f"見本県架空市サンプル町{rng.randint(1, 9)}-{rng.randint(1, 30)}",
        note=rng.choice(("", "", "のし不要", "午前中希望\n不在時は宅配ボックスへ")),
    )
    return order | {"_number": order["order_number"], "_yen": str(quantity * price), "_extra": ""}


def _cells(order: Order) -> list[str]:
    return [order[name] for name in NAMES] + ([order["_extra"]] if order["_extra"] else [])


# -- faults -----------------------------------------------------------------------------------------------------------

Fault = Callable[[Order, str], None]


def _put(**cells: str) -> Fault:
    return lambda order, number_before: order.update(cells)


_PRICED = {"quantity": "1", "unit_price": ""}

_FAULTS: dict[str, Fault] = {
    "ORD-AMOUNT-RANGE": _put(**_PRICED, amount="99"),
    "ORD-EMAIL-FORMAT": _put(email="mihon(at)example.jp"),
    "ORD-NUMBER-MISSING": _put(order_number=""),
    "ORD-AMOUNT-FORMAT": _put(amount="約1000"),
    "ORD-AMOUNT-MISMATCH": _put(quantity="2", unit_price="500", amount="1001"),
    "ORD-NUMBER-DUPLICATE": lambda order, number_before: order.update(order_number=number_before),
    "ORD-COLUMNS-COUNT": _put(_extra="000"),
    "ORD-NAME-MISSING": _put(customer_name=" "),
    "ORD-EMAIL-MISSING": _put(email=""),
    "ORD-AMOUNT-MISSING": _put(**_PRICED, amount=""),
    "ORD-QUANTITY-FORMAT": _put(quantity="2個"),
    "ORD-QUANTITY-RANGE": _put(quantity="0", unit_price="", amount="500"),
    "ORD-PRICE-FORMAT": _put(unit_price="500.5"),
    "ORD-PRICE-RANGE": _put(quantity="", unit_price="1000001", amount="500"),
    "ORD-CURRENCY-UNKNOWN": _put(currency="USD"),
    "ORD-DATE-FORMAT": _put(ordered_on="来週"),
    "ORD-DATE-CALENDAR": _put(ordered_on="2026-02-30"),
    "ORD-DATE-RANGE": _put(ordered_on="1026-02-03"),
    "ORD-AMOUNT-NEGATIVE": _put(amount="▲500"),
    "ORD-AMOUNT-AMBIGUOUS": _put(amount="1.000"),
    "ORD-DATE-AMBIGUOUS": _put(ordered_on="04/05/2026"),
    "ORD-DATE-NO-YEAR": _put(ordered_on="4月1日"),
    "ORD-DATE-ERA": _put(ordered_on="昭和65年1月1日"),
    "ORD-EXCEL-ROUNDED": _put(order_number="2.01E+10"),
    "ORD-EXCEL-ERROR-VALUE": _put(item_name="#N/A"),
    "ORD-EXCEL-DATE": _put(item_code="2-Jan"),
    "ORD-EXCEL-SERIAL-DATE": _put(ordered_on="46113"),
    "ORD-CELL-TOO-LONG": _put(item_code="9" * 101),
    "ORD-CELL-LINE-BREAK": _put(phone="070-0000-0000\n070-0000-0001"),
    "ORD-CELL-CONTROL": _put(item_name="\u202eりんご"),
    "ORD-CELL-GARBLED": _put(address="見本県\ufffd\ufffd市"),
}
"""For each code of a row a way to make it true, and it alone. ORD-NUMBER-EARLIER needs a second file,
ORD-LINES-* lines that make orders together, ORD-REPAIR-* a repair file."""

_ONLY_TEXT = frozenset({"ORD-CELL-CONTROL", "ORD-CELL-GARBLED", "ORD-COLUMNS-COUNT"})
