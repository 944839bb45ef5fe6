"""What a spreadsheet does to codes: numbers rounded to ``2.01E+10``, codes turned into days.

A damaged key cannot be read back: two different orders may look the same now. The remedy is another export.
"""

from __future__ import annotations

import re

from domain.values.reading import narrow

ROUNDED = "ORD-EXCEL-ROUNDED"
DATED = "ORD-EXCEL-DATE"
ERROR_VALUE = "ORD-EXCEL-ERROR-VALUE"

KEY_COLUMNS = ("order_number", "item_code", "phone", "postal_code")
"""Columns whose cells are codes even where they are all digits."""

# A sign or decimals: `5E12` may be a code that somebody gave.
_ROUNDED = re.compile(r"[0-9](?:\.[0-9]+E[+-]?|E[+-])[0-9]{2,}", re.IGNORECASE)
_DATED = re.compile(
    r"[0-9]{1,2}月[0-9]{1,2}日|[0-9]{1,2}-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?:-[0-9]{2,4})?"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-[0-9]{1,4}",
    re.IGNORECASE,
)
_ERROR_VALUE = re.compile(
    r"#(?:N/A|VALUE!|REF!|DIV/0!|NUM!|NAME\?|NULL!|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|UNKNOWN!|BUSY!|EXTERNAL!"
    r"|PYTHON!|TIMEOUT!|GETTING_DATA|#+)",
    re.IGNORECASE,
)


def damage_of(text: str) -> str | None:
    """The code of the damage that shows in a cell of a key column; None for a cell that looks whole."""
    cell = narrow(text).strip()
    if _ROUNDED.fullmatch(cell):
        return ROUNDED
    if _DATED.fullmatch(cell):
        return DATED
    return ERROR_VALUE if is_error_value(cell) else None


def is_error_value(text: str) -> bool:
    """Whether a cell of any column shows an error of a formula instead of a value."""
    return _ERROR_VALUE.fullmatch(text.strip()) is not None
