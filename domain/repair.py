"""The repair file: what is added to a client's rows so that they are known again when they come back mended.

At the right of the client's own columns stand line, column, code, message and remedy, and a mark that names the row and
is sealed by our key. All of it is ASCII but the texts, begins with a letter, and is neither a number nor a date: no
encoding and no spreadsheet changes it.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.columns import fold
from domain.issues import RowIssue

REPAIR = "repair"
"""Name of the repair file, without its ending."""

LINE, COLUMN, CODE = "repair_line", "repair_column", "repair_code"
MARK = "repair_key"
_TEXTS = {"ja": ("repair_message", "repair_remedy"), "en": ("repair_message_en", "repair_remedy_en")}
_ALL = frozenset({LINE, COLUMN, CODE, MARK, *(name for names in _TEXTS.values() for name in names)})


def added_columns(languages: Sequence[str]) -> list[str]:
    """Names of the columns that are added, with messages in these languages. None is a name that an order file uses."""
    return [LINE, COLUMN, CODE, *(name for language in languages for name in _TEXTS[language]), MARK]


def is_added(header_cell: str) -> bool:
    """Whether a column is one of those that we add."""
    return fold(header_cell) in _ALL


def positions_of(header: Sequence[str], name: str) -> list[int]:
    """Where in a header one of the added columns is."""
    return [at for at, cell in enumerate(header) if fold(cell) == name]


# -- marks ------------------------------------------------------------------------------------------------------------

Seal = Callable[[str], bytes]
"""The keyed checksum of a text, at least ten octets (``Vault.tag``)."""

_FILE_DIGITS = 12
_SEAL_OCTETS = 10
_FORM = re.compile(r"r-([0-9a-f]{12})-([1-9][0-9]{0,8})-([a-z2-7]{16})")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a mark says, to be believed after `seals`: the beginning of the file's digest (hex), its row, the seal."""

    file: str
    import_row_number: int
    seal: str

    def __str__(self) -> str:
        return f"R-{self.file}-{self.import_row_number}-{self.seal}"

    def seals(self, batch_id: str, seal: Seal) -> bool:
        """Whether it is our own mark of this batch's row."""
        return self.seal == _sealed(batch_id, self.import_row_number, seal)


def make_mark(batch_id: str, file_sha256: bytes, import_row_number: int, seal: Seal) -> Mark:
    """The mark of a row."""
    return Mark(file_sha256.hex()[:_FILE_DIGITS], import_row_number, _sealed(batch_id, import_row_number, seal))


def read_mark(cell: str) -> Mark | None:
    """The mark in a cell, whatever became of its width and case; None where there is none."""
    found = _FORM.fullmatch(unicodedata.normalize("NFKC", cell).strip().lstrip("'").lower())
    return Mark(found[1], int(found[2]), found[3]) if found else None


def _sealed(batch_id: str, import_row_number: int, seal: Seal) -> str:
    return base64.b32encode(seal(f"{batch_id}|{import_row_number}")[:_SEAL_OCTETS]).decode().lower()


# -- the client's cells -----------------------------------------------------------------------------------------------

MAX_BEYOND = 20


def beyond(rows: Sequence[Sequence[str]], width: int) -> int:
    """How many nameless columns follow the client's own, for cells beyond the header."""
    return min(MAX_BEYOND, max((len(cells) - width for cells in rows), default=0)) if rows else 0


def laid_out(cells: Sequence[str], columns: int) -> list[str]:
    """The cells of a row in so many columns: filled up with empty ones, what is too much together in the last."""
    if len(cells) <= columns:
        return [*cells, *[""] * (columns - len(cells))]
    return [*cells[: columns - 1], ",".join(cells[columns - 1 :])]


# -- what was changed -------------------------------------------------------------------------------------------------

_BREAK = re.compile("\r\n|\r|\n")
_LEADING_ZEROS = re.compile("0+([1-9][0-9]*|0)")
_LONG_NUMBER = re.compile("[1-9][0-9]{11,}")


def same_cell(before: str, after: str) -> bool:
    """Whether a person left the cell alone: also when a spreadsheet has changed its line breaks."""
    return before == after or _BREAK.sub("\n", before) == _BREAK.sub("\n", after)


def spoiled(before: str, after: str) -> bool:
    """Whether ``after`` is what a spreadsheet makes of ``before`` by opening and saving.

    Zeros and digits are lost, and in Shift_JIS the characters that it does not have.
    """
    if "?" in after and after == _in_shift_jis(before):
        return True
    zeros = _LEADING_ZEROS.fullmatch(before)
    if zeros is not None:
        return after == zeros[1]
    if _LONG_NUMBER.fullmatch(before) is None:
        return False
    if len(before) > 15 and after == before[:15] + "0" * (len(before) - 15):
        return True
    return after in {f"{int(before):.{digits}E}" for digits in range(6)}


def _in_shift_jis(text: str) -> str:
    """With a question mark, or two for one beyond 16 bits, for what Windows' Shift_JIS does not have."""
    return "".join(sign if sign.encode("cp932", "ignore") else "??" if sign > "\uffff" else "?" for sign in text)


def partners(before: Sequence[str], after: Sequence[str]) -> list[int | None]:
    """For each column of a header that of an earlier header with the same name; the same place where all agree."""
    if list(before) == list(after):
        return list(range(len(after)))
    free: dict[str, list[int]] = {}
    for at, cell in enumerate(before):
        free.setdefault(fold(cell), []).append(at)
    return [free[name].pop(0) if free.get(name := fold(cell)) else None for cell in after]


CARRIED = frozenset({"ORD-COLUMNS-COUNT", "ORD-CELL-MERGED", "ORD-CELL-NO-RESULT"})
"""Faults that only the first file showed: they hold until a person changes the cell, or empties `CODE` of the row."""


def carried(faults: Sequence[RowIssue], changed: Mapping[str, object], confirmed: bool) -> Iterator[RowIssue]:
    """Those faults of a row that nobody mended. ``changed`` has the names of the changed columns."""
    for fault in faults:
        untouched = fault.column not in changed if fault.column else not changed
        if fault.code in CARRIED and untouched and not confirmed:
            yield fault
