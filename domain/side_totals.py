"""Control totals in a file of their own, beside the orders: ``orders.csv.totals`` says how many, and how many yen.

    件数: 120            rows = 120           {"rows": 120, "amount": 1234567}        件数,金額
    金額: 1,234,567円    amount = 1234567                                             120,1234567

One of the two is enough. It is written by people and by programs, so width, separators and names are taken as offices
write them; what is not understood is refused with its line, for a check that looks at nothing is worse than none.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from domain.errors import FileRefused
from domain.headers import fold
from domain.money import parse_yen
from domain.trailer import CountOf, Totals, read_count
from domain.values.amounts import read_number
from domain.values.reading import narrow

_COUNTS: Mapping[str, CountOf] = {
    **dict.fromkeys(("件数", "総件数", "合計件数", "全件数", "count", "total_count"), CountOf.EITHER),
    **dict.fromkeys(("行数", "総行数", "明細数", "明細行数", "レコード数", "データ件数"), CountOf.LINES),
    **dict.fromkeys(("rows", "row_count", "lines", "records", "record_count"), CountOf.LINES),
    **dict.fromkeys(("注文数", "注文件数", "受注数", "受注件数", "orders", "order_count"), CountOf.ORDERS),
}
_AMOUNTS = frozenset(
    {"金額", "金額合計", "合計", "合計金額", "合計額", "総額", "総合計", "総金額", "注文金額", "請求金額", "円"}
    | {"amount", "total", "total_amount", "amount_total", "amount_jpy", "total_jpy", "sum", "yen", "jpy"}
)
_SAY_NOTHING = frozenset(
    {"file", "filename", "file_name", "ファイル", "ファイル名", "date", "日付", "作成日", "作成日時"}
)
_KNOWN = frozenset(_COUNTS) | _AMOUNTS | _SAY_NOTHING
_LONGEST = 200  # characters of a line: nothing that is meant here is longer
_PAIR = re.compile(r"([^:=,;\t]+?)\s*[:=,;\t]\s*(.+)|(\S+)\s+(.+)")

Pair = tuple[int, str, str]
"""Line, name, value."""


def parse_side_totals(text: str) -> Totals:
    """What the file declares.

    Raises:
        FileRefused: FILE-SIDE-UNREADABLE, with the line that is not understood (0: the file as a whole).
    """
    found: dict[str, int | CountOf] = {}
    for line, name, value in _json_pairs(text) if text.lstrip().startswith("{") else _pairs(text):
        folded = fold(name)
        if folded in _SAY_NOTHING:
            continue
        read = _read(folded, value)
        if read is None or read.keys() & found.keys():  # not understood, or said twice
            raise _refused(line)
        found |= read
    if not found:
        raise _refused(0)
    rows, jpy, count_of = found.get("rows"), found.get("jpy"), found.get("count_of", CountOf.EITHER)
    return Totals(rows, jpy, CountOf(count_of))  # type: ignore[arg-type] # by these names they are numbers


def _read(name: str, value: str) -> dict[str, int | CountOf] | None:
    if len(value) > _LONGEST:
        return None
    if name in _COUNTS:
        counted = read_count(value)
        number = counted[0] if counted else parse_yen(read_number(value).plain)
        return None if number is None else {"rows": number, "count_of": _COUNTS[name]}
    if name in _AMOUNTS and (jpy := parse_yen(read_number(value).plain)) is not None:
        return {"jpy": jpy}
    return None


def _pairs(text: str) -> Iterator[Pair]:
    """A name and a value on each line, or a line of names above one of values."""
    names: list[str] | None = None
    for line, written in enumerate(text.splitlines(), start=1):
        plain = narrow(written).strip()
        if not plain or plain.startswith("#"):
            continue
        if len(plain) > _LONGEST:
            raise _refused(line)
        if names is not None:
            yield from _beside(line, names, _cells(plain))
            names = None
        elif len(cells := _cells(plain)) > 1 and all(fold(cell) in _KNOWN for cell in cells):
            names = cells
        else:
            yield _pair(line, plain)
    if names is not None:
        raise _refused(0)


def _pair(line: int, plain: str) -> Pair:
    found = _PAIR.fullmatch(plain)
    if found is None:
        raise _refused(line)
    name, value = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    return line, _bare(name), _bare(value)


def _beside(line: int, names: list[str], values: list[str]) -> Iterator[Pair]:
    if len(values) != len(names):
        raise _refused(line)
    yield from ((line, name, value) for name, value in zip(names, values, strict=True))


def _cells(plain: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([plain], delimiter="\t" if "\t" in plain else ","))]


def _bare(cell: str) -> str:
    return cell.strip().strip('"').strip()


def _json_pairs(text: str) -> Iterator[Pair]:
    try:
        found = json.loads(text, object_pairs_hook=list, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise _refused(getattr(error, "lineno", 0)) from None
    if not isinstance(found, list):
        raise _refused(0)
    for name, value in found:
        yield 0, name, _json_value(value)


def _json_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _no_number(_: str) -> Any:
    raise ValueError


def _refused(line: int) -> FileRefused:
    return FileRefused("FILE-SIDE-UNREADABLE", line=line)
