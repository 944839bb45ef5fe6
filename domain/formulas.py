"""Cells that a spreadsheet would run as a formula: an apostrophe before them in what we write, taken off coming back.

One to one: a cell that already has apostrophes before such a beginning gets one more, so whatever a cell was, it comes
back as that.
"""

from __future__ import annotations

import re

# Also in their full-width form, and behind a tab, a line break or a zero.
_RUNS = re.compile("'*[=+\\-@\t\r\n\0＝＋－＠]")


def harmless(cell: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet would run it."""
    return f"'{cell}" if _RUNS.match(cell) else cell


def restored(cell: str) -> str:
    """The cell as it was before `harmless`."""
    return cell[1:] if cell.startswith("'") and _RUNS.match(cell) else cell
