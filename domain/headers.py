"""Which column of a file is which: the header cells mapped onto the canonical columns (domain/columns.py).

Three sources, the surest first: what the client's profile states; the export of a system that the header gives away;
names that offices use. Two columns that may both be the amount are a question with the candidates, never a guess.
Spelling is folded: width, case, spaces, hyphens, and decoration such as ``(必須)`` or ``(円)`` do not matter.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from domain.columns import BY_NAME, NAMES, missing_required
from domain.errors import FileRefused

_TABLE = Path(__file__).with_name("header_names.toml")
_SEPARATORS = re.compile(r"[\s_\-・]+")
_DECORATION = re.compile(
    r"[(\[【<](?:円|税込み?|jpy|yen|必須|任意|半角(?:英?数字?)?|全角|required|optional)[)\]】>]|[*※:]+", re.IGNORECASE
)

MAY_BE_FIRST_OF_SEVERAL = frozenset({"item_code", "phone", "postal_code", "address", "note"})
"""Columns on which neither money nor the addressee depends: of several candidates the surest name is taken."""


class AmountIs(StrEnum):
    """What the amount of one line means where an order has several lines."""

    ORDER_TOTAL = "order_total"  # of the whole order: the same on each line, or on the first alone
    LINE_TOTAL = "line_total"  # of this line: the order's amount is their sum


class Source(StrEnum):
    """Why a column is what it is."""

    PROFILE = "profile"
    SYSTEM = "system"
    NAME = "name"
    PARTS = "parts"

    @property
    def code(self) -> str:
        """The code of the catalogue under which people read it."""
        return f"READ-COLUMN-{self.value.upper()}"


@dataclass(frozen=True, slots=True)
class HeaderMap:
    """Positions of each canonical column; several where it comes in parts, to be joined in this order.

    ``system`` is the export that the header gave away, if it did, and ``amount_is`` what that system's amounts mean.
    """

    columns: Mapping[str, tuple[int, ...]]
    sources: Mapping[str, Source]
    system: str | None = None
    amount_is: AmountIs | None = None


@dataclass(frozen=True, slots=True)
class _System:
    name: str
    signature: frozenset[str]
    amount_is: AmountIs
    columns: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class _Mapping:
    """The header being mapped: folded cells with their positions, and what is found so far."""

    positions: Mapping[str, list[int]]
    columns: dict[str, tuple[int, ...]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)

    def take(self, name: str, found: Sequence[int], source: Source) -> None:
        self.columns[name], self.sources[name] = tuple(found), source

    def free(self, folded: str) -> list[int]:
        """Positions of this cell that no column has taken yet."""
        taken = {position for positions in self.columns.values() for position in positions}
        return [position for position in self.positions.get(folded, ()) if position not in taken]


def fold(header_cell: str) -> str:
    """What two spellings of one header have in common."""
    text = _DECORATION.sub("", unicodedata.normalize("NFKC", header_cell)).strip().casefold()
    return _SEPARATORS.sub("_", text).strip("_")


def map_header(cells: Sequence[str], stated: Mapping[str, Sequence[str]] | None = None) -> HeaderMap:
    """Map a header; ``stated`` holds the header cells of each column that the client's profile names.

    Raises:
        FileRefused: a stated column is not there, one is there twice, or several may be meant.
    """
    mapping = _Mapping(_positions(cells))
    _take_stated(mapping, stated or {})
    system = _system_of(mapping)
    if system is not None:
        _take_system(mapping, system)
    for name in NAMES:
        if name not in mapping.columns:
            _take_by_name(mapping, name)
    return HeaderMap(
        mapping.columns, mapping.sources, system.name if system else None, system.amount_is if system else None
    )


def candidates(cells: Sequence[str], name: str) -> list[int]:
    """Positions of all cells that may be the column ``name``."""
    positions = _positions(cells)
    return sorted(at for cell in _names()[name] for at in positions.get(cell, ()))


def recognised(cells: Sequence[str]) -> int:
    """How many cells are names that some column has: how much a line looks like a header."""
    known = _known_cells()
    return sum(fold(cell) in known for cell in cells)


def has_orders(cells: Sequence[str]) -> bool:
    """Whether these are the names of all columns that an order needs, whatever a profile says."""
    try:
        return not missing_required(set(map_header(cells).columns))
    except FileRefused:
        return False


def _positions(cells: Sequence[str]) -> Mapping[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for at, cell in enumerate(cells):
        positions.setdefault(fold(cell), []).append(at)
    return positions


def _take_stated(mapping: _Mapping, stated: Mapping[str, Sequence[str]]) -> None:
    for name, cells in stated.items():
        found = [_only(name, mapping.positions.get(fold(cell), [])) for cell in cells]
        if None in found:
            raise FileRefused("FILE-PROFILE-COLUMN", column=name)
        mapping.take(name, [at for at in found if at is not None], Source.PROFILE)


def _system_of(mapping: _Mapping) -> _System | None:
    found = [system for system in _systems() if system.signature <= mapping.positions.keys()]
    return max(found, key=lambda system: len(system.signature), default=None)


def _take_system(mapping: _Mapping, system: _System) -> None:
    for name, cells in system.columns.items():
        if name in mapping.columns:
            continue
        found = [_only(name, mapping.free(cell)) for cell in cells]
        if there := [at for at in found if at is not None]:
            mapping.take(name, there, Source.SYSTEM)


def _take_by_name(mapping: _Mapping, name: str) -> None:
    own = _only(name, mapping.free(name))
    if own is not None:  # our own word for it: nothing else can be meant
        mapping.take(name, [own], Source.NAME)
        return
    candidates = [(cell, at) for cell in _names()[name] for at in mapping.free(cell)]
    parts = _parts_in(mapping, name)
    if parts and (not candidates or {at for _, at in candidates} <= set(parts)):
        mapping.take(name, parts, Source.PARTS)
    elif len(candidates) == 1 or (candidates and name in MAY_BE_FIRST_OF_SEVERAL):
        mapping.take(name, [candidates[0][1]], Source.NAME)
    elif candidates:
        raise _ambiguous(name, candidates)


def _parts_in(mapping: _Mapping, name: str) -> list[int]:
    for cells in _parts().get(name, ()):
        found = [mapping.free(cell) for cell in cells]
        if all(len(positions) == 1 for positions in found):
            return [positions[0] for positions in found]
    return []


def _only(name: str, positions: Sequence[int]) -> int | None:
    if len(positions) > 1:
        numbers = ", ".join(str(at + 1) for at in positions)
        raise FileRefused("FILE-COLUMNS-DUPLICATE", positions=numbers)
    return positions[0] if positions else None


def _ambiguous(name: str, candidates: Sequence[tuple[str, int]]) -> FileRefused:
    """The question, in our own spelling of the names: a line of data taken for a header must not show its cells."""
    listed = ", ".join(f"{at + 1} ({cell})" for cell, at in sorted(candidates, key=lambda found: found[1]))
    return FileRefused("FILE-COLUMNS-AMBIGUOUS", column=name, candidates=listed)


# -- the table of names -----------------------------------------------------------------------------------------------


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))


@cache
def _names() -> Mapping[str, tuple[str, ...]]:
    names = _table()["names"]
    return {name: tuple(dict.fromkeys(map(fold, names[name]))) for name in BY_NAME}


@cache
def _parts() -> Mapping[str, list[tuple[str, ...]]]:
    """Longest first, so that no part is left over."""
    return {
        name: sorted((tuple(map(fold, cells)) for cells in several), key=len, reverse=True)
        for name, several in _table()["parts"].items()
    }


@cache
def _systems() -> tuple[_System, ...]:
    return tuple(_read_system(entry) for entry in _table()["systems"])


def _read_system(entry: Mapping[str, Any]) -> _System:
    columns = {
        name: tuple(map(fold, [cells] if isinstance(cells, str) else cells)) for name, cells in entry["columns"].items()
    }
    return _System(entry["name"], frozenset(map(fold, entry["signature"])), AmountIs(entry["amount_is"]), columns)


@cache
def _known_cells() -> frozenset[str]:
    return frozenset(_all_cells())


def _all_cells() -> Iterator[str]:
    for cells in _names().values():
        yield from cells
    for several in _parts().values():
        for cells in several:
            yield from cells
    for system in _systems():
        for cells in system.columns.values():
            yield from cells
