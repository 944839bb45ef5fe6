"""Control totals, declared in a line of the file or in a file beside it, compared before anything else happens."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from assets.validated_csv.source_table import SourceTable
from domain.client_profile import ClientProfile, SideTotals
from domain.errors import FileRefused
from domain.money import format_yen
from domain.trailer import CountOf, Totals
from resources.side_files import expected_name, read_side_totals

_LINE_OF_TOTALS = ("FILE-TOTAL-ROWS", "FILE-TOTAL-YEN")
_SIDE_FILE = ("FILE-SIDE-ROWS", "FILE-SIDE-YEN")


class Counted(Protocol):
    """What is counted in a file, as in ``Validation``, or over all its parts."""

    @property
    def rows(self) -> int:
        """Its rows."""

    @property
    def orders(self) -> int:
        """Its orders: as many, unless several rows make one."""

    @property
    def declared_amount_jpy(self) -> int:
        """The yen of all amounts that could be read."""

    @property
    def unread_amounts(self) -> int:
        """The rows whose amount could not."""


def check_totals(table: SourceTable, found: Counted, beside: Totals | None = None) -> None:
    """Compare what ``table``, the last of the file, declares, and what a file beside it does, with what was counted.

    Yen only where every amount could be read: else they differ for a reason that each such row says itself.

    Raises:
        FileRefused: FILE-TOTAL-ROWS or -YEN for the line of totals, FILE-SIDE-ROWS or -YEN for the file beside.
    """
    for declared, codes in ((table.declared, _LINE_OF_TOTALS), (beside, _SIDE_FILE)):
        if declared is not None:
            _compare(declared, found, *codes)


def side_totals(path: Path | None) -> Totals | None:
    """What the file beside the orders declares, where there is one.

    Raises:
        FileRefused: FILE-SIDE-UNREADABLE, or it cannot be opened.
    """
    return None if path is None else read_side_totals(path)


def refuse_without_totals(profile: ClientProfile, beside: Totals | None, name: str) -> None:
    """Take nothing of a client whose files need totals beside them; ``name`` is that of the orders.

    Raises:
        FileRefused: FILE-SIDE-MISSING.
    """
    if beside is None and profile.totals is SideTotals.REQUIRED:
        raise FileRefused("FILE-SIDE-MISSING", name=expected_name(name))


def _compare(declared: Totals, found: Counted, of_rows: str, of_yen: str) -> None:
    if declared.rows is not None and not declared.count_agrees(found.rows, found.orders):
        count = found.rows if declared.count_of is CountOf.LINES else found.orders
        raise FileRefused(of_rows, declared=declared.rows, found=count)
    jpy = found.declared_amount_jpy
    if declared.jpy is not None and found.unread_amounts == 0 and declared.jpy != jpy:
        raise FileRefused(of_yen, declared=format_yen(declared.jpy), found=format_yen(jpy))
