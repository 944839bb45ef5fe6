"""Values that look like a customer's and are nobody's: who and what is the same stays the same within one export.

Drawn by a key that is thrown away with the export: nobody, not we either, gets from a pseudonym to the person. A value
that is an original's, or a part of one, is drawn again. What tells whom something is about is given up (after Safe
Harbor, the American rule for patients' data): of a day the year stays, of an address the prefecture, and an item or a
prefecture only where at least ``FEWEST`` persons share it.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import date, timedelta

FEWEST = 5
OTHER_ITEM = ("ITEM-OTHER", "その他の商品")
OTHER_PREFECTURE = "見本県"

_TRIES = 200
_SURNAME_BEGINS = (
    "青赤朝有石泉市今岩上江大岡奥小柏金神川北木熊黒坂桜沢塩島白杉関高滝竹田谷塚津鶴寺戸富豊中長永西野橋浜林原東平福藤古星堀前"
    "松丸水南宮村森矢安柳山湯横吉米若和渡"
)
_SURNAME_ENDS = "井泉江岡垣川木口倉坂崎沢島瀬園田谷塚津中永野橋浜林原平部堀間町松見宮村本森山脇"
_GIVEN_BEGINS = "明一栄恵和克邦健賢光幸沙智正真美裕由陽理良玲"
_GIVEN_ENDS = ("男", "夫", "也", "介", "太", "人", "子", "美", "代", "江", "香", "菜", "穂", "里", "生")
_CONSONANTS, _VOWELS = "kstnhmr", "aiueo"
_PREFECTURE = re.compile(
    "北海道|青森県|岩手県|宮城県|秋田県|山形県|福島県|茨城県|栃木県|群馬県|埼玉県|千葉県|"
    "東京都|神奈川県|新潟県|富山県|石川県|福井県|山梨県|長野県|岐阜県|静岡県|愛知県|三重県|"
    "滋賀県|京都府|大阪府|兵庫県|奈良県|和歌山県|鳥取県|島根県|岡山県|広島県|山口県|徳島県|"
    "香川県|愛媛県|高知県|福岡県|佐賀県|長崎県|熊本県|大分県|宮崎県|鹿児島県|沖縄県"
)
_AS_HIRAGANA = {ord(chr(kata)): chr(kata - 0x60) for kata in range(ord("ァ"), ord("ヶ") + 1)}


def folded(text: str) -> str:
    """What all ways of writing a value have in common: width, case, kana, spaces and hyphens do not matter."""
    narrow = unicodedata.normalize("NFKC", text).casefold().translate(_AS_HIRAGANA)
    return "".join(sign for sign in narrow if sign.isalnum() or sign in "@.ー")


def parts_of(values: Iterable[str]) -> set[str]:
    """Every value folded, and every word of it: what a pseudonym must not be, nor hold as a word."""
    found: set[str] = set()
    for value in values:
        found.update(folded(word) for word in (value, *unicodedata.normalize("NFKC", value).split()))
    return {part for part in found if len(part) > 1}


def prefecture_of(address: str) -> str | None:
    """The prefecture that an address begins with, where it says one."""
    plain = "".join(unicodedata.normalize("NFKC", address).split())
    found = _PREFECTURE.match(plain)
    return None if found is None else found[0]


class Pseudonyms:
    """The pseudonyms of one export. ``originals`` are `parts_of` all that identifies somebody in it."""

    def __init__(self, key: bytes, originals: set[str], today: date) -> None:
        self._key = key
        self._originals = originals
        self._today = today
        self._mails: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        self._taken: set[str] = set()

    def name(self, person: str) -> str:
        """A family and a given name."""

        def drawn(draw: int) -> list[str]:
            draw, begin = divmod(draw, len(_SURNAME_BEGINS))
            draw, end = divmod(draw, len(_SURNAME_ENDS))
            draw, given = divmod(draw, len(_GIVEN_BEGINS))
            family = _SURNAME_BEGINS[begin] + _SURNAME_ENDS[end]
            return [family, _GIVEN_BEGINS[given] + _GIVEN_ENDS[draw % len(_GIVEN_ENDS)]]

        return " ".join(self._drawn("name", person, drawn) or ["見本", f"第{len(self._mails) + 1}号"])

    def mail(self, person: str) -> str:
        """An address that reaches nobody; each person's own."""
        if person not in self._mails:

            def drawn(draw: int) -> list[str]:
                draw, number = divmod(draw, 1_000_000)
                word = ""
                for _ in range(3):
                    draw, consonant = divmod(draw, len(_CONSONANTS))
                    draw, vowel = divmod(draw, len(_VOWELS))
                    word += _CONSONANTS[consonant] + _VOWELS[vowel]
                return [f"{word}.{number}@example.jp"]

            self._mails[person] = self._own("mail", person, drawn)
        return self._mails[person]

    def phone(self, person: str) -> str:
        """A number of a range that is not given out; empty where none is left."""
        return self._one("phone", person, lambda draw: [f"0{7 + draw % 3}0-0000-{draw // 3 % 10_000:04}"])

    def postal_code(self, person: str) -> str:
        """A code of a range that is not given out; empty where none is left."""
        return self._one("postal", person, lambda draw: [f"000-{draw % 10_000:04}"])

    def address(self, person: str, prefecture: str) -> str:
        """A place that there is not, in this prefecture."""

        def drawn(draw: int) -> list[str]:
            return [f"{prefecture}架空市見本町{draw % 99 + 1}-{draw // 99 % 99 + 1}-{draw // 9801 % 99 + 1}"]

        return self._one("address", person, drawn)

    def order_number(self, number: str) -> str:
        """Another number for each."""
        if number not in self._numbers:
            self._numbers[number] = self._own("number", number, lambda draw: [f"T{draw % 10**9:09}"])
        return self._numbers[number]

    def day(self, day: date) -> date:
        """Another day of the same year, the same for the same day, none that is still to come."""
        first = date(day.year, 1, 1)
        last = max(first, min(date(day.year, 12, 31), self._today))
        days = (last - first).days + 1
        for tried in range(_TRIES):
            found = first + timedelta(days=self._number("day", day.isoformat(), tried) % days)
            if found != day:
                return found
        return first

    def amount(self, row: str, jpy: int, percent: int, lowest: int, highest: int) -> int:
        """A little more or less; what may be is between ``lowest`` and ``highest`` yen."""
        span = jpy * percent // 100
        other = jpy - span + self._number("amount", row, 0) % (2 * span + 1)
        return max(min(lowest, jpy), min(highest, other))

    def _own(self, kind: str, original: str, drawn: Callable[[int], list[str]]) -> str:
        """One that nobody else has."""
        for turn in range(_TRIES):
            found = "".join(self._drawn(kind, f"{turn}|{original}", drawn) or [])
            if found and found not in self._taken:
                self._taken.add(found)
                return found
        raise OverflowError(kind)

    def _one(self, kind: str, original: str, drawn: Callable[[int], list[str]]) -> str:
        return "".join(self._drawn(kind, original, drawn) or [])

    def _drawn(self, kind: str, original: str, drawn: Callable[[int], list[str]]) -> list[str] | None:
        """The first draw of which no word is an original's; None where there is none."""
        for tried in range(_TRIES):
            words = drawn(self._number(kind, original, tried))
            if self._originals.isdisjoint({folded(word) for word in (*words, "".join(words))}):
                return words
        return None

    def _number(self, kind: str, original: str, tried: int) -> int:
        digest = hmac.digest(self._key, f"{kind}|{tried}|{original}".encode(), "sha256")
        return int.from_bytes(digest[:12], "big")
