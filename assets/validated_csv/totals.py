"""Control totals: what the line of totals declares is compared with the file before anything else happens."""

from __future__ import annotations

from assets.validated_csv.source_table import SourceTable
from assets.validated_csv.validation import Validation
from domain.errors import FileRefused
from domain.money import format_yen


def check_totals(table: SourceTable, validation: Validation) -> None:
    """Compare. Yen only where every amount could be read: else they differ for a reason that each such row says itself.

    Raises:
        FileRefused: FILE-TOTAL-ROWS or FILE-TOTAL-YEN.
    """
    declared = table.declared
    if declared is None:
        return
    if declared.rows is not None and declared.rows != validation.rows:
        raise FileRefused("FILE-TOTAL-ROWS", declared=declared.rows, found=validation.rows)
    found = validation.declared_amount_jpy
    if declared.jpy is not None and validation.unread_amounts == 0 and declared.jpy != found:
        raise FileRefused("FILE-TOTAL-YEN", declared=format_yen(declared.jpy), found=format_yen(found))
