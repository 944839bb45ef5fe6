"""The first book: a file of orders, and what must become of every row of it.

Written from what was made; knows no code of the engine.

    {"seed": 7, "client": "evidence", "file": "orders-7.csv", "sha256": "...", "accepted_jpy": 12345, "rows": [
      {"row": 1, "accepted": true, "email": "...", "name": "...", "order_number": "E7-0001", "amount_jpy": 1234},
      {"row": 2, "accepted": false, "email": "...", "name": "...", "codes": ["ORD-EMAIL-FORMAT"]}]}

``row`` is the number among the data records, from 1. The same seed gives the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLIENT = "evidence"
_HEADER = ("order_number", "customer_name", "email", "item_name", "amount", "phone", "社内メモ")
_ITEMS = ("りんご", "緑茶 500ml", "Coffee beans", "卓上カレンダー")

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file and its manifest: the bytes, and what must happen."""

    content: bytes
    manifest: dict[str, Any]

    def write(self, file: Path, manifest: Path) -> None:
        """Both onto the disk; the folder of the file is made."""
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(self.manifest, ensure_ascii=False, indent=1), encoding="utf-8")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.content)


def make_file(seed: int, rows: int, bad_rows: int) -> MadeFile:
    """``rows`` orders, ``bad_rows`` of them with one fault each, never the first."""
    rng = random.Random(seed)
    made = [_good(rng, seed, number) for number in range(1, rows + 1)]
    faulty = dict(zip(sorted(rng.sample(range(1, rows), bad_rows)), _kinds(rng, bad_rows), strict=True))
    for at, code in faulty.items():
        _FAULTS[code](made[at], made[0])
    content = _csv(made)
    expected = [_expected(at, row, faulty.get(at)) for at, row in enumerate(made)]
    accepted_jpy = sum(row["amount_jpy"] for row in expected if row["accepted"])
    manifest = {
        "seed": seed,
        "client": CLIENT,
        "file": f"orders-{seed}.csv",
        "sha256": hashlib.sha256(content).hexdigest(),
        "accepted_jpy": accepted_jpy,
        "rows": expected,
    }
    return MadeFile(content, manifest)


def _good(rng: random.Random, seed: int, number: int) -> Row:
    cells = (
        f"E{seed}-{number:04d}",
        f"証拠 {rng.choice('一二三四五六七八九')}郎{seed}の{number}",
        f"witness.{seed}.{number}@example.jp",
        rng.choice(_ITEMS),
        str(rng.randint(100, 50_000)),
        f"070-0000-{rng.randrange(10_000):04d}",
        f"memo {number}",
    )
    return dict(zip(_HEADER, cells, strict=True))


def _put(**cells: str) -> Callable[[Row, Row], None]:
    return lambda row, first: row.update(cells)


_FAULTS: dict[str, Callable[[Row, Row], None]] = {
    "ORD-EMAIL-FORMAT": _put(email="witness(at)example.jp"),
    "ORD-AMOUNT-RANGE": _put(amount="99"),
    "ORD-NUMBER-MISSING": _put(order_number=""),
    "ORD-NUMBER-DUPLICATE": lambda row, first: row.update(order_number=first["order_number"]),
    "ORD-AMOUNT-FORMAT": _put(amount="千円"),
}


def _kinds(rng: random.Random, count: int) -> list[str]:
    kinds = list(_FAULTS)
    start = rng.randrange(len(kinds))
    return [kinds[(start + turn) % len(kinds)] for turn in range(count)]


def _csv(rows: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _HEADER)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _expected(at: int, row: Row, fault: str | None) -> dict[str, Any]:
    person = {"email": row["email"], "name": row["customer_name"]}
    known: dict[str, Any] = {"row": at + 1, "accepted": fault is None, **person}
    if fault is not None:
        return known | {"codes": [fault]}
    return known | {"order_number": row["order_number"], "amount_jpy": int(row["amount"])}
