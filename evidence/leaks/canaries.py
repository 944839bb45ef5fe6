"""Canaries: personal data that is recognised wherever and however it turns up, and the files that carry it.

Each value holds a token of its own: ``qzx`` and six letters, or ヱヰ and six kana, which every Japanese encoding has; a
phone is a number of its own. The same number gives the same value: what is found can be told to column and row.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_LETTERS = "bcdfghjkmnpqrstv"
_KANA = "アイウエオカキクケコサシスセソタ"
_DIGITS = 6
LETTER_MARK, KANA_MARK, PHONE_MARK = "qzx", "ヱヰ", "0907"


def spelt(number: int, alphabet: str) -> str:
    """A number in base 16, in six signs of this alphabet."""
    return "".join(alphabet[number >> 4 * place & 15] for place in reversed(range(_DIGITS)))


def number_of(signs: str, alphabet: str) -> int:
    """And back."""
    number = 0
    for sign in signs:
        number = number * 16 + alphabet.index(sign)
    return number


def letters(number: int) -> str:
    """The token in letters."""
    return LETTER_MARK + spelt(number, _LETTERS)


def kana(number: int) -> str:
    """The token in kana."""
    return KANA_MARK + spelt(number, _KANA)


def phone(number: int) -> str:
    """A phone number; ten millions of them."""
    digits = f"{number:07d}"
    return f"090-7{digits[:3]}-{digits[3:]}"


def _wide(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


WRITTEN: Mapping[str, tuple[Callable[[int], str], ...]] = {
    "customer_name": (
        lambda n: f"試験 {kana(n)}子",
        lambda n: f"Ms. {letters(n).title()} O'Neil",
        lambda n: f"{_wide(letters(n).upper())} 太郎",
    ),
    "email": (lambda n: f"{letters(n)}@leak.example", lambda n: f"a.{letters(n)}+tag@mail.leak.example"),
    "phone": (phone,),
    "address": (lambda n: f"東京都千代田区{kana(n)}１－２－３", lambda n: f'"{letters(n)}" \\ Bldg. 5F\t<b>&amp;'),
    "note": (lambda n: f"置き配 {kana(n)} %s {{0}} $1", lambda n: f"'; select '{letters(n)}' --"),
    "LINE ID": (letters,),
    "社内メモ": (lambda n: f"担当 {kana(n)}",),
    "生年月日": (lambda n: f"1980-01-02 {letters(n)}",),
    "Card holder": (lambda n: f"{letters(n).upper()} TARO",),
    "緊急連絡先": (phone,),
}
"""How the columns with personal data are filled: those of ours, and some that nobody maps."""

ORDINARY = ("order_number", "item_code", "item_name", "quantity", "amount", "currency", "ordered_on")
HEADER = (*ORDINARY, *WRITTEN)
MENDABLE = "99"
"""The amount of a bad row that holds nothing that may not be in the clear once it is accepted."""


@dataclass(frozen=True, slots=True)
class Planted:
    """Where a canary was put."""

    column: str
    place: str


@dataclass
class Flock:
    """All canaries of one campaign, by their number."""

    planted: dict[int, Planted] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self.planted)

    def fresh(self, column: str, place: str) -> int:
        """The number of a new canary."""
        number = next(self._numbers)
        self.planted[number] = Planted(column, place)
        return number

    def value(self, column: str, place: str) -> str:
        """A new value for a column; its ways of being written take turns."""
        number = self.fresh(column, place)
        ways = WRITTEN.get(column, (letters,))
        return ways[number % len(ways)](number)

    def row(self, number: int, place: str, *, fault: int | None = None) -> dict[str, str]:
        """A row with a canary in each column that may hold one; with a fault, also in those that should not."""
        row = {
            "order_number": f"LK-{place}-{number:06d}",
            "item_code": f"I-{number % 97}",
            "item_name": "りんご",
            "quantity": "1",
            "amount": str(100 + number % 5_000),
            "currency": "JPY",
            "ordered_on": "2026-01-15",
        }
        row |= {column: self.value(column, f"{place}:{number}") for column in WRITTEN}
        return row if fault is None else self._spoilt(row, f"{place}:{number}", fault)

    def _spoilt(self, row: dict[str, str], place: str, fault: int) -> dict[str, str]:
        """As when columns have slipped: somebody's data where a number, a date or a code belongs."""
        if fault % 4 == 0:  # this one can be mended: nobody's data are where they do not belong
            return row | {"amount": MENDABLE}
        column = ORDINARY[fault % len(ORDINARY)]
        row["amount"] = "98"  # rejected, whatever else is wrong
        row[column] = self.value("LINE ID" if fault % 2 else "customer_name", f"{place}:{column}")
        if fault % 3 == 0:
            row["email"] = row["email"].replace("@", "(at)")
        if fault % 5 == 0:
            row["item_name"] = self.value("address", f"{place}:item_name")
        return row


def csv_octets(rows: Sequence[Mapping[str, str]], encoding: str = "utf-8", header: Sequence[str] = HEADER) -> bytes:
    """The rows as a file."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(encoding, errors="replace")
